"""The published results of DeepOBS on `quadratic_deep`, and the same training with optax."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nnjax.compare.problems import PROBLEMS

EPOCHS, SEEDS = 100, range(10)


class Published(NamedTuple):
    """One published training run: the optimizer with its setting, and the test loss after 100 epochs."""

    optimizer: optax.GradientTransformation
    loss: float


# From the folder `baselines` of DeepOBS (Schneider, Balles and Hennig, 2019): the best setting of each
# optimizer, batch size 128.
PUBLISHED = {
    "SGD": Published(optax.sgd(0.015848931925), 87.51817),
    "momentum": Published(optax.sgd(0.0025118864315, 0.99), 87.02500),
    "Adam": Published(optax.adam(0.039810717055), 87.12283),
}


def test_losses(name: str) -> np.ndarray:
    """The test loss after 100 epochs of the problem `quadratic`, for each of ten seeds.

    DeepOBS draws the order of the training samples only once, because its published training losses repeat
    after the 7 mini-batches of an epoch. With a new order in each epoch, the loss of momentum 0.99 is about
    89.
    """
    problem = PROBLEMS["quadratic"]
    data, optimizer = problem.load(), PUBLISHED[name].optimizer
    train, test = jnp.asarray(data.train.inputs), jnp.asarray(data.test.inputs)
    n = len(train) - len(train) % problem.batch_size

    def loss(params, x):
        return jnp.mean(jax.vmap(problem.objective.cost, (None, 0))(params, x))

    @jax.jit
    def train_and_test(key):
        batches = jax.random.permutation(key, train)[:n].reshape(-1, problem.batch_size, train.shape[1])

        def step(state, i):
            params, opt_state = state
            grads = jax.grad(loss)(params, batches[i % len(batches)])
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        params = problem.init(key)
        start = params, optimizer.init(params)
        (params, _), _ = jax.lax.scan(step, start, jnp.arange(EPOCHS * len(batches)))
        return loss(params, test)

    return np.array([train_and_test(jax.random.key(seed)) for seed in SEEDS], np.float64)

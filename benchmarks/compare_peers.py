"""The training runs of `nnjax compare` as users of PyTorch and optax would write them.

Every peer makes a function from a `Training`. This function gets a number n, trains the first n networks of
the training with AdamW, and returns their parameters as lists of arrays.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from nnjax.compare import Problem
from nnjax.nn import mean_cost, to_input
from nnjax.optim import SCHEDULES

LEARNING_RATE = 1e-3  # of all networks, at the end of the warm-up
PROBE_STEPS = 30  # training steps for timing each number of threads

Train = Callable[[int], list[list[np.ndarray]]]


class Training(NamedTuple):
    """Networks to train on one problem.

    Attributes:
      problem: the problem.
      inputs, targets: the training examples as floats, tokens or labels.
      params: the initial parameters of each network.
      orders: (networks, steps, batch_size), the rows of each mini-batch.
      learning_rates: the learning rate of each step.
    """

    problem: Problem
    inputs: np.ndarray
    targets: np.ndarray
    params: list[Any]
    orders: np.ndarray
    learning_rates: np.ndarray


def make_training(problem: Problem, networks: int, steps: int | None = None) -> Training:
    """Networks with the seeds 0, 1, ...; each has its own order of the examples.

    Args:
      problem: the problem.
      networks: the number of networks.
      steps: training steps; by default those of the problem.
    """
    steps = steps or problem.steps
    inputs, targets = (np.asarray(to_input(part, jnp.dtype(np.float32))) for part in problem.load().train)
    orders = [
        _order(np.random.default_rng(s), len(inputs), problem.batch_size, steps) for s in range(networks)
    ]
    params = [problem.init(jax.random.key(seed)) for seed in range(networks)]
    rates = LEARNING_RATE * SCHEDULES["warmup_linear"](jnp.arange(steps, dtype=jnp.float32) / steps)
    return Training(problem, inputs, targets, params, np.stack(orders), np.asarray(rates))


def _order(rng: np.random.Generator, examples: int, batch_size: int, steps: int) -> np.ndarray:
    """The rows of each mini-batch, shuffled in every epoch; a smaller last mini-batch is dropped."""
    per_epoch = examples // batch_size
    epochs = [rng.permutation(examples)[: per_epoch * batch_size] for _ in range(-(-steps // per_epoch))]
    return np.concatenate(epochs).reshape(-1, batch_size)[:steps]


def optax_scan(training: Training) -> Train:
    """optax: a jitted `lax.scan` over the steps trains one network after another."""
    rates, objective = jnp.asarray(training.learning_rates), training.problem.objective
    optimizer = optax.adamw(lambda step: rates[step], weight_decay=0.0)

    @jax.jit
    def train_one(params, inputs, targets, order):
        def step(state, rows):
            params, opt_state = state
            grads = jax.grad(mean_cost)(params, objective, inputs[rows], targets[rows], None)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), order)[0][0]

    examples = jnp.asarray(training.inputs), jnp.asarray(training.targets)

    def train(networks):
        trained = [train_one(training.params[i], *examples, training.orders[i]) for i in range(networks)]
        return [[np.asarray(leaf) for leaf in jax.tree.leaves(params)] for params in trained]

    return train


def torch_costs() -> dict[str, Callable]:
    """By problem, the mean cost of a mini-batch: a function of a list of tensors, inputs and targets."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    zero = jnp.zeros(100)
    hessian = jax.hessian(lambda theta: nnjax.problems["quadratic"].objective.cost(theta, zero))(zero)
    hessian = torch.from_numpy(np.array(hessian))

    def quadratic(params, x, y):
        d = params[0] - y
        return ((d @ hessian) * d).sum(dim=1).mean() / 2

    def bigram(params, x, y):
        return F.cross_entropy(10 * F.embedding(x[:, 0], params[0]), y[:, 0])

    def dense(params, x, activation):
        for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            x = activation(F.linear(x, w, b))
        return F.linear(x, *params[-2:])

    def teacher(params, x, y):
        return ((dense(params, x, torch.tanh) - y) ** 2).sum(dim=1).mean() / 2

    def digits_autoencoder(params, x, y):
        code = dense(params[:6], x.flatten(1), torch.sigmoid)
        z = dense(params[6:], code, torch.sigmoid)
        return F.binary_cross_entropy_with_logits(z, y.flatten(1), reduction="sum") / len(x)

    def digits_rnn(params, x, y):
        w, b, *output = params
        h = x.new_zeros(len(x), len(b))
        for row in x.unbind(1):
            h = torch.tanh(F.linear(torch.cat([row, h], dim=1), w, b))
        return F.cross_entropy(F.linear(h, *output), y)

    return {f.__name__: f for f in (quadratic, bigram, teacher, digits_autoencoder, digits_rnn)}


def torch_loop(training: Training) -> Train:
    """PyTorch in eager mode, which trains one network after another."""
    import torch  # pyright: ignore[reportMissingImports]

    cost = torch_costs()[training.problem.name]

    def gradients(params, x, y):
        return torch.autograd.grad(cost(params, x, y), params)

    def train(networks):
        trained = [[torch.tensor(leaf) for leaf in leaves] for leaves in _leaves(training, networks)]
        for params, order in zip(trained, training.orders, strict=False):
            for p in params:
                p.requires_grad_()
            _train_tensors(params, gradients, training, order)
        return [[p.detach().numpy() for p in params] for params in trained]

    return train


def torch_func(training: Training) -> Train:
    """PyTorch in eager mode; `torch.func` maps the gradient over the stacked parameters of all networks."""
    import torch  # pyright: ignore[reportMissingImports]

    gradients = torch.func.vmap(torch.func.grad(torch_costs()[training.problem.name]))

    def train(networks):
        params = [torch.tensor(np.stack(leaves)) for leaves in zip(*_leaves(training, networks), strict=True)]
        _train_tensors(params, gradients, training, training.orders[:networks].swapaxes(0, 1))
        return [[p[i].numpy() for p in params] for i in range(networks)]

    return train


def faster_threads(make: Callable[[Training], Train], training: Training, networks: int) -> int:
    """The number of threads of PyTorch, 1 or the default, whichever trains a few steps faster."""
    import torch  # pyright: ignore[reportMissingImports]

    train = make(
        training._replace(
            orders=training.orders[:, :PROBE_STEPS], learning_rates=training.learning_rates[:PROBE_STEPS]
        )
    )
    train(networks)
    seconds = {}
    for threads in dict.fromkeys((1, torch.get_num_threads())):
        torch.set_num_threads(threads)
        start = time.perf_counter()
        train(networks)
        seconds[threads] = time.perf_counter() - start
    torch.set_num_threads(max(seconds))
    return min(seconds, key=lambda threads: seconds[threads])


def _leaves(training: Training, networks: int) -> list[list[np.ndarray]]:
    return [[np.asarray(leaf) for leaf in jax.tree.leaves(params)] for params in training.params[:networks]]


def _train_tensors(params: list, gradients: Callable, training: Training, orders: np.ndarray) -> None:
    """Trains the parameters of one network, or the stacked parameters of all networks, in place.

    Args:
      params: the tensors.
      gradients: a function of params, inputs and targets: one mini-batch, or one for each network.
      training: the examples and the learning rates.
      orders: for each step, the rows of the mini-batch or mini-batches.
    """
    import torch  # pyright: ignore[reportMissingImports]

    inputs, targets = (
        torch.tensor(array, dtype=torch.float32 if array.dtype == np.float32 else torch.int64)
        for array in (training.inputs, training.targets)
    )
    optimizer = torch.optim.AdamW(params, weight_decay=0.0, fused=True)
    for rows, rate in zip(torch.tensor(orders), training.learning_rates.tolist(), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        for p, grad in zip(params, gradients(params, inputs[rows], targets[rows]), strict=True):
            p.grad = grad
        optimizer.step()

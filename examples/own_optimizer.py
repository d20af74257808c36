"""Train with an optimizer of your own, and sweep its hyper-parameters over several seeds.

An optimizer is a function of its hyper-parameters that returns an `optax.GradientTransformation`.
"""

import jax
import jax.numpy as jnp
import optax

import nnjax


def sign_momentum(learning_rate, decay=0.9):
    """v → d v + (1 − d) ∇C, w → w − η sign(v)."""

    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(grads, velocity, params=None):
        velocity = jax.tree.map(lambda v, g: decay * v + (1 - decay) * g, velocity, grads)
        return jax.tree.map(lambda v: -learning_rate * jnp.sign(v), velocity), velocity

    return optax.GradientTransformation(init, update)


data = nnjax.load("digits")
grid = nnjax.sweep(
    jax.random.key(0), data, optimizer=sign_momentum, learning_rate=(0.0003, 0.001, 0.003), decay=(0.5, 0.9),
    seeds=5, epochs=5, initial_weights=nnjax.lecun,
)  # fmt: skip
print(grid.validation_accuracy.isel(epoch=-1).mean("seed").to_pandas())

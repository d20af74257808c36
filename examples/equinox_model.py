"""Train an Equinox model: its arrays are the parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import nnjax

model = eqx.nn.MLP(in_size=64, out_size=10, width_size=100, depth=2, key=jax.random.key(0))
# The activation functions are leaves of the model, but are not trained.
params, static = eqx.partition(model, eqx.is_inexact_array)


def forward(params, x, key):
    """The output for one example."""
    return eqx.combine(params, static)(jnp.ravel(x))


data = nnjax.load("digits")
objective = nnjax.Objective(forward, nnjax.softmax_cross_entropy)
run = nnjax.fit(
    jax.random.key(1), params, data, objective=objective, optimizer=optax.adam, learning_rate=0.003, epochs=20
)
print(f"test accuracy: {100 * run.history.test_accuracy[-1]:.1f} %")

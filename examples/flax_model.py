"""Train a model of Flax NNX: its parameters are a pytree, and its call is the forward function."""

import jax
import optax
from flax import nnx

import nnjax


class Model(nnx.Module):
    """A dense network with dropout."""

    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 100, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.output = nnx.Linear(100, 10, rngs=rngs)

    def __call__(self, x, rngs=None):
        x = self.dropout(nnx.relu(self.hidden(x.ravel())), deterministic=rngs is None, rngs=rngs)
        return self.output(x)


graph, params, others = nnx.split(Model(nnx.Rngs(0)), nnx.Param, ...)


def forward(params, x, key):
    """The output for one example; the key is None in evaluation."""
    model = nnx.merge(graph, params, others)
    return model(x, None if key is None else nnx.Rngs(dropout=key))


data = nnjax.load("digits")
objective = nnjax.Objective(forward, nnjax.softmax_cross_entropy)
run = nnjax.fit(
    jax.random.key(1), params, data, objective=objective, optimizer=optax.adam, learning_rate=0.003, epochs=20
)
print(f"test accuracy: {100 * run.history.test_accuracy[-1]:.1f} %")

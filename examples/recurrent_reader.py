"""A recurrent network reads an image row by row, and predicts the digit after the last row."""

import jax
import optax

import nnjax
from nnjax.nn import Recurrent

data = nnjax.load("digits")  # an image is a sequence of 8 rows with 8 pixels
forward = Recurrent()
objective = nnjax.Objective(forward, nnjax.softmax_cross_entropy)
grid = nnjax.sweep(
    jax.random.key(0), data, objective=objective, init=lambda key: forward.init(key, 8, 64, 10),
    optimizer=optax.adam, learning_rate=(0.001, 0.003, 0.01), seeds=3, epochs=10, batch_size=20,
)  # fmt: skip
print(grid.test_accuracy.isel(epoch=-1).to_pandas().map("{:.1%}".format))

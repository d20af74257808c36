"""Write the curves of a sweep to files for TensorBoard: `tensorboard --logdir runs`."""

import jax

import nnjax
from nnjax.trackers import tensorboard

nnjax.sweep(
    jax.random.key(0), nnjax.load("digits"), hidden=(10, 30), learning_rate=(0.3, 1.0, 3.0), epochs=10,
    callback=tensorboard("runs"),
)  # fmt: skip
print("tensorboard --logdir runs")

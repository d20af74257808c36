"""Train on NumPy arrays: two interleaved spirals in the plane."""

import jax
import numpy as np
import optax

import nnjax

random = np.random.default_rng(0)


def spirals(n):
    """Points of two spirals (n, 2), and the spiral of each point (n,)."""
    label = random.integers(2, size=n)
    angle = 3 * np.pi * np.sqrt(random.uniform(size=n))
    points = angle * np.array([np.cos(angle + np.pi * label), np.sin(angle + np.pi * label)])
    return (points.T / 10 + random.normal(scale=0.02, size=(n, 2))).astype(np.float32), label


data = nnjax.Dataset.from_arrays(spirals(2000), spirals(500), spirals(500), name="spirals")
config = nnjax.TrainConfig(
    hidden=(64, 64), initial_weights="he", activation="relu", cost="softmax_cross_entropy",
    optimizer=optax.adam, learning_rate=0.003, schedule="cosine", epochs=50, batch_size=20,
)  # fmt: skip
run = config.fit(jax.random.key(0), data)
print(f"{data.name}: {100 * run.history.test_accuracy[-1]:.1f} % test accuracy")

"""Regression: the targets are real numbers, so there is no accuracy; the cost is half the squared error."""

import jax
import numpy as np
import optax

import nnjax

random = np.random.default_rng(0)


def noisy_sine(n):
    """Inputs (n, 1), and sin 3x with Gaussian noise of standard deviation 0.1."""
    x = random.uniform(-2, 2, (n, 1))
    return x.astype(np.float32), (np.sin(3 * x) + random.normal(scale=0.1, size=x.shape)).astype(np.float32)


data = nnjax.Dataset.from_arrays(noisy_sine(2000), noisy_sine(500), noisy_sine(500), name="sine")
objective = nnjax.Objective(nnjax.Dense(nnjax.tanh, output=nnjax.identity), nnjax.quadratic, code=None)
params = nnjax.init(jax.random.key(0), (1, 50, 50, 1), nnjax.lecun)
run = nnjax.fit(
    jax.random.key(1), params, data, objective=objective, optimizer=optax.adam, learning_rate=0.003,
    schedule="cosine", epochs=50, batch_size=20,
)  # fmt: skip
# The cost cannot be smaller than that of the noise, 0.1² / 2.
print(f"test cost: {run.history.test_cost[-1]:.4f}, that of the noise: {0.1**2 / 2:.4f}")
for x in np.linspace(-1.5, 1.5, 4, dtype=np.float32):
    (output,) = objective.forward(run.params, x[None], None)
    print(f"sin(3 · {x:4.1f}) = {np.sin(3 * x):5.2f}, network: {output:5.2f}")

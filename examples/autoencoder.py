"""An autoencoder: the targets are the images themselves, and the code is small."""

import jax
import numpy as np
import optax

import nnjax
from nnjax.nn import Autoencoder

digits = nnjax.load("digits")
splits = [(split.inputs, split.inputs) for split in (digits.train, digits.validation, digits.test)]
data = nnjax.Dataset.from_arrays(*splits, name="digits without labels")

costs = {}
for code_size in (2, 8, 32):
    forward = Autoencoder()
    params = forward.init(jax.random.key(0), n_in=64, hidden=(64,), code_size=code_size)
    objective = nnjax.Objective(forward, nnjax.sigmoid_cross_entropy, code=None)
    run = nnjax.fit(
        jax.random.key(1),
        params,
        data,
        objective=objective,
        optimizer=optax.adam,
        learning_rate=0.003,
        epochs=20,
    )
    outputs = np.asarray(nnjax.outputs(run.params, digits.test.inputs, objective))
    error = np.abs(outputs - digits.test.inputs / 255).mean()
    print(f"code size {code_size:2}: mean absolute error per pixel {error:.3f}")

import jax
import numpy as np
import pytest

import nnjax
from nnjax.nn import LayerNormMLP


@pytest.mark.parametrize("residual", [False, True])
def test_layer_normalization_is_numpys(residual):
    params = nnjax.init(jax.random.key(3), (20, 12, 12, 12, 10))
    x = np.random.default_rng(0).normal(size=20)
    a = None
    for w, b in params[:-1]:
        z = np.array(w) @ (x if a is None else a) + np.array(b)
        change = np.tanh((z - z.mean()) / z.std())
        a = change + (a if residual and a is not None else 0)
    last = params[-1]
    ours = LayerNormMLP(nnjax.tanh, nnjax.identity, residual)(params, np.float32(x))
    np.testing.assert_allclose(ours, np.array(last.w) @ a + np.array(last.b), atol=2e-4)

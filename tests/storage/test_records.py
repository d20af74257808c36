"""Records are JSON that every reader accepts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnjax.runtime import environment
from nnjax.storage import write_record


def test_arrays_become_lists_and_nan_becomes_null(tmp_path):
    record = {
        "array": np.array([1.0, np.nan]),
        "number": np.inf,
        "tuple": (1, jnp.float32(2)),
        "path": tmp_path,
        **environment(),
    }
    write_record(tmp_path / "record.json", record)
    content = json.loads((tmp_path / "record.json").read_text(), parse_constant=pytest.fail)
    assert content["array"] == [1.0, None]
    assert content["number"] is None
    assert content["tuple"] == [1, 2.0]
    assert content["path"] == str(tmp_path)
    assert content["versions"]["jax"] == jax.__version__
    assert content["devices"]
    assert content["processor"]

"""A training that is killed, at any moment, and started again ends with the bits of one never stopped."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import killed

KILLS = 20


def started(kind, folder):
    arguments = [sys.executable, Path(killed.__file__), kind, folder]
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sgd", "adam", "sweep"])
def test_a_training_killed_at_random_moments_ends_with_the_same_bits(kind, tmp_path):
    moments, told = random.Random(kind), []
    for _ in range(KILLS):
        process = started(kind, tmp_path)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(moments.uniform(0, 2))
        process.kill()
        out, err = process.communicate()
        assert not err
        told.append(out.split())
    assert sum(map(bool, told)) > KILLS / 2  # most were killed while they trained,
    assert not (tmp_path / "result.npz").exists()  # and none had ended
    with started(kind, tmp_path) as process:
        _, err = process.communicate()
        assert not err
    assert process.returncode == 0
    with np.load(tmp_path / "result.npz", allow_pickle=False) as found:
        whole = killed.trained(kind, None)
        assert len(found) == len(whole)
        for name, expected in zip(found, whole, strict=True):
            assert found[name].dtype == expected.dtype
            np.testing.assert_array_equal(found[name], expected)

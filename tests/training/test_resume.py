"""A training that is killed, at any moment, and started again ends with the bits of one never stopped."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import resume_worker

KILLS = 20


def started(kind, folder):
    arguments = [sys.executable, Path(resume_worker.__file__), kind, folder]
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.mark.slow
def test_a_training_killed_while_it_writes_ends_with_the_same_bits(tmp_path):
    half_written = 0
    for _ in range(5):
        with started("sgd", tmp_path) as process:
            while not list(tmp_path.glob("checkpoints/*-tmp*")):
                assert process.poll() is None
            process.kill()
        half_written += bool(list(tmp_path.glob("checkpoints/*-tmp*")))
    assert half_written > 1
    with started("sgd", tmp_path) as process:
        _, err = process.communicate()
        assert not err
    with np.load(tmp_path / "result.npz", allow_pickle=False) as found:
        for one, expected in zip(found.values(), resume_worker.results("sgd", None), strict=True):
            np.testing.assert_array_equal(one, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sgd", "adam", "sweep"])
def test_a_training_killed_at_random_moments_ends_with_the_same_bits(kind, tmp_path):
    moments, told = random.Random(kind), []
    for _ in range(KILLS):
        with started(kind, tmp_path) as process:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            if (moment := moments.uniform(-1, 1)) > 0:  # of training, else of its beginning
                process.stdout.readline()  # what was gone on from is told before anything compiles
                process.stdout.readline()
            time.sleep(abs(moment))
            process.kill()
            told.append(process.stdout.read().split())
            assert not process.stderr.read()
    done = [int(epochs[-1]) for epochs in told if epochs]
    assert len(set(done)) > KILLS / 5  # they got on from one start to the next,
    assert not (tmp_path / "result.npz").exists()  # and none came to the end
    with started(kind, tmp_path) as process:
        _, err = process.communicate()
        assert not err
    assert process.returncode == 0
    with np.load(tmp_path / "result.npz", allow_pickle=False) as found:
        whole = resume_worker.results(kind, None)
        assert len(found) == len(whole)
        for name, expected in zip(found, whole, strict=True):
            assert found[name].dtype == expected.dtype
            np.testing.assert_array_equal(found[name], expected)

"""A training that is killed at any moment and started again ends with the bits of an uninterrupted one."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import resume_worker

KILLS = 6


def start(kind, directory):
    arguments = [sys.executable, Path(resume_worker.__file__), kind, directory]
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.mark.slow
def test_a_training_killed_while_it_writes_ends_with_the_same_bits(tmp_path):
    half_written = 0
    for _ in range(4):
        with start("sgd", tmp_path) as process:
            while not list(tmp_path.glob("checkpoints/*-tmp*")):
                assert process.poll() is None
            process.kill()
        half_written += bool(list(tmp_path.glob("checkpoints/*-tmp*")))
    assert half_written > 0
    with start("sgd", tmp_path) as process:
        _, err = process.communicate()
        assert not err
    check_results("sgd", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sgd", "adam", "sweep"])
def test_a_training_killed_at_random_moments_ends_with_the_same_bits(kind, tmp_path):
    random_moments, epochs_reached = random.Random(kind), []
    for i in range(KILLS):
        with start(kind, tmp_path) as process:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            if i % 2:  # after two epochs, else at the start
                process.stdout.readline()  # the restored epochs are printed before anything compiles
                process.stdout.readline()
            time.sleep(random_moments.random())
            process.kill()
            if epochs := process.stdout.read().split():
                epochs_reached.append(int(epochs[-1]))
            assert not process.stderr.read()
    assert len(set(epochs_reached)) > 1  # every start continued the previous one,
    assert not (tmp_path / "result.npz").exists()  # and none finished
    with start(kind, tmp_path) as process:
        _, err = process.communicate()
        assert not err
    assert process.returncode == 0
    check_results(kind, tmp_path)


def check_results(kind, directory):
    """The results in a directory are those of an uninterrupted training, to the bit."""
    with np.load(directory / "result.npz", allow_pickle=False) as file:
        uninterrupted = resume_worker.results(kind, None)
        assert len(file) == len(uninterrupted)
        for name, expected in zip(file, uninterrupted, strict=True):
            assert file[name].dtype == expected.dtype
            np.testing.assert_array_equal(file[name], expected)

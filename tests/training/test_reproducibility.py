"""The claims of docs/reproducibility.md that no other test checks."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import nnjax

BITS = """
import os, sys
cores = int(sys.argv[1])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import jax, nnjax
from nnjax.storage import digest
params = nnjax.init(jax.random.key(0), (64, 30, 10))
run = nnjax.fit(jax.random.key(1), params, nnjax.load("digits"), learning_rate=3.0, epochs=5)
print(len(os.sched_getaffinity(0)), digest(run.params))
"""


def bits(cores):
    done = subprocess.run(
        [sys.executable, "-c", BITS, str(cores)], capture_output=True, text=True, check=True
    )
    used_cores, params_digest = done.stdout.split()
    assert int(used_cores) == cores
    return params_digest


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores and a system that can restrict a process to one",
)
def test_one_core_and_two_give_the_same_bits_for_small_mini_batches():
    assert bits(1) == bits(2) == bits(2)


def test_evaluation_callbacks_and_checkpoints_do_not_change_the_bits(digits, tmp_path):
    params = nnjax.init(jax.random.key(0), (64, 30, 10))
    settings = {"learning_rate": 3.0, "epochs": 2}
    without_test = nnjax.Dataset.from_arrays(tuple(digits.train), num_classes=10)
    plain = nnjax.fit(jax.random.key(1), params, without_test, **settings)
    for data, more in (
        (digits, {}),
        (digits, {"callback": lambda run: run.params and None, "locate_nan": True}),
        (digits, {"checkpoint": nnjax.CheckpointPolicy(tmp_path, every_seconds=0)}),
    ):
        run = nnjax.fit(jax.random.key(1), params, data, **settings, **more)
        for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(run.params), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(plain.history.train_cost, run.history.train_cost)

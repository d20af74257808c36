"""The claims of docs/reproducibility.md that no other test holds."""

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
from nnjax.storage._serialization import digest
params = nnjax.init(jax.random.key(0), (64, 30, 10))
run = nnjax.fit(jax.random.key(1), params, nnjax.load("digits"), learning_rate=3.0, epochs=5)
print(len(os.sched_getaffinity(0)), digest(run.params))
"""


def bits(cores):
    done = subprocess.run(
        [sys.executable, "-c", BITS, str(cores)], capture_output=True, text=True, check=True
    )
    there, told = done.stdout.split()
    assert int(there) == cores
    return told


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="takes two cores, and a system on which a process can be kept to one",
)
def test_one_core_or_two_give_the_same_bits_of_small_mini_batches():
    assert bits(1) == bits(2) == bits(2)


def test_looking_on_changes_nothing(digits, tmp_path):
    params = nnjax.init(jax.random.key(0), (64, 30, 10))
    settings = {"learning_rate": 3.0, "epochs": 4}
    blind = nnjax.Dataset.from_arrays(tuple(digits.train), num_classes=10)
    plain = nnjax.fit(jax.random.key(1), params, blind, **settings)
    for data, more in (
        (digits, {}),
        (digits, {"callback": lambda run: run.params and None, "locate_nan": True}),
        (digits, {"checkpoint": nnjax.CheckpointPolicy(tmp_path, every_seconds=0)}),
    ):
        seen = nnjax.fit(jax.random.key(1), params, data, **settings, **more)
        for one, other in zip(jax.tree.leaves(plain.params), jax.tree.leaves(seen.params), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(plain.history.train_cost, seen.history.train_cost)

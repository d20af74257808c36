"""Small runs that tests interrupt and resume."""

import jax
import numpy as np
import pytest

import nnjax

KEY = jax.random.key(7)
EPOCHS = 3


class Interrupted(Exception):
    pass


def train(params, data, **settings):
    # 43 divides the 1,204 training images of the digits, so only one step has to be compiled.
    defaults = {"epochs": EPOCHS, "learning_rate": 3.0, "batch_size": 43}
    return nnjax.fit(KEY, params, data, **defaults | settings)


def every_epoch(directory, **settings):
    return nnjax.CheckpointPolicy(directory, every_seconds=3600.0, every=1, **settings)


def interrupt(epoch, params, data, directory, **settings):
    """A run that ends in its callback after an epoch, as a crash would end it."""

    def crash(run):
        if len(run.history) == epoch:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(params, data, callback=crash, checkpoint=every_epoch(directory), **settings)


def assert_same_run(run, expected):
    """Asserts that states and histories are bit-identical, except for the seconds."""
    assert jax.tree.structure(run.state) == jax.tree.structure(expected.state)
    for a, b in zip(jax.tree.leaves(run.state), jax.tree.leaves(expected.state), strict=True):
        assert a.dtype == b.dtype
        if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    for name in ("train_cost", "validation_correct", "test_correct", "diverged_at"):
        np.testing.assert_array_equal(getattr(run.history, name), getattr(expected.history, name))

"""A chunk of networks that needs too much memory is trained in halves."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import nnjax
from nnjax.sweep import _plan
from nnjax.sweep._chunks import is_out_of_memory
from nnjax.sweep._trainer import Trainer
from reference import distance

KEY = jax.random.key(4)
SETTINGS = {"hidden": 6, "seeds": 5, "epochs": 2, "batch_size": 100, "learning_rate": 1.0, "threads": 1}


def limit_memory(monkeypatch):
    """Makes trainings of more than two networks fail; returns a list of the networks in each training."""
    tried, train = [], Trainer.train

    def limited_train(self, chunk, *arguments):
        tried.append(len(chunk.networks))
        if len(chunk.networks) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
        return train(self, chunk, *arguments)

    monkeypatch.setattr(Trainer, "train", limited_train)
    return tried


def test_a_failed_chunk_is_trained_in_halves_with_one_warning(x64, digits, monkeypatch):
    whole = nnjax.sweep(KEY, digits, **SETTINGS)
    tried = limit_memory(monkeypatch)
    progress = []
    with pytest.warns(UserWarning, match="not enough to train 5 networks") as warned:
        halves = nnjax.sweep(KEY, digits, callback=progress.append, **SETTINGS)
    assert len(warned) == 1
    assert tried == [5, 3, 2, 1, 2]
    assert [(p.networks, p.num_networks) for p in progress] == [(0, 5)] * 2 + [(2, 5)] * 2 + [(3, 5)] * 2
    fractions = [p.fraction for p in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert (halves.test_correct == whole.test_correct).all()
    for seed in range(5):
        assert distance(halves.params(seed=seed), whole.params(seed=seed)) < 1e-9


def test_a_resumed_sweep_keeps_its_halves_and_its_bits(digits, monkeypatch, tmp_path):
    tried = limit_memory(monkeypatch)

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.networks == 2:
            raise Stopped

    with pytest.warns(UserWarning, match="halves"):
        uninterrupted = nnjax.sweep(KEY, digits, **SETTINGS)
    with pytest.warns(UserWarning, match="halves"), pytest.raises(Stopped):
        nnjax.sweep(KEY, digits, checkpoint=tmp_path, callback=stop, **SETTINGS)
    tried.clear()
    resumed = nnjax.sweep(KEY, digits, checkpoint=tmp_path, **SETTINGS)
    assert tried == [2, 1, 2]
    assert resumed.data.drop_vars("seconds").identical(uninterrupted.data.drop_vars("seconds"))
    for seed in range(5):
        assert distance(resumed.params(seed=seed), uninterrupted.params(seed=seed)) == 0


def test_other_errors_and_a_single_network_are_not_tried_again(digits, monkeypatch):
    def fail(message):
        monkeypatch.setattr(
            Trainer, "train", lambda *a: (_ for _ in ()).throw(jax.errors.JaxRuntimeError(message))
        )

    fail("INTERNAL: broken")
    with pytest.raises(jax.errors.JaxRuntimeError, match="broken"):
        nnjax.sweep(KEY, digits, **SETTINGS)
    fail("RESOURCE_EXHAUSTED: Out of memory")
    with pytest.raises(jax.errors.JaxRuntimeError, match="Out of memory"):
        nnjax.sweep(KEY, digits, **SETTINGS | {"seeds": 1})


def test_the_error_of_jax_for_a_failed_allocation_is_recognized():
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its type is what is_out_of_memory knows
        jnp.zeros(2**50, jnp.uint8).block_until_ready()
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("INTERNAL"))


@pytest.mark.parametrize(
    ("stats", "expected"), [({"bytes_limit": 1000, "bytes_in_use": 250}, 800), ({}, 400), (None, 400)]
)
def test_programs_may_use_most_of_the_memory_of_the_device(monkeypatch, stats, expected):
    device = SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    monkeypatch.setattr(_plan, "total_memory", lambda: 500)
    assert _plan._memory_bytes() == expected

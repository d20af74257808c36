"""The options with which the programs of networks are compiled."""

import jax
import numpy as np
import pytest

import nnjax
from nnjax.nn import _compiler
from nnjax.nn._compiler import YNNPACK_OPTION, compiler_options, jit_for_params

NET = nnjax.ConvNet((8, 8), kernel_size=3)
CONVOLUTIONAL = NET.init(jax.random.key(0), (2,), (10,))
DENSE = nnjax.init(jax.random.key(0), (64, 10))


def test_only_convolutional_networks_are_compiled_without_ynnpack(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert list(compiler_options(CONVOLUTIONAL)) == [YNNPACK_OPTION]
    assert compiler_options(DENSE) == {}
    monkeypatch.setenv("XLA_FLAGS", f"--{YNNPACK_OPTION}=LIBRARY_FUSION_TYPE_DOT")
    assert compiler_options(CONVOLUTIONAL) == {}
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler_options(CONVOLUTIONAL) == {}


def test_each_kind_of_network_has_its_own_jitted_function(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    jit, options = jax.jit, []

    def recording(f, compiler_options=None, **settings):
        options.append((compiler_options or {}, settings))
        return jit(f, **settings)

    monkeypatch.setattr(_compiler.jax, "jit", recording)
    count = jit_for_params(lambda params, n: n + len(jax.tree.leaves(params)), static_argnames="n")
    assert [int(count(params, 1)) for params in (DENSE, CONVOLUTIONAL, DENSE)] == [3, 5, 3]
    assert options == [({}, {"static_argnames": "n"}),
                       (compiler_options(CONVOLUTIONAL), {"static_argnames": "n"})]  # fmt: skip


@pytest.mark.parametrize("params", [DENSE, CONVOLUTIONAL])
def test_predictions_are_equal_within_other_programs(params, digits):
    objective = nnjax.Objective(NET if params is CONVOLUTIONAL else nnjax.Dense())
    images = digits.test.inputs[:20]
    expected = nnjax.predict(params, images, objective)
    np.testing.assert_array_equal(jax.jit(nnjax.predict)(params, images, objective), expected)
    np.testing.assert_array_equal(jax.jit(lambda: nnjax.predict(params, images, objective))(), expected)
    stacked = jax.tree.map(lambda x: x[None], params)
    of_each = jax.vmap(nnjax.predict, (0, None, None))(stacked, images, objective)
    np.testing.assert_array_equal(of_each[0], expected)

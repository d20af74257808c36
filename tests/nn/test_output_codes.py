"""Output codes: what they encode, and what they decode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax


@pytest.mark.parametrize("code", [nnjax.one_hot, nnjax.binary])
def test_codes_decode_what_they_encode(code):
    n_out, labels = code.num_outputs(10), jnp.arange(10)
    y = jax.vmap(lambda label: code.encode(label, n_out))(labels).astype(jnp.float32)
    assert y.shape == (10, n_out)
    for outputs in (y, 0.3 + 0.4 * y):
        np.testing.assert_array_equal(jax.vmap(code.decode)(outputs), labels)


def test_binary_encodes_bits_and_decodes_to_the_nearest_valid_label():
    assert nnjax.binary.encode(jnp.int32(6), 4).tolist() == [0, 1, 1, 0]
    codewords = np.array([[(digit >> bit) & 1 for bit in (3, 2, 1, 0)] for digit in range(10)])
    outputs = np.random.default_rng(0).random((200, 4), dtype=np.float32)
    nearest = np.sum((codewords - outputs[:, None]) ** 2, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(jax.vmap(nnjax.binary.decode)(outputs), nearest)
    assert int(nnjax.binary.decode(jnp.ones(4))) in (7, 9)


def test_is_digit_says_yes_above_a_half():
    code = nnjax.is_digit(9)
    assert [bool(code.encode(jnp.int32(d), 1)[0]) for d in range(10)] == [False] * 9 + [True]
    assert [int(code.decode(jnp.array([a]))) for a in (0.1, 0.5, 0.51)] == [0, 0, 1]


@pytest.mark.parametrize("digit", [-1, -9, 9.5])
def test_is_digit_needs_a_label(digit):
    with pytest.raises(ValueError, match=f"digit must be .* got {digit}"):
        nnjax.is_digit(digit)


def test_smoothed_labels_decode_to_the_label():
    code, labels = nnjax.LabelSmoothing(0.3), jnp.arange(10)
    y = jax.vmap(lambda label: code.encode(label, 10))(labels)
    np.testing.assert_allclose(y, 0.7 * np.eye(10) + 0.03, atol=1e-6)
    np.testing.assert_array_equal(jax.vmap(code.decode)(y), labels)

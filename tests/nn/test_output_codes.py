"""Output codes: what they encode, and what they decode."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax


@partial(jax.jit, static_argnums=(0, 1))
def encode_on_device(code, n_out, labels):
    return jax.vmap(lambda label: code.encode(label, n_out))(labels).astype(jnp.float32)


@partial(jax.jit, static_argnums=0)
def decode_on_device(code, outputs):
    return jax.vmap(code.decode)(outputs)


def encode_all(code, n_out, labels):
    return np.asarray(encode_on_device(code, n_out, labels))


def decode_all(code, outputs):
    return np.asarray(decode_on_device(code, np.float32(outputs)))


@pytest.mark.parametrize("code", [nnjax.one_hot, nnjax.binary])
def test_codes_decode_what_they_encode(code):
    n_out, labels = code.num_outputs(10), np.arange(10)
    y = encode_all(code, n_out, labels)
    assert y.shape == (10, n_out)
    for outputs in (y, 0.3 + 0.4 * y):
        np.testing.assert_array_equal(decode_all(code, outputs), labels)


def test_binary_encodes_bits_and_decodes_to_the_nearest_valid_label():
    assert encode_all(nnjax.binary, 4, np.arange(10))[6].tolist() == [0, 1, 1, 0]
    codewords = np.array([[(digit >> bit) & 1 for bit in (3, 2, 1, 0)] for digit in range(10)])
    outputs = np.append(np.random.default_rng(0).random((200, 4)), np.ones((1, 4)), axis=0)
    nearest = np.sum((codewords - outputs[:, None]) ** 2, axis=2).argmin(axis=1)
    decoded = decode_all(nnjax.binary, outputs)
    np.testing.assert_array_equal(decoded, nearest)
    assert decoded[-1] == 7  # 1111 is not a digit; 0111 is the nearest one


def test_is_digit_means_yes_above_a_half():
    code = nnjax.is_digit(9)
    assert encode_all(code, 1, np.arange(10)).ravel().tolist() == [0] * 9 + [1]
    assert decode_all(code, [[0.1], [0.5], [0.51]]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("digit", [-1, -9, 9.5])
def test_is_digit_is_only_for_labels(digit):
    with pytest.raises(ValueError, match=f"digit must be .* got {digit}"):
        nnjax.is_digit(digit)


def test_label_smoothing_is_a_fraction():
    with pytest.raises(ValueError, match="alpha must be between 0 and 1, got 5"):
        nnjax.LabelSmoothing(5.0)


def test_smoothed_labels_decode_to_the_label():
    code, labels = nnjax.LabelSmoothing(0.3), np.arange(10)
    y = encode_all(code, 10, labels)
    np.testing.assert_allclose(y, 0.7 * np.eye(10) + 0.03, atol=1e-6)
    np.testing.assert_array_equal(decode_all(code, y), labels)

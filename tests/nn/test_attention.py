"""The transformer is that of Equinox with the same weights; it is causal, and learns what a bigram cannot."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.nn import Transformer, token_cross_entropy

KEY, TIME, WIDTH, VOCABULARY, HEADS = jax.random.key(0), 6, 8, 5, 2
TOKENS = jnp.array([1, 4, 0, 2, 2, 3])


def draw(tied=True):
    params = Transformer(HEADS).init(KEY, VOCABULARY, TIME, WIDTH, blocks=2, tied=tied)
    return jax.tree.map(lambda p: p + 0.05, params)  # biases that are not 0


def equinox_transformer(params, tokens):
    """The logits by the layers of Equinox."""

    def linear(layer):
        n_out, n_in = layer.w.shape
        return eqx.tree_at(lambda m: (m.weight, m.bias), eqx.nn.Linear(n_in, n_out, key=KEY), tuple(layer))

    def norm(layer):
        return eqx.tree_at(lambda m: (m.weight, m.bias), eqx.nn.LayerNorm(WIDTH), tuple(layer))

    mask = jnp.tril(jnp.ones((len(tokens), len(tokens)), bool))
    h = params.embedding[tokens] + params.positions[: len(tokens)]
    for block in params.blocks:
        attention = eqx.nn.MultiheadAttention(
            HEADS, WIDTH, use_query_bias=True, use_key_bias=True, use_value_bias=True, use_output_bias=True,
            key=KEY,
        )  # fmt: skip
        parts = [
            nnjax.Layer(w, b)
            for w, b in zip(jnp.split(block.qkv.w, 3), jnp.split(block.qkv.b, 3), strict=True)
        ]
        attention = eqx.tree_at(
            lambda m: (m.query_proj, m.key_proj, m.value_proj, m.output_proj),
            attention, tuple(map(linear, (*parts, block.projection))),
        )  # fmt: skip
        x = jax.vmap(norm(block.attention_norm))(h)
        h = h + attention(x, x, x, mask)
        x = jax.nn.gelu(jax.vmap(linear(block.up))(jax.vmap(norm(block.dense_norm))(h)))
        h = h + jax.vmap(linear(block.down))(x)
    head = params.embedding if params.head is None else params.head
    return jax.vmap(norm(params.norm))(h) @ head.T


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_logits_and_gradients_are_those_of_equinox(tied, x64):
    params, forward = draw(tied), Transformer(HEADS)
    np.testing.assert_allclose(forward(params, TOKENS), equinox_transformer(params, TOKENS), atol=1e-12)
    gradients = [
        jax.grad(lambda params, f=f: jnp.sum(f(params, TOKENS) ** 2))(params)
        for f in (forward, equinox_transformer)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), *gradients)


def test_no_position_sees_later_tokens():
    params, forward = draw(), Transformer(HEADS)
    changed = forward(params, TOKENS.at[4].set(0))
    np.testing.assert_allclose(changed[:4], forward(params, TOKENS)[:4], atol=1e-6)
    assert np.abs(changed[4:] - forward(params, TOKENS)[4:]).min(axis=1).max() > 1e-3


def test_a_width_that_the_heads_do_not_divide_raises():
    with pytest.raises(ValueError, match="width must be a multiple of the 3 heads, got 8"):
        Transformer(heads=3).init(KEY, 5, 5, width=8)


def repeated_pairs(random, n):
    """Sequences a b a b a b …: from the third token on, the token before the last one is the next."""
    pairs = random.integers(0, VOCABULARY, (n, 2))
    tokens = np.tile(pairs, (1, 5))
    return tokens[:, :-1], tokens[:, 1:]


@pytest.mark.slow
def test_a_transformer_learns_what_a_bigram_cannot():
    """The bigram entropy is ln 5 = 1.61 nats; after the first two tokens everything is known."""
    random = np.random.default_rng(0)
    data = nnjax.Dataset.from_arrays(repeated_pairs(random, 2000), test=repeated_pairs(random, 200))
    forward = Transformer(HEADS)
    params = forward.init(KEY, VOCABULARY, 9, width=16)
    run = nnjax.fit(
        KEY, params, data, objective=nnjax.Objective(forward, token_cross_entropy, code=None),
        optimizer=optax.adam, learning_rate=0.003, batch_size=20, epochs=15,
    )  # fmt: skip
    assert run.history.test_cost[-1] < 0.5 < np.log(VOCABULARY)
    tokens, _ = repeated_pairs(np.random.default_rng(1), 1)
    prediction = np.argmax(forward(run.params, jnp.asarray(tokens[0])), axis=1)
    np.testing.assert_array_equal(prediction[1:], np.tile(tokens[0, :2], 5)[2:10])

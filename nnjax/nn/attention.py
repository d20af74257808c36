"""A causal transformer for one sequence of tokens: each position predicts the token that follows.

Vaswani and others, *Attention is all you need* (2017), in the form of GPT-2 (Radford and others, 2019): the
layers are normalized before attention and before the dense layers, and positions are learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nnjax.nn.dense import InitialWeights, Layer, lecun
from nnjax.nn.layer_norm import layer_norm


class Block(NamedTuple):
    """The parameters of a block; `qkv` computes queries, keys and values; `w` of a norm is its gain."""

    attention_norm: Layer
    qkv: Layer
    projection: Layer
    dense_norm: Layer
    up: Layer
    down: Layer


class TransformerParams(NamedTuple):
    """The parameters of a transformer; `head` is None if the embedding is the head too."""

    embedding: Float[Array, "vocabulary width"]
    positions: Float[Array, "length width"]
    blocks: Sequence[Block]
    norm: Layer
    head: Float[Array, "vocabulary width"] | None


def causal_attention(qkv: Float[Array, "time n3"], heads: int) -> Float[Array, "time n"]:
    """softmax(Q Kᵀ / √d) V for each head of size d, where no position sees later ones."""
    time = len(qkv)
    q, k, v = (part.reshape(time, heads, -1) for part in jnp.split(qkv, 3, axis=1))
    scores = jnp.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5
    is_visible = jnp.tril(jnp.ones((time, time), bool))
    weights = jax.nn.softmax(jnp.where(is_visible[None], scores, -jnp.inf))
    return jnp.einsum("hts,shd->thd", weights, v).reshape(time, -1)


@dataclass(frozen=True)
class Transformer:
    """The forward function of a causal transformer: the logits of the next token at every position.

    Attributes:
      heads: the number of attention heads.
    """

    heads: int = 4

    def init(
        self,
        key: Array,
        vocabulary: int,
        length: int,
        width: int = 64,
        blocks: int = 2,
        tied: bool = True,
        initial_weights: InitialWeights = lecun,
    ) -> TransformerParams:
        """Random parameters.

        Args:
          key: a `jax.random.key`.
          vocabulary: the number of different tokens.
          length: the largest number of tokens in a sequence.
          width: the size of the vector of each position, a multiple of `heads`.
          blocks, tied: the number of blocks, and whether the embedding is the head too.
          initial_weights: as for `nnjax.init`; biases are 0.

        Raises:
          ValueError: a width that is not a multiple of `heads`.

        >>> params = Transformer(heads=2).init(jax.random.key(0), vocabulary=5, length=8, width=16)
        >>> Transformer(heads=2)(params, jnp.array([1, 4, 0])).shape
        (3, 5)
        """
        if width % self.heads:
            raise ValueError(f"width must be a multiple of the {self.heads} heads, got {width}")
        norm = Layer(jnp.ones(width), jnp.zeros(width))

        def layer(key, n_in, n_out):
            return initial_weights(key, n_in, n_out)._replace(b=jnp.zeros(n_out))

        def block(key):
            keys = jax.random.split(key, 4)
            return Block(
                norm, layer(keys[0], width, 3 * width), layer(keys[1], width, width),
                norm, layer(keys[2], width, 4 * width), layer(keys[3], 4 * width, width),
            )  # fmt: skip

        embedding_key, positions_key, head_key, *block_keys = jax.random.split(key, 3 + blocks)
        scale = width**-0.5  # so that the logits of a tied head have a variance of about 1
        return TransformerParams(
            scale * jax.random.normal(embedding_key, (vocabulary, width)),
            scale * jax.random.normal(positions_key, (length, width)),
            tuple(map(block, block_keys)),
            norm,
            None if tied else initial_weights(head_key, width, vocabulary).w,
        )

    def __call__(
        self, params: TransformerParams, x: Int[Array, " time"], key: Any = None
    ) -> Float[Array, "time vocabulary"]:
        """The logits of the next token at each position of one sequence."""
        h = params.embedding[x] + params.positions[: len(x)]
        for block in params.blocks:
            qkv = _apply(block.qkv, layer_norm(block.attention_norm, h))
            h = h + _apply(block.projection, causal_attention(qkv, self.heads))
            h = h + _apply(block.down, jax.nn.gelu(_apply(block.up, layer_norm(block.dense_norm, h))))
        head = params.embedding if params.head is None else params.head
        return layer_norm(params.norm, h) @ head.T


def _apply(layer: Layer, x: Float[Array, "time n_in"]) -> Float[Array, "time n_out"]:
    return x @ layer.w.T + layer.b[None]

"""Recurrent networks for one sequence: a cell is applied to each of its vectors, from the first to the last.

An image is a sequence of rows; tokens are a sequence of rows of an embedding table. The last state, or every
state, is the input of a dense output layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nnjax.nn.dense import Activation, InitialWeights, Layer, identity, lecun
from nnjax.runtime.checks import lookup

State = Any


class RecurrentParams(NamedTuple):
    """The parameters of a recurrent network.

    Attributes:
      embedding: (vocabulary, n_in), a row for each token; None if the inputs are vectors.
      cell: the layer of the cell: `w` is (gates * n, n_in + n), which multiplies input and state.
      output: the output layer.
    """

    embedding: Float[Array, "vocabulary n_in"] | None
    cell: Layer
    output: Layer


def rnn_cell(layer: Layer, h: Float[Array, " n"], x: Float[Array, " n_in"]) -> Float[Array, " n"]:
    """h ← tanh(W [x, h] + b): the network of Elman, *Finding structure in time* (1990)."""
    return jnp.tanh(layer.w @ jnp.concatenate([x, h]) + layer.b)


def gru_cell(layer: Layer, h: Float[Array, " n"], x: Float[Array, " n_in"]) -> Float[Array, " n"]:
    """The gated recurrent unit: h ← (1 − u) h̃ + u h.

    The gates are r = σ(W_r [x, h] + b_r) and u = σ(W_u [x, h] + b_u), and the candidate is
    h̃ = tanh(W_x x + b + r (W_h h)), as in Cho and others, *Learning phrase representations using RNN
    encoder–decoder* (2014), with the reset gate after the product. `layer.w` has the rows of r, u and h̃.
    """
    n = h.size
    of_x, of_h = layer.w[:, : x.size] @ x + layer.b, layer.w[:, x.size :] @ h
    reset, update = jnp.split(jax.nn.sigmoid(of_x[: 2 * n] + of_h[: 2 * n]), 2)
    candidate = jnp.tanh(of_x[2 * n :] + reset * of_h[2 * n :])
    return (1 - update) * candidate + update * h


def lstm_cell(layer: Layer, state: tuple[Array, Array], x: Float[Array, " n_in"]) -> tuple[Array, Array]:
    """Long short-term memory: c ← f c + i g, h ← o tanh(c), and the state is (h, c).

    The gates are i, f, o = σ(W [x, h] + b) and g = tanh(W_g [x, h] + b_g), as in Hochreiter and Schmidhuber,
    *Long short-term memory* (1997), with the forget gate of Gers and others (2000). The rows of `layer.w` are
    those of i, f, g and o.
    """
    h, c = state
    i, f, g, o = jnp.split(layer.w @ jnp.concatenate([x, h]) + layer.b, 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


class Cell(NamedTuple):
    """A cell: its step, the number of its gates, and whether its state is a pair (h, c)."""

    step: Callable[[Layer, State, Array], State]
    gates: int
    is_pair: bool = False


CELLS = {"rnn": Cell(rnn_cell, 1), "gru": Cell(gru_cell, 3), "lstm": Cell(lstm_cell, 4, is_pair=True)}


@dataclass(frozen=True)
class Recurrent:
    """The forward function of a recurrent network.

    Attributes:
      cell: "rnn", "gru" or "lstm".
      every_step: whether the output layer is applied to every state, and not only to the last one.
      output: the activation of the output layer.

    Raises:
      ValueError: an unknown cell.
    """

    cell: str = "gru"
    every_step: bool = False
    output: Activation = identity

    def __post_init__(self):
        lookup("cell", self.cell, CELLS)

    def init(
        self,
        key: Array,
        n_in: int,
        hidden: int,
        n_out: int,
        vocabulary: int | None = None,
        initial_weights: InitialWeights = lecun,
    ) -> RecurrentParams:
        """Random parameters.

        Args:
          key: a `jax.random.key`.
          n_in: the size of each vector of a sequence, such as a row of an image; for tokens, of an embedding.
          hidden: the size of the state.
          n_out: the number of outputs.
          vocabulary: the number of different tokens; None if the inputs are vectors.
          initial_weights: as for `nnjax.init`.

        >>> params = Recurrent("lstm").init(jax.random.key(0), 28, 64, 10)
        >>> params.cell.w.shape, params.output.w.shape
        ((256, 92), (10, 64))
        """
        cell_key, output_key, embedding_key = jax.random.split(key, 3)
        cell = initial_weights(cell_key, n_in + hidden, CELLS[self.cell].gates * hidden)
        embedding = None if vocabulary is None else jax.random.normal(embedding_key, (vocabulary, n_in))
        return RecurrentParams(
            embedding, cell._replace(b=jnp.zeros_like(cell.b)), initial_weights(output_key, hidden, n_out)
        )

    def __call__(
        self, params: RecurrentParams, x: Float[Array, "time n_in"] | Int[Array, " time"], key: Any = None
    ) -> Float[Array, " n_out"] | Float[Array, "time n_out"]:
        """The output for one sequence, or for each of its steps."""
        if params.embedding is not None:
            x = params.embedding[x]
        step, gates, is_pair = CELLS[self.cell]
        zeros = jnp.zeros(params.cell.b.size // gates, x.dtype)

        def scan_step(state, x):
            state = step(params.cell, state, x)
            return state, state[0] if is_pair else state

        _, states = jax.lax.scan(scan_step, (zeros, zeros) if is_pair else zeros, x)
        outputs = jax.vmap(lambda h: self.output(params.output.w @ h + params.output.b))
        return outputs(states) if self.every_step else outputs(states[-1:])[0]

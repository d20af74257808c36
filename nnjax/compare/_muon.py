"""Muon for the hidden weight matrices of a network, and Adam for its other parameters."""

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from nnjax.nn.attention import TransformerParams
from nnjax.nn.dense import Layer
from nnjax.nn.recurrent import RecurrentParams

# Newton-Schulz iterations on larger matrices cost more than ten gradients of a mini-batch.
MAX_SIDE = 256

# The hidden matrices among the matrices of all `Layer`s, in order. In a transformer all of them are hidden,
# because its embeddings and its head are not `Layer`s. In a recurrent network the matrix of the cell is
# hidden, because it multiplies the hidden state.
HIDDEN = {TransformerParams: slice(None), RecurrentParams: slice(0, -1)}


def muon(
    learning_rate: float, beta: float = 0.95, adam_factor: float = 1.0, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Muon, which orthogonalizes the momentum of each hidden weight matrix (Jordan and others, 2024).

    Args:
      learning_rate: the learning rate of the hidden weight matrices.
      beta: the decay of the momentum.
      adam_factor: the learning rate of Adam, which trains all other parameters, divided by `learning_rate`.
      weight_decay: decoupled weight decay of all parameters.
    """
    return optax.contrib.muon(
        learning_rate,
        beta=beta,
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        adam_learning_rate=adam_factor * learning_rate,
        muon_weight_dimension_numbers=hidden_matrices,
    )


def hidden_matrices(params: Any) -> Any:
    """The dimension numbers of the hidden weight matrices; None for all other parameters.

    The matrices of all `Layer`s in `params` except the first and the last are hidden. In a recurrent network,
    the matrix of the cell is hidden. In a transformer, the matrices of the blocks are hidden. Matrices with a
    side longer than 256, and arrays that do not belong to a `Layer`, are not hidden.

    optax also calls this function for trees in which all other parameters are masked.
    """
    parts, structure = jax.tree.flatten(params, is_leaf=lambda part: isinstance(part, Layer))
    # A masked weight has no dimensions. It counts as a matrix, so the first and the last matrix are known.
    matrices = [i for i, part in enumerate(parts) if isinstance(part, Layer) and _ndim(part.w) in (2, None)]
    hidden = {i for i in matrices[HIDDEN.get(type(params), slice(1, -1))] if _is_small(parts[i].w)}
    of_layer: Any = Layer(MuonDimensionNumbers(reduction_axis=1, output_axis=0), None)  # pyright: ignore[reportArgumentType]
    return structure.unflatten([of_layer if i in hidden else None for i in range(len(parts))])


def _ndim(w: Any) -> int | None:
    return getattr(w, "ndim", None)


def _is_small(w: Any) -> bool:
    return _ndim(w) == 2 and max(w.shape) <= MAX_SIDE

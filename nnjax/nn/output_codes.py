"""Output codes: how labels are encoded as outputs, and outputs decoded into labels."""

import operator
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer

from nnjax.runtime.checks import check_range


class Code(Protocol):
    """Encodes a label as an output vector, and decodes an output vector into a label."""

    def num_outputs(self, num_classes: int) -> int:
        """The number of output neurons for `num_classes` labels."""
        ...

    def encode(self, label: Integer[Array, ""], n_out: int) -> Array:
        """The desired output of one label, (n_out,), of any real dtype."""
        ...

    def decode(self, a: Float[Array, " n_out"]) -> Integer[Array, ""]:
        """The predicted label of an output vector: an integer from 0."""
        ...

    def num_classes(self, n_out: int) -> int:
        """The number of labels that `decode` can return for `n_out` outputs."""
        ...


@dataclass(frozen=True)
class OneHot:
    """One output neuron per label; the largest output is the prediction."""

    def num_outputs(self, num_classes: int) -> int:
        return num_classes

    def encode(self, label, n_out):
        return jnp.arange(n_out, dtype=label.dtype) == label

    def decode(self, a):
        return jnp.argmax(a)

    def num_classes(self, n_out: int) -> int:
        return n_out


@dataclass(frozen=True)
class LabelSmoothing(OneHot):
    """`OneHot` whose target is 1 − α + α/n for the label and α/n for each of the other n − 1 neurons.

    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, *Rethinking the Inception architecture for computer
    vision* (2016). Evaluation uses `OneHot`.

    >>> LabelSmoothing(0.1).encode(jnp.array(1), 2).tolist() == jnp.array([0.05, 0.95]).tolist()
    True
    """

    alpha: float = 0.1

    def __post_init__(self):
        check_range("alpha", self.alpha, 0, 1)

    def inference(self) -> OneHot:
        """The code without smoothing."""
        return OneHot()

    def encode(self, label, n_out):
        return optax.losses.smooth_labels(super().encode(label, n_out).astype(float), self.alpha)


@dataclass(frozen=True)
class Binary:
    """The label in binary, most significant bit first: ten digits need four neurons.

    `decode` returns the valid label whose bits are nearest to the output, so 1111 is never 15.
    """

    num_labels: int = 10

    def num_outputs(self, num_classes: int) -> int:
        if num_classes > self.num_labels:
            raise ValueError(f"num_classes must be at most {self.num_labels} for {self}, got {num_classes}")
        return max(1, (self.num_labels - 1).bit_length())

    def encode(self, label, n_out):
        return (label >> jnp.arange(n_out, dtype=label.dtype)[::-1]) & 1

    def decode(self, a):
        codes = jax.vmap(self.encode, (0, None))(jnp.arange(self.num_labels), a.size)
        return jnp.argmin(jnp.sum((codes.astype(a.dtype) - a[None, :]) ** 2, axis=1))

    def num_classes(self, n_out: int) -> int:
        return self.num_labels


@dataclass(frozen=True)
class IsDigit:
    """One output neuron for the question whether the label is `digit`: 1 (yes) above 0.5, else 0 (no)."""

    digit: int

    def num_outputs(self, num_classes: int) -> int:
        if self.digit >= num_classes:
            raise ValueError(f"digit must be less than the {num_classes} classes, got {self}")
        return 1

    def encode(self, label, n_out):
        return jnp.full((n_out,), label == self.digit)

    def decode(self, a):
        return (a[0] > 0.5).astype(int)

    def num_classes(self, n_out: int) -> int:
        return 2


one_hot = OneHot()
binary = Binary()


def is_digit(digit: int) -> IsDigit:
    """The output code `IsDigit(digit)`; raises ValueError if `digit` is not a non-negative integer."""
    try:
        digit = operator.index(digit)
    except TypeError:
        raise ValueError(f"digit must be an integer, got {digit!r}") from None
    if digit < 0:
        raise ValueError(f"digit must be non-negative, got {digit}")
    return IsDigit(digit)


CODES: dict[str, Code] = {
    "one_hot": one_hot,
    "binary": binary,
    **{f"is_digit({digit})": is_digit(digit) for digit in range(10)},
}

"""Output codes: a label, what the output layer should say for it, and what an output means."""

import operator
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer


class Code(Protocol):
    """How a label is written on the output neurons, and read off them."""

    def outputs(self, num_classes: int) -> int:
        """The number of output neurons that `num_classes` labels need."""
        ...

    def encode(self, label: Integer[Array, ""], n_out: int) -> Array:
        """The desired output, (n_out,), of one label; of any real dtype."""
        ...

    def decode(self, a: Float[Array, " n_out"]) -> Integer[Array, ""]:
        """The answer that an output stands for: a whole number from 0."""
        ...

    def answers(self, n_out: int) -> int:
        """How many different answers `decode` may give to outputs of this size."""
        ...


@dataclass(frozen=True)
class OneHot:
    """A neuron for each label; the most active one is the answer."""

    def outputs(self, num_classes: int) -> int:
        return num_classes

    def encode(self, label, n_out):
        return jnp.arange(n_out, dtype=label.dtype) == label

    def decode(self, a):
        return jnp.argmax(a)

    def answers(self, n_out: int) -> int:
        return n_out


@dataclass(frozen=True)
class Smoothed(OneHot):
    """`OneHot`, not quite sure: the label's neuron is to say 1 − ε + ε/n, each of the n − 1 others ε/n.

    A softmax that is to be certain drives its weights up without end (Szegedy, Vanhoucke, Ioffe,
    Shlens, Wojna, *Rethinking the Inception architecture for computer vision*, 2016).

    >>> Smoothed(0.1).encode(jnp.array(1), 2).tolist() == jnp.array([0.05, 0.95]).tolist()
    True
    """

    share: float = 0.1

    @property
    def settled(self) -> OneHot:
        """What its outputs mean once training is over."""
        return OneHot()

    def encode(self, label, n_out):
        return optax.losses.smooth_labels(super().encode(label, n_out).astype(float), self.share)


@dataclass(frozen=True)
class Binary:
    """The label in binary, most significant bit first: ten digits on four neurons.

    An output means the valid label whose bits are nearest to it, so 1111 is never read as 15.
    """

    num_classes: int = 10

    def outputs(self, num_classes: int) -> int:
        if num_classes > self.num_classes:
            raise ValueError(f"{self} cannot write {num_classes} labels")
        return max(1, (self.num_classes - 1).bit_length())

    def encode(self, label, n_out):
        return (label >> jnp.arange(n_out, dtype=label.dtype)[::-1]) & 1

    def decode(self, a):
        labels = jax.vmap(self.encode, (0, None))(jnp.arange(self.num_classes), a.size)
        return jnp.argmin(jnp.sum((labels.astype(a.dtype) - a[None, :]) ** 2, axis=1))

    def answers(self, n_out: int) -> int:
        return self.num_classes


@dataclass(frozen=True)
class IsDigit:
    """One neuron that says whether the label is `digit`: yes, 1, above 0.5, else no, 0."""

    digit: int

    def outputs(self, num_classes: int) -> int:
        if self.digit >= num_classes:
            raise ValueError(f"is_digit({self.digit}) asks for a label beyond the {num_classes} there are")
        return 1

    def encode(self, label, n_out):
        return jnp.full((n_out,), label == self.digit)

    def decode(self, a):
        return (a[0] > 0.5).astype(int)

    def answers(self, n_out: int) -> int:
        return 2


one_hot = OneHot()
binary = Binary()


def is_digit(digit: int) -> IsDigit:
    """The code of one output neuron that answers "is it a `digit`?" with yes above 0.5."""
    try:
        digit = operator.index(digit)
    except TypeError:
        raise ValueError(f"is_digit needs a whole number, not {digit!r}") from None
    if digit < 0:
        raise ValueError(f"is_digit needs a label, 0 or more, not {digit}")
    return IsDigit(digit)


CODES: dict[str, Code] = {
    "one_hot": one_hot,
    "binary": binary,
    **{f"is_digit({digit})": is_digit(digit) for digit in range(10)},
}

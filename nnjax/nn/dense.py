"""Dense feedforward networks as pure functions over a tuple of layers.

The mathematics is chapter 1 of Michael Nielsen, *Neural Networks and Deep Learning*: a neuron
with inputs x outputs f(w·x + b), and each layer feeds the next. Every function takes ONE example;
use `jax.vmap` for a batch.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Layer(NamedTuple):
    """A layer of n_out neurons with n_in inputs each: row j of `w` and `b[j]` belong to neuron j."""

    w: Float[Array, "n_out n_in"]
    b: Float[Array, " n_out"]


Params = tuple[Layer, ...]
Activation = Callable[[Array], Array]


def heaviside(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """The perceptron's activation: 1 where z > 0, else 0. Its gradient is zero everywhere."""
    return (z > 0).astype(z.dtype)


def identity(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns z: a linear output, for costs that take z instead of an activation a."""
    return z


sigmoid: Activation = jax.nn.sigmoid
tanh: Activation = jnp.tanh
relu: Activation = jax.nn.relu

ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "heaviside": heaviside,
    "identity": identity,
}


# Compiled, so that a layer has the same bits whether it is drawn inside or outside of jit.
_jit_initializer = partial(jax.jit, static_argnums=(1, 2))


@_jit_initializer
def standard_normal(key: Array, n_in: int, n_out: int) -> Layer:
    """Every weight and bias from N(0, 1), as in chapter 1 of the book.

    float32, or float64 if `jax_enable_x64` is set.
    """
    w_key, b_key = jax.random.split(key)
    return Layer(jax.random.normal(w_key, (n_out, n_in)), jax.random.normal(b_key, (n_out,)))


@_jit_initializer
def lecun(key: Array, n_in: int, n_out: int) -> Layer:
    """Weights from N(0, 1/n_in), biases from N(0, 1), so sigmoid neurons are not saturated at the start.

    The initial weights of the book's chapter 3; LeCun, Bottou, Orr, Müller, *Efficient backprop* (1998).
    """
    w, b = standard_normal(key, n_in, n_out)
    return Layer(w / n_in**0.5, b)


@_jit_initializer
def he(key: Array, n_in: int, n_out: int) -> Layer:
    """Weights from N(0, 2/n_in), biases 0: a ReLU layer preserves the variance of its input.

    He, Zhang, Ren, Sun, *Delving deep into rectifiers* (2015), https://arxiv.org/abs/1502.01852.
    """
    w = jax.random.normal(key, (n_out, n_in)) * (2 / n_in) ** 0.5
    return Layer(w, jnp.zeros(n_out))


InitialWeights = Callable[[Array, int, int], Layer]

INITIAL_WEIGHTS: dict[str, InitialWeights] = {"standard_normal": standard_normal, "lecun": lecun, "he": he}


def check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """`sizes` as a tuple of ints; raises ValueError if they do not describe a network."""
    try:
        checked = tuple(operator.index(size) for size in sizes)
    except TypeError:
        checked = None
    if checked is None or any(isinstance(size, bool) for size in sizes):
        raise ValueError(f"sizes must be integers, as in (784, 30, 10), got {sizes!r}")
    if len(checked) < 2:
        raise ValueError(f"sizes must contain at least an input and an output layer, got {checked!r}")
    if not 1 <= min(checked) <= max(checked) < 2**31:
        raise ValueError(f"sizes must be positive and less than 2**31, got {checked!r}")
    return checked


def init(key: Array, sizes: Sequence[int], initial_weights: InitialWeights = standard_normal) -> Params:
    """Random parameters of a dense network.

    Args:
      key: a `jax.random.key`; the same key gives the same parameters.
      sizes: neurons per layer, inputs first, as in (784, 30, 10); at least two layers.
      initial_weights: a function (key, n_in, n_out) -> Layer: `standard_normal`, `lecun`, `he` or a
        custom function.

    Returns:
      A tuple with one `Layer(w, b)` for each layer except the input layer; `w` is (n_out, n_in), float32.

    Raises:
      ValueError: sizes that are too few, not positive or not integers.

    >>> [layer.w.shape for layer in init(jax.random.key(0), (784, 30, 10))]
    [(30, 784), (10, 30)]
    """
    sizes = check_sizes(sizes)
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(
        initial_weights(k, n_in, n_out) for k, n_in, n_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
    )


def feedforward(
    params: Params,
    x: Float[Array, "..."],
    activation: Activation = sigmoid,
    output: Activation = sigmoid,
) -> Float[Array, " n_out"]:
    """The network's output for one example: a = f(w a + b), layer by layer (the book's eq. 22).

    Args:
      params: as returned by `init`.
      x: one example of n_in floats in any shape; pixels in [0, 1], not uint8.
      activation: f of the hidden layers.
      output: f of the last layer; `identity` for costs that take z.

    Returns:
      The output activations, (n_out,).

    >>> weekend = (Layer(jnp.array([[6.0, 2.0, 2.0]]), jnp.array([-5.0])),)
    >>> feedforward(weekend, jnp.array([1.0, 0.0, 0.0]), output=heaviside)
    Array([1.], dtype=float32)
    """
    (w, b), *rest = params
    return forward_from_z(rest, w @ jnp.ravel(x) + b, activation, output)


def forward_from_z(
    params: Sequence[Layer],
    z: Float[Array, " n"],
    activation: Activation = sigmoid,
    output: Activation = sigmoid,
) -> Float[Array, " n_out"]:
    """The network's output from the pre-activations z of its first layer.

    Args:
      params: the layers after the first one.
      z: pre-activations of the first layer, (n,).
      activation, output: as in `feedforward`.
    """
    for w, b in params:
        z = w @ activation(z) + b
    return output(z)


@dataclass(frozen=True)
class Dense:
    """`feedforward` as the forward function of an `Objective`.

    Two `Dense` with the same activations are equal, so `jax.jit` compiles once for both.

    Attributes:
      activation: the activation of the hidden layers.
      output: the activation of the last layer.
    """

    activation: Activation = sigmoid
    output: Activation = sigmoid

    def __call__(self, params, x, key=None):
        return feedforward(params, x, self.activation, self.output)


@dataclass(frozen=True)
class DenseFromPreactivations(Dense):
    """`Dense` whose input is the pre-activations of the first layer instead of the example."""

    def __call__(self, params, x, key=None):
        return forward_from_z(params, x, self.activation, self.output)


def sizes_of(params: Params) -> tuple[int, ...]:
    """The sizes of a network's layers, as `init` takes them.

    >>> sizes_of(init(jax.random.key(0), (784, 30, 10)))
    (784, 30, 10)
    """
    return (params[0].w.shape[1], *(layer.b.shape[0] for layer in params))


def is_dense(params: object) -> bool:
    """Whether `params` is a non-empty tuple of `Layer`."""
    return isinstance(params, tuple) and len(params) > 0 and all(isinstance(p, Layer) for p in params)

"""Dense feedforward networks, as pure functions over a tuple of layers.

The mathematics is chapter 1 of Michael Nielsen, *Neural Networks and Deep Learning*: a neuron
with inputs x outputs f(w·x + b), and a layer of neurons is fed by the one before it. Functions
take one example; batches are `jax.vmap`'s work.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Layer(NamedTuple):
    """A layer of n_out neurons with n_in inputs each: row j of `w` and `b[j]` are neuron j's."""

    w: Float[Array, "n_out n_in"]
    b: Float[Array, " n_out"]


Params = tuple[Layer, ...]
Activation = Callable[[Array], Array]


def step(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """The perceptron: 1 where z > 0, else 0. Its gradient is zero everywhere."""
    return (z > 0).astype(z.dtype)


def identity(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """z itself: a linear output, for the costs that take z rather than an activation."""
    return z


sigmoid: Activation = jax.nn.sigmoid
tanh: Activation = jnp.tanh
relu: Activation = jax.nn.relu

ACTIVATIONS: dict[str, Activation] = {
    "step": step,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "identity": identity,
}


# Compiled, so that they draw the same bits here and within a compiled function, and as one program.
_compiled = partial(jax.jit, static_argnums=(1, 2))


@_compiled
def gaussian(key: Array, n_in: int, n_out: int) -> Layer:
    """Every weight and bias from N(0, 1), as the book's chapter 1 has them; float32.

    In double precision where `jax_enable_x64` is set, as all of JAX's random numbers are.
    """
    w_key, b_key = jax.random.split(key)
    return Layer(jax.random.normal(w_key, (n_out, n_in)), jax.random.normal(b_key, (n_out,)))


@_compiled
def scaled(key: Array, n_in: int, n_out: int) -> Layer:
    """Weights from N(0, 1/n_in), biases from N(0, 1): neurons that do not start saturated.

    The initial weights of the book's chapter 3; elsewhere known as LeCun's.
    """
    w, b = gaussian(key, n_in, n_out)
    return Layer(w / n_in**0.5, b)


@_compiled
def he(key: Array, n_in: int, n_out: int) -> Layer:
    """Weights from N(0, 2/n_in), biases 0: a rectified layer keeps the size of what passes it.

    He, Zhang, Ren, Sun, *Delving deep into rectifiers* (2015), https://arxiv.org/abs/1502.01852.
    """
    w = jax.random.normal(key, (n_out, n_in)) * (2 / n_in) ** 0.5
    return Layer(w, jnp.zeros(n_out))


InitialWeights = Callable[[Array, int, int], Layer]

INITIAL_WEIGHTS: dict[str, InitialWeights] = {"gaussian": gaussian, "scaled": scaled, "he": he}


def check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """`sizes` as a tuple of ints, or a ValueError that says what a network needs."""
    try:
        checked = tuple(operator.index(size) for size in sizes)
    except TypeError:
        checked = None
    if checked is None or any(isinstance(size, bool) for size in sizes):
        raise ValueError(f"sizes must be whole numbers, as in (784, 30, 10), not {sizes!r}")
    if len(checked) < 2:
        raise ValueError(f"sizes needs an input and an output layer at least, not {checked!r}")
    if not 1 <= min(checked) <= max(checked) < 2**31:
        raise ValueError(f"sizes must be positive (and less than 2**31): {checked!r}")
    return checked


def init(key: Array, sizes: Sequence[int], initial_weights: InitialWeights = gaussian) -> Params:
    """Random parameters of a network whose layers have `sizes` neurons, the inputs counted.

    Args:
      key: a `jax.random.key`; the same key gives the same parameters.
      sizes: neurons a layer, as in (784, 30, 10); two layers or more.
      initial_weights: draws one layer from (key, n_in, n_out): `gaussian`, `scaled` or your own.

    Returns:
      A tuple of `Layer(w, b)`, one for each layer but the input; `w` is (n_out, n_in), float32.

    Raises:
      ValueError: sizes that are too few, not positive or not whole.

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
    x: Float[Array, " n_in"],
    activation: Activation = sigmoid,
    output: Activation = sigmoid,
) -> Float[Array, " n_out"]:
    """The network's output for one example: a = f(w a + b), layer after layer (the book's eq. 22).

    Args:
      params: as `init` gives them.
      x: one example, (n_in,), as floats: grey from 0 to 1, not bytes; use `jax.vmap` for many.
      activation: f of the hidden layers.
      output: f of the last layer; `identity` for costs that take z.

    >>> weekend = (Layer(jnp.array([[6.0, 2.0, 2.0]]), jnp.array([-5.0])),)
    >>> feedforward(weekend, jnp.array([1.0, 0.0, 0.0]), output=step)
    Array([1.], dtype=float32)
    """
    (w, b), *rest = params
    return onward(rest, w @ x + b, activation, output)


def onward(
    params: Sequence[Layer],
    z: Float[Array, " n"],
    activation: Activation = sigmoid,
    output: Activation = sigmoid,
) -> Float[Array, " n_out"]:
    """The network's output from its first layer's pre-activations z; `params` are those of the others."""
    for w, b in params:
        z = w @ activation(z) + b
    return output(z)


def sizes_of(params: Params) -> tuple[int, ...]:
    """The sizes that `init` was given for these parameters.

    >>> sizes_of(init(jax.random.key(0), (784, 30, 10)))
    (784, 30, 10)
    """
    return (params[0].w.shape[1], *(layer.b.shape[0] for layer in params))


def is_dense(params: object) -> bool:
    """Whether `params` is a tuple of `Layer`: a dense network of this module's."""
    return isinstance(params, tuple) and len(params) > 0 and all(isinstance(p, Layer) for p in params)

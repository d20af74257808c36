"""What is minimised, and what an output means: forward, cost, code and penalty in one value.

Training, evaluation and prediction see a model only through its `Objective`, so they serve a
dense network, a Flax or Equinox model and ten lines of the user's own alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, Num, UInt8

from nnjax.network import Activation, feedforward, identity, is_dense, sigmoid, sizes_of

# --- costs: of one example, of what `forward` returns ---


def quadratic(a: Float[Array, " n_out"], y: Float[Array, " n_out"]) -> Float[Array, ""]:
    """½‖a − y‖², summed over the outputs: one term of the book's equation 6.

    >>> float(quadratic(jnp.array([1.0, 0.0]), jnp.array([0.0, 0.0])))
    0.5
    """
    return jnp.sum((a - y) ** 2) / 2


def sigmoid_cross_entropy(z: Float[Array, " n_out"], y: Float[Array, " n_out"]) -> Float[Array, ""]:
    """−Σ y ln σ(z) + (1−y) ln(1−σ(z)) (the book's equation 63), stable; wants `output=identity`."""
    return jnp.sum(optax.losses.sigmoid_binary_cross_entropy(z, y))


def softmax_cross_entropy(z: Float[Array, " n_out"], y: Float[Array, " n_out"]) -> Float[Array, ""]:
    """−Σ y ln softmax(z) (the book's equation 80), stable; wants `output=identity`."""
    return optax.losses.softmax_cross_entropy(z, y)


Cost = Callable[[Array, Array], Array]

COSTS: dict[str, Cost] = {
    "quadratic": quadratic,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
}

# A cost that takes z hides the output layer's activation in itself: this is it.
_ACTIVATION_IN_COST: dict[Cost, Activation] = {
    sigmoid_cross_entropy: sigmoid,
    softmax_cross_entropy: jax.nn.softmax,
}

# --- output codes: a label -> what the output layer should say -> a label ---


class Code(Protocol):
    """How a label is written on the output neurons, and read off them."""

    def outputs(self, num_classes: int) -> int:
        """The number of output neurons that `num_classes` labels need."""
        ...

    def encode(self, label: Integer[Array, ""], n_out: int) -> Array:
        """The desired output, (n_out,), of one label; of any real dtype."""
        ...

    def decode(self, a: Float[Array, " n_out"]) -> Integer[Array, ""]:
        """The answer that an output stands for."""
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


one_hot = OneHot()
binary = Binary()


def is_digit(digit: int) -> IsDigit:
    """The code of one output neuron that answers "is it a `digit`?" with yes above 0.5."""
    if digit < 0:
        raise ValueError(f"is_digit needs a label, 0 or more, not {digit!r}")
    return IsDigit(digit)


CODES: dict[str, Code] = {
    "one_hot": one_hot,
    "binary": binary,
    **{f"is_digit({digit})": is_digit(digit) for digit in range(10)},
}

# --- the objective ---


@dataclass(frozen=True)
class Dense:
    """`feedforward` as an objective's forward: equal activations are equal values, compiled once."""

    activation: Activation = sigmoid
    output: Activation = sigmoid

    def __call__(self, params, x, key=None):
        return feedforward(params, x, self.activation, self.output)


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Objective:
    """What training minimises: the mean of cost(forward(params, x), y), plus a penalty on params.

    Attributes:
      forward: `forward(params, x, key) -> output` for one example x. The key is for dropout and
        the like: of its own for each example while training, None in evaluation.
      cost: `cost(output, y) -> scalar` for one example.
      code: encodes labels into y and decodes outputs into answers.
      penalty: `penalty(params) -> scalar`, added to each mini-batch's mean cost; or None.

    The value is a pytree. A plain function in it is static; one that is a pytree itself, such as
    `jax.tree_util.Partial(l2, 0.1)`, has its numbers as leaves: traced, so that changing them
    does not recompile, and open to `vmap`.

    >>> jax.tree.leaves(Objective(penalty=jax.tree_util.Partial(lambda rate, params: rate, 0.1)))
    [0.1]
    """

    forward: Callable[[Any, Array, Array | None], Array] = Dense()
    cost: Cost = quadratic
    code: Code = one_hot
    penalty: Callable[[Any], Array] | None = None

    def tree_flatten(self):
        parts = [getattr(self, field.name) for field in fields(self)]
        static = [jax.tree_util.all_leaves([part]) for part in parts]
        children = [None if s else part for part, s in zip(parts, static, strict=True)]
        return children, tuple(part if s else None for part, s in zip(parts, static, strict=True))

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*(child if s is None else s for child, s in zip(children, static, strict=True)))

    def activations(self, params: Any, x: Array) -> Array:
        """The outputs for one example as `code` reads them, between 0 and 1 (for our costs)."""
        output = self.forward(params, x, None)
        return _ACTIVATION_IN_COST.get(self.cost, identity)(output)


def float_dtype(params: Any) -> jnp.dtype:
    """The dtype that examples take: that of the first floating leaf of `params`, else float32."""
    dtypes = (jnp.result_type(leaf) for leaf in jax.tree.leaves(params))
    return next((d for d in dtypes if jnp.issubdtype(d, jnp.floating)), jnp.dtype(jnp.float32))


def as_input(images: UInt8[Array, "..."] | Float[Array, "..."], dtype: jnp.dtype) -> Array:
    """Images as a network takes them: 0..255 becomes 0..1, floats stay what they are."""
    x = images.astype(dtype)
    return x / 255 if images.dtype == jnp.uint8 else x


def as_target(label: Array, code: Code, n_out: int, dtype: jnp.dtype) -> Array:
    """The desired output y of one example: its label in `code`, or the target that it already is."""
    is_label = jnp.issubdtype(label.dtype, jnp.integer)
    return (code.encode(label, n_out) if is_label else label).astype(dtype)


def mean_cost(
    params: Any,
    objective: Objective,
    images: Num[Array, "m pixels"],
    labels: Num[Array, "m ..."],
    key: Array,
) -> Float[Array, ""]:
    """C of a mini-batch: the mean over its examples of the cost, plus the penalty.

    With the quadratic cost this is 1/(2m) Σ_x ‖y(x) − a‖², the book's equation 6.
    """
    dtype = float_dtype(params)

    def cost(image, label, key):
        output = objective.forward(params, as_input(image, dtype), key)
        return objective.cost(output, as_target(label, objective.code, output.size, dtype))

    costs = jax.vmap(cost)(images, labels, jax.random.split(key, len(images)))
    penalty = 0 if objective.penalty is None else objective.penalty(params)
    return jnp.mean(costs) + penalty


def check_fits(
    objective: Objective,
    params: Any,
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    num_classes: int,
) -> None:
    """Raise a ValueError where a model, its output code and the data do not go together.

    Traces `forward` for one example without computing anything.
    """
    if is_dense(params) and sizes_of(params)[0] != images.shape[1]:
        raise ValueError(
            f"images have {images.shape[1]} pixels, but the first layer of params takes "
            f"{sizes_of(params)[0]}: sizes should begin with {images.shape[1]}"
        )
    x = jax.ShapeDtypeStruct(images.shape[1:], float_dtype(params))
    try:
        output = jax.eval_shape(lambda params, x: objective.forward(params, x, None), params, x)
        n_out = output.size
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"forward cannot take params and an image of the shape {x.shape}: {error}"
        ) from error
    if jnp.issubdtype(labels.dtype, jnp.integer):
        wanted, why = objective.code.outputs(num_classes), f"{objective.code} of {num_classes} labels"
    else:
        wanted, why = labels.shape[1], "the targets"
    if n_out < wanted or (labels.ndim > 1 and n_out != wanted):
        raise ValueError(f"the output layer has {n_out} neurons, but {why} needs {wanted}")
    if objective.cost is softmax_cross_entropy and isinstance(objective.code, Binary | IsDigit):
        raise ValueError(
            "softmax_cross_entropy takes exactly one output to be right, as one_hot has it: with "
            f"{objective.code} use sigmoid_cross_entropy or quadratic"
        )

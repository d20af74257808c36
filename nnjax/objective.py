"""What is minimised, and what an output means: forward, cost, code and penalty in one value.

Training, evaluation and prediction see a model only through its `Objective`, so they serve a
dense network, a Flax or Equinox model and ten lines of the user's own alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Num, UInt8

from nnjax.codes import Binary, Code, IsDigit, one_hot
from nnjax.network import Activation, feedforward, identity, is_dense, onward, sigmoid, sizes_of


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


def _activation_in(cost: Cost) -> Activation:
    """The output layer's activation that a cost which takes z holds in itself."""
    if cost is sigmoid_cross_entropy:
        return sigmoid
    return jax.nn.softmax if cost is softmax_cross_entropy else identity


@dataclass(frozen=True)
class Dense:
    """`feedforward` as an objective's forward: equal activations are equal values, compiled once."""

    activation: Activation = sigmoid
    output: Activation = sigmoid

    def __call__(self, params, x, key=None):
        return feedforward(params, x, self.activation, self.output)


@dataclass(frozen=True)
class Onward(Dense):
    """`Dense` from the pre-activations of the first layer, which stand for the image."""

    def __call__(self, params, x, key=None):
        return onward(params, x, self.activation, self.output)


def parted(functions: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """Functions as children of a pytree, where they are pytrees themselves, and as static ones."""
    static = [jax.tree_util.all_leaves([f]) for f in functions]
    children = [None if s else f for f, s in zip(functions, static, strict=True)]
    return children, tuple(f if s else None for f, s in zip(functions, static, strict=True))


def joined(children: Sequence[Any], static: Sequence[Any]) -> list[Any]:
    """The functions that `parted` parted."""
    return [child if s is None else s for child, s in zip(children, static, strict=True)]


def settled(part: Any) -> Any:
    """What a forward or a code is once training is over: its own `settled`, else itself."""
    return getattr(part, "settled", part)


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
        return parted([getattr(self, field.name) for field in fields(self)])

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*joined(children, static))

    @property
    def settled(self) -> "Objective":
        """What remains of it once training is over, and does the same in evaluation.

        A forward or a code that does more while it learns tells by its own `settled` what it is then.
        """
        return Objective(settled(self.forward), self.cost, settled(self.code))

    def activations(self, params: Any, x: Array) -> Array:
        """The outputs for one example as `code` reads them.

        What `forward` returns; with the cross-entropies of this module, which take z, σ(z) or
        softmax(z). A cost of your own that takes z wants a code of its own that reads z, unless
        the code is `one_hot`, to which it is all one.
        """
        return _activation_in(self.cost)(self.forward(params, x, None))


def float_dtype(params: Any) -> jnp.dtype:
    """The dtype that examples take: that of the first floating leaf of `params`, else float32."""
    dtypes = (jnp.result_type(leaf) for leaf in jax.tree.leaves(params))
    return next((d for d in dtypes if jnp.issubdtype(d, jnp.floating)), jnp.dtype(jnp.float32))


def as_input(images: UInt8[Any, "..."] | Float[Any, "..."], dtype: jnp.dtype) -> Any:
    """Images as a network takes them: 0..255 becomes 0..1, floats stay what they are."""
    if images.dtype == jnp.uint8:
        return images.astype(dtype) / 255
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 (0 to 255) or floats, not {images.dtype}")
    return images.astype(dtype)


def as_target(label: Array, code: Code, n_out: int, dtype: jnp.dtype) -> Array:
    """The desired output y of one example: its label in `code`, or the target that it already is."""
    return (label if label.ndim else code.encode(label, n_out)).astype(dtype)


@dataclass(frozen=True)
class Whole:
    """How a mini-batch is worked out: as a whole. `parallel.Spread` gives each device a part of it."""

    def __call__(self, f: Callable, *batch: Array) -> Any:
        """`f(*batch)`, for an f that treats each example by itself."""
        return f(*batch)

    def everywhere(self, tree: Any) -> Any:
        """`tree`, whole on every device."""
        return tree


whole = Whole()


def mean_cost(
    params: Any,
    objective: Objective,
    images: Num[Array, "m pixels"],
    labels: Num[Array, "m ..."],
    key: Array,
    spread: Whole = whole,
) -> Float[Array, ""]:
    """C of a mini-batch: the mean over its examples of the cost, plus the penalty.

    With the quadratic cost this is 1/(2m) Σ_x ‖y(x) − a‖², the book's equation 6.
    """
    output, cost = _of_one(objective, float_dtype(params))
    keys = jax.random.split(key, len(images))
    each = jax.vmap(lambda image, label, key: cost(output(params, image, key), label))
    penalty = 0 if objective.penalty is None else objective.penalty(params)
    return jnp.mean(spread(each, images, labels, keys)) + penalty


def gauss_newton_product(
    params: Any,
    direction: Any,
    objective: Objective,
    images: Num[Array, "m pixels"],
    labels: Num[Array, "m ..."],
    key: Array,
    spread: Whole = whole,
) -> Any:
    """G v = Jᵀ H J v for a mini-batch: its cost's curvature along `direction`, never the matrix.

    J is the derivative of the outputs by the parameters, H the second derivative of the mean cost
    by the outputs; the penalty is left out. G is what remains of the Hessian if the network is
    taken to be linear in its parameters (Schraudolph, *Fast curvature matrix-vector products*,
    2002). Costs about as much as two gradients.
    """
    output, cost = _of_one(objective, float_dtype(params))
    keys = jax.random.split(key, len(images))

    def outputs(params):
        return spread(jax.vmap(lambda image, key: output(params, image, key)), images, keys)

    def mean(a):
        return jnp.mean(spread(jax.vmap(cost), a, labels))

    a, jv = jax.jvp(outputs, (params,), (direction,))
    hjv = jax.jvp(jax.grad(mean), (a,), (jv,))[1]
    return jax.vjp(outputs, params)[1](hjv)[0]


def _of_one(objective: Objective, dtype: jnp.dtype) -> tuple[Callable, Callable]:
    """The output for one image, and the cost of one output."""

    def output(params, image, key):
        return objective.forward(params, as_input(image, dtype), key)

    def cost(output, label):
        return objective.cost(output, as_target(label, objective.code, output.size, dtype))

    return output, cost


def check_fits(
    objective: Objective,
    params: Any,
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    num_classes: int,
) -> None:
    """Raise a ValueError where a model, its objective and the data do not go together.

    Traces `forward` for one example without computing anything.
    """
    _check_params(params)
    n_out = _output_size(objective, params, images.shape[1])
    code, cost = objective.code, objective.cost
    if labels.ndim > 1 and n_out != labels.shape[1]:
        raise ValueError(f"the output layer has {n_out} neurons, but the targets {labels.shape[1]}")
    if labels.ndim == 1 and n_out < (wanted := code.outputs(num_classes)):
        raise ValueError(
            f"the output layer has {n_out} neurons, but {code} of {num_classes} labels needs {wanted}"
        )
    if cost is softmax_cross_entropy and isinstance(code, Binary | IsDigit):
        raise ValueError(
            "softmax_cross_entropy takes exactly one output to be right, as one_hot has it: with "
            f"{code} use sigmoid_cross_entropy or quadratic"
        )
    takes_z = _activation_in(cost) is not identity
    if takes_z and isinstance(objective.forward, Dense) and objective.forward.output is not identity:
        raise ValueError("the cross-entropies take z, not an activation: use Dense(output=identity)")


def _check_params(params: Any) -> None:
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError(f"params holds no numbers to train: {params!r}")
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", type(leaf))
        if dtype is not float and not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"params must be a pytree of floating-point arrays, but a leaf is {dtype}")


def _output_size(objective: Objective, params: Any, pixels: int) -> int:
    """The number of outputs that `forward` gives, or a ValueError where it takes no such image."""
    if is_dense(params) and (n_in := sizes_of(params)[0]) != pixels:
        raise ValueError(
            f"images have {pixels} pixels, but the first layer of params takes {n_in}: "
            f"sizes should begin with {pixels}"
        )
    x = jax.ShapeDtypeStruct((pixels,), float_dtype(params))
    try:
        return jax.eval_shape(lambda params, x: objective.forward(params, x, None), params, x).size
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"forward cannot take params and an image {x.shape}: {told}") from error

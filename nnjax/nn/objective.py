"""What training minimizes, and what an output means: forward, cost, code and penalty in one value.

Training, evaluation and prediction see a model only through its `Objective`, so they serve a
dense network, a Flax or Equinox model and ten lines of the user's own alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Num, UInt8

from nnjax.nn.dense import Activation, Dense, identity, sigmoid
from nnjax.nn.output_codes import Code, one_hot
from nnjax.runtime.sharding import map_examples


def quadratic(a: Float[Array, " n_out"], y: Float[Array, " n_out"]) -> Float[Array, ""]:
    """½‖a − y‖², summed over the outputs: one term of the book's equation 6.

    >>> float(quadratic(jnp.array([1.0, 0.0]), jnp.array([0.0, 0.0])))
    0.5
    """
    return jnp.sum((a - y) ** 2) / 2


def sigmoid_cross_entropy(z: Float[Array, " n_out"], y: Float[Array, " n_out"]) -> Float[Array, ""]:
    """−Σ y ln σ(z) + (1−y) ln(1−σ(z)) (the book's equation 63), stable; use `output=identity`."""
    return jnp.sum(optax.losses.sigmoid_binary_cross_entropy(z, y))


def softmax_cross_entropy(z: Float[Array, " n_out"], y: Float[Array, " n_out"]) -> Float[Array, ""]:
    """−Σ y ln softmax(z) (the book's equation 80), stable; use `output=identity`."""
    return optax.losses.softmax_cross_entropy(z, y)


Cost = Callable[[Array, Array], Array]

COSTS: dict[str, Cost] = {
    "quadratic": quadratic,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
}


def final_activation(cost: Cost) -> Activation:
    """The output activation that a cost which takes z includes; `identity` for every other cost."""
    if cost is sigmoid_cross_entropy:
        return sigmoid
    return jax.nn.softmax if cost is softmax_cross_entropy else identity


@runtime_checkable
class HasInference(Protocol):
    """A forward or an output code that does more in training than in evaluation, such as dropout."""

    def inference(self) -> Any:
        """The same part as evaluation, prediction and model files use it."""
        ...


def inference(part: Any) -> Any:
    """The part of an objective that evaluation uses: `part.inference()`, or a plain `part` itself."""
    return part.inference() if isinstance(part, HasInference) else part


def partition(functions: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """Splits functions into children of a pytree (those that are pytrees) and static values."""
    static = [jax.tree_util.all_leaves([f]) for f in functions]
    children = [None if s else f for f, s in zip(functions, static, strict=True)]
    return children, tuple(f if s else None for f, s in zip(functions, static, strict=True))


def combine(children: Sequence[Any], static: Sequence[Any]) -> list[Any]:
    """The functions that `partition` split."""
    return [child if s is None else s for child, s in zip(children, static, strict=True)]


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Objective:
    """What training minimizes: the mean of cost(forward(params, x), y), plus a penalty on params.

    The value is a pytree. A plain function in it is static. A function that is a pytree itself, such as
    `jax.tree_util.Partial(l2, 0.1)`, has its numbers as leaves: they are traced, so changing them does
    not recompile, and a sweep can `vmap` over them.

    Attributes:
      forward: `forward(params, x, key) -> output` for one example x. In training every example gets
        a key of its own, for dropout and the like; in evaluation the key is None.
      cost: `cost(output, y) -> scalar` for one example.
      code: encodes labels into y and decodes outputs into labels.
      penalty: `penalty(params) -> scalar`, added to the mean cost of each mini-batch; or None.

    >>> jax.tree.leaves(Objective(penalty=jax.tree_util.Partial(lambda rate, params: rate, 0.1)))
    [0.1]
    """

    forward: Callable[[Any, Array, Array | None], Array] = Dense()
    cost: Cost = quadratic
    code: Code = one_hot
    penalty: Callable[[Any], Array] | None = None

    def tree_flatten(self):
        return partition([getattr(self, field.name) for field in fields(self)])

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*combine(children, static))

    def inference(self) -> "Objective":
        """The objective without what only training needs: dropout, augmentation, label smoothing, penalty."""
        return Objective(inference(self.forward), self.cost, inference(self.code))

    def activations(self, params: Any, x: Array) -> Array:
        """The outputs for one example as `code` decodes them.

        The result of `forward`; with the cross-entropies of this module, which take z, σ(z) or
        softmax(z). If a cost of your own takes z, its code must decode z; `one_hot` does, since σ and
        softmax do not change which output is the largest.
        """
        return final_activation(self.cost)(self.forward(params, x, None))


def float_dtype(params: Any) -> jnp.dtype:
    """The dtype of examples: that of the first floating-point leaf of `params`, else float32."""
    dtypes = (jnp.result_type(leaf) for leaf in jax.tree.leaves(params))
    return next((d for d in dtypes if jnp.issubdtype(d, jnp.floating)), jnp.dtype(jnp.float32))


def to_input(inputs: UInt8[Any, "..."] | Float[Any, "..."], dtype: jnp.dtype) -> Any:
    """Inputs as a network takes them: uint8 is scaled from 0..255 to [0, 1], floats are used as they are."""
    if inputs.dtype == jnp.uint8:
        return inputs.astype(dtype) / 255
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise ValueError(f"inputs must be uint8 (0 to 255) or floats, got {inputs.dtype}")
    return inputs.astype(dtype)


def to_target(target: Array, code: Code, n_out: int, dtype: jnp.dtype) -> Array:
    """The desired output y of one example: a label encoded by `code`, or the target vector itself."""
    return (target if target.ndim else code.encode(target, n_out)).astype(dtype)


def per_example(objective: Objective, dtype: jnp.dtype) -> tuple[Callable, Callable]:
    """`output(params, x, key)` for one example, and `cost(output, target)` for one output."""

    def output(params, x, key):
        return objective.forward(params, to_input(x, dtype), key)

    def cost(output, target):
        return objective.cost(output, to_target(target, objective.code, output.size, dtype))

    return output, cost


def mean_cost(
    params: Any,
    objective: Objective,
    inputs: Num[Array, "m pixels"],
    targets: Num[Array, "m ..."],
    key: Array,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """C of a mini-batch: the mean over its examples of the cost, plus the penalty.

    With the quadratic cost this is 1/(2m) Σ_x ‖y(x) − a‖², the book's equation 6.

    Args:
      params: any pytree that `objective.forward` takes.
      objective: forward, cost, code and penalty.
      inputs, targets: the m examples.
      key: split into one key per example.
      mesh: devices that share the examples, or None for one device.
    """
    output, cost = per_example(objective, float_dtype(params))
    keys = jax.random.split(key, len(inputs))
    each = jax.vmap(lambda x, target, key: cost(output(params, x, key), target))
    penalty = 0 if objective.penalty is None else objective.penalty(params)
    return jnp.mean(map_examples(each, mesh, inputs, targets, keys)) + penalty

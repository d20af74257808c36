"""The objective of training: forward function, cost, output code and penalty as one pytree.

Training, evaluation and prediction use a model only through its `Objective`. So they work in the same
way for the built-in networks, for Flax and Equinox models, and for your functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num, UInt8

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
    """−Σ [y ln σ(z) + (1−y) ln(1−σ(z))] (the book's equation 63), computed from z without overflow.

    The output activation of the model must be `identity`.
    """
    return jnp.sum(optax.losses.sigmoid_binary_cross_entropy(z, y))


def softmax_cross_entropy(z: Float[Array, " n_out"], y: Float[Array, " n_out"]) -> Float[Array, ""]:
    """−Σ y ln softmax(z) (the book's equation 80), computed from z without overflow.

    The output activation of the model must be `identity`.
    """
    return optax.losses.softmax_cross_entropy(z, y)


def token_cross_entropy(
    logits: Float[Array, "time vocabulary"], tokens: Int[Array, " time"]
) -> Float[Array, ""]:
    """The mean over a sequence of −ln softmax(logits)[token], in nats per token.

    >>> round(float(token_cross_entropy(jnp.zeros((3, 4)), jnp.array([0, 3, 1]))), 4)  # ln 4
    1.3863
    """
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(logits, tokens))


Cost = Callable[[Array, Array], Array]

COSTS: dict[str, Cost] = {
    "quadratic": quadratic,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
}


def final_activation(cost: Cost) -> Activation:
    """The activation that is part of a cost: σ or softmax for the cross-entropies, else `identity`."""
    if cost is sigmoid_cross_entropy:
        return sigmoid
    return jax.nn.softmax if cost is softmax_cross_entropy else identity


@runtime_checkable
class HasInference(Protocol):
    """A forward function or an output code that does more in training than in evaluation."""

    def inference(self) -> Any:
        """The version that evaluation, prediction and model files use."""
        ...


def inference(part: Any) -> Any:
    """Returns `part.inference()` if `part` has this method, else `part`."""
    has_inference = isinstance(part, HasInference) and callable(part.inference)
    return part.inference() if has_inference else part


def partition(functions: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """Splits functions into pytree children and static values; one that is not a pytree is static."""
    static = [jax.tree_util.all_leaves([f]) for f in functions]
    children = [None if s else f for f, s in zip(functions, static, strict=True)]
    return children, tuple(f if s else None for f, s in zip(functions, static, strict=True))


def combine(children: Sequence[Any], static: Sequence[Any]) -> list[Any]:
    """The inverse of `partition`."""
    return [child if s is None else s for child, s in zip(children, static, strict=True)]


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Objective:
    """What training minimizes: the mean of cost(forward(params, x), y), plus a penalty on params.

    An Objective is a pytree. Plain functions are static. The numbers in a function that is a pytree, such
    as `jax.tree_util.Partial(l2, 0.1)`, are leaves: they are traced, so changing them does not recompile,
    and a sweep can `vmap` over them.

    Attributes:
      forward: `forward(params, x, key) -> output` for one example x. In training every example gets
        a different key, for example for dropout; in evaluation the key is None.
      cost: `cost(output, y) -> scalar` for one example.
      code: encodes labels into y and decodes outputs into labels; None if there are no labels: then y is the
        target, and nothing is counted as correct.
      penalty: `penalty(params) -> scalar`, added to the mean cost of each mini-batch; or None.

    >>> jax.tree.leaves(Objective(penalty=jax.tree_util.Partial(lambda rate, params: rate, 0.1)))
    [0.1]
    """

    forward: Callable[[Any, Array, Array | None], Array] = Dense()
    cost: Cost = quadratic
    code: Code | None = one_hot
    penalty: Callable[[Any], Array] | None = None

    def tree_flatten(self):
        return partition([getattr(self, field.name) for field in fields(self)])

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*combine(children, static))

    @property
    def label_code(self) -> Code:
        """`code`, if there are labels.

        Raises:
          ValueError: `code` is None.
        """
        if self.code is None:
            raise ValueError(
                "code must be an output code, such as nnjax.one_hot, to predict labels, got None"
            )
        return self.code

    def inference(self) -> "Objective":
        """The objective for evaluation: without dropout, augmentation, label smoothing and penalty."""
        return Objective(inference(self.forward), self.cost, inference(self.code))

    def activations(self, params: Any, x: Array) -> Array:
        """The output activations for one example, which `code` decodes.

        For a cross-entropy of this module, σ(z) or softmax(z) of the output z; for another cost, the
        output of `forward`. If your cost takes z, your code must decode z. `one_hot` can, because σ and
        softmax do not change which output is the largest.
        """
        return final_activation(self.cost)(self.forward(params, x, None))


def float_dtype(params: Any) -> jnp.dtype:
    """The dtype of examples: that of the first floating-point leaf of `params`, else float32."""
    dtypes = (jnp.result_type(leaf) for leaf in jax.tree.leaves(params))
    return next((d for d in dtypes if jnp.issubdtype(d, jnp.floating)), jnp.dtype(jnp.float32))


def to_input(inputs: UInt8[Any, "..."] | Float[Any, "..."] | Int[Any, "..."], dtype: jnp.dtype) -> Any:
    """Inputs for a network: uint8 scaled from 0..255 to [0, 1], floats as `dtype`; int32 is not changed."""
    if inputs.dtype == jnp.uint8:
        return inputs.astype(dtype) / 255
    return inputs.astype(dtype) if jnp.issubdtype(inputs.dtype, jnp.floating) else inputs


def to_target(target: Array, code: Code | None, n_out: int, dtype: jnp.dtype) -> Array:
    """The desired output y of one example: a label encoded by `code`, or the target itself.

    Without a code, a target is treated like an input: uint8 is scaled, and other integers do not change.
    """
    if code is None:
        return to_input(target, dtype)
    return (target if target.ndim else code.encode(target, n_out)).astype(dtype)


def per_example(objective: Objective, dtype: jnp.dtype) -> tuple[Callable, Callable]:
    """Two functions: `output(params, x, key)` of one example, and `cost(output, target)`."""

    def output(params, x, key):
        return objective.forward(params, to_input(x, dtype), key)

    def cost(output, target):
        return objective.cost(output, to_target(target, objective.code, output.size, dtype))

    return output, cost


def example_keys(key: Array | None, m: int) -> Array | None:
    """One key for each of m examples, for `objective.forward`; None if `key` is None, as in evaluation."""
    return None if key is None else jax.random.split(key, m)


def mean_cost(
    params: Any,
    objective: Objective,
    inputs: Num[Array, "m ..."],
    targets: Num[Array, "m ..."],
    key: Array | None,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """The cost C of a mini-batch: the mean of the cost over its examples, plus the penalty.

    With the quadratic cost this is 1/(2m) Σ_x ‖y(x) − a‖², the book's equation 6.

    Args:
      params: any pytree that `objective.forward` takes.
      objective: forward, cost, code and penalty.
      inputs, targets: the m examples.
      key: split into one key per example; None for no random numbers, as in evaluation.
      mesh: devices that share the examples, or None for one device.
    """
    output, cost = per_example(objective, float_dtype(params))
    keys = example_keys(key, len(inputs))
    each = jax.vmap(lambda x, target, key: cost(output(params, x, key), target))
    penalty = 0 if objective.penalty is None else objective.penalty(params)
    return jnp.mean(map_examples(each, mesh, inputs, targets, keys)) + penalty

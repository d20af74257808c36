"""Mixed precision: a forward function that computes in a different dtype from that of its parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from nnjax.nn.objective import combine, float_dtype, inference, partition


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class ComputeDtype:
    """A forward function that computes in `dtype`, for example bfloat16, with parameters in float32.

    Parameters and input are converted before `forward`, and the output is converted back. So the cost, the
    gradient and the optimizer use the dtype of the parameters (Micikevicius and others, *Mixed precision
    training*, 2018). bfloat16 has the range of float32, so loss scaling is not needed.

    Attributes:
      forward: a forward function that computes in the dtype of its parameters.
      dtype: a floating-point dtype.

    Raises:
      ValueError: a dtype that is not floating-point.

    >>> from nnjax.nn import Dense, init
    >>> params = init(jax.random.key(0), (2, 1))
    >>> ComputeDtype(Dense())(params, jnp.ones(2)).dtype
    dtype('float32')
    """

    forward: Callable[[Any, Array, Array | None], Array]
    dtype: Any = jnp.bfloat16

    def __post_init__(self):
        try:
            is_float = self.dtype is not None and jnp.issubdtype(self.dtype, jnp.floating)
        except TypeError:
            is_float = False
        if not is_float:
            raise ValueError(f"dtype must be a floating-point dtype such as jnp.bfloat16, got {self.dtype!r}")

    def tree_flatten(self):
        forward, static = partition([self.forward])
        return forward, (*static, self.dtype)

    @classmethod
    def tree_unflatten(cls, static, children):
        (forward,) = combine(children, static[:1])
        return cls(forward, static[1])

    def inference(self) -> "ComputeDtype":
        """The forward function for evaluation, in the same dtype."""
        return ComputeDtype(inference(self.forward), self.dtype)

    def __call__(self, params: Any, x: Array, key: Array | None = None) -> Array:
        """The output for one example, in the dtype of the first floating-point parameter."""
        output = self.forward(_convert(params, self.dtype), _convert(x, self.dtype), key)
        return _convert(output, float_dtype(params))


def _convert(tree: Any, dtype: Any) -> Any:
    """A pytree with its floating-point arrays converted to `dtype`."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)

"""A value that is observed in the steps of training, with its state and its interval."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from nnjax.nn.objective import combine, partition
from nnjax.runtime.checks import check_positive_int


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Watch:
    """A value that is computed in some steps of training, and a state that is passed between these steps.

    A `Watch` is a pytree. Plain functions are static. If a function is a pytree, such as
    `jax.tree_util.Partial(f, inputs)`, its arrays are leaves: they are arguments of the compiled epoch, not
    constants.

    Attributes:
      init: `init(params) -> state`, for the initial parameters. The state is a pytree of arrays.
      update: `update(state, params, grads, updates) -> (state, value)`. The new state has the structure,
        shapes and dtypes of the old one. The value is an array.
      every: the interval in steps. With k, the value is computed in the training steps 0, k, 2k and so on.
        With None, it is computed in the first step of each epoch; in a training with `steps`, in the first
        step after each evaluation.

    Raises:
      ValueError: `every` is neither None nor a positive integer.

    >>> count = Watch(lambda params: 0, lambda n, params, grads, updates: (n + 1, n), every=10)
    >>> count.update(count.init(()), (), (), ())
    (1, 0)
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, Any], tuple[Any, Any]]
    every: int | None = 1

    def __post_init__(self):
        if self.every is not None:
            check_positive_int("every", self.every)

    def tree_flatten(self):
        children, static = partition([self.init, self.update])
        return children, (static, self.every)

    @classmethod
    def tree_unflatten(cls, static, children):
        functions, every = static
        return cls(*combine(children, functions), every=every)


def as_watch(f: Any, every: int | None = 1) -> Watch:
    """A function `f(params, grads, updates) -> value` as a `Watch` without state.

    A `Watch` is returned unchanged.

    Args:
      f: the function, or a `Watch`. If it is a `Watch`, `every` is ignored.
      every: as in `Watch`.

    Raises:
      ValueError: f is neither a function nor a `Watch`.

    >>> as_watch(lambda params, grads, updates: grads, every=100).every
    100
    """
    if isinstance(f, Watch):
        return f
    if not callable(f):
        raise ValueError(f"watch must be a function f(params, grads, updates) or a Watch, got {f!r}")
    return Watch(_no_state, _Stateless(f), every)


def _no_state(params):
    return ()


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class _Stateless:
    """A function without state as `Watch.update`. Equal functions give equal values, so jit compiles once."""

    f: Callable[[Any, Any, Any], Any]

    def __call__(self, state, params, grads, updates):
        return state, self.f(params, grads, updates)

    def tree_flatten(self):
        return partition([self.f])

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*combine(children, static))

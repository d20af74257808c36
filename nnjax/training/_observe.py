"""Observing the steps of a compiled epoch: the states and the values of watches."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from nnjax.nn._shape_checks import explained
from nnjax.training.watch import Watch, as_watch

Watches = Mapping[str, Watch]

MAX_WATCHED_BYTES = 2**30


def init_watches(watches: Watches | None, params: Any) -> dict[str, Any]:
    """The state of each watch before the first step."""
    return {name: watch.init(params) for name, watch in (watches or {}).items()}


def observe(
    watches: Watches,
    states: Mapping[str, Any],
    i: Int[Array, ""] | int,
    num_steps: int,
    params: Any,
    grads: Any,
    updates: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states and values of the watches in step i of `num_steps`; zeros if a watch skips the step."""
    results = {}
    for name, watch in watches.items():

        def update(state, watch=watch):
            state, value = watch.update(state, params, grads, updates)
            return state, jax.tree.map(jnp.asarray, value)

        def skip(state, update=update):
            shapes = jax.eval_shape(update, state)[1]
            return state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        every = watch.every or num_steps
        results[name] = (
            update(states[name]) if every == 1 else jax.lax.cond(i % every == 0, update, skip, states[name])
        )
    return {name: state for name, (state, _) in results.items()}, {
        name: value for name, (_, value) in results.items()
    }


def due_values(watches: Watches, values: Mapping[str, Any], num_steps: int) -> dict[str, Any]:
    """Selects from `values`, with a leading axis of steps, the steps in which each watch is computed."""
    return {
        name: jax.tree.map(lambda v, every=watch.every or num_steps: v[::every], values[name])
        for name, watch in watches.items()
    }


def check_watches(watch: Any, params: Any) -> dict[str, Watch]:
    """Checks the argument `watch` and returns its watches by name; functions are traced, not computed.

    Raises:
      ValueError: `watch` is not a mapping from names to functions or watches, a function cannot be traced, or
        it does not return an array.
    """
    if watch is not None and not isinstance(watch, Mapping):
        raise ValueError(f"watch must be a mapping from names to functions, got {watch!r}")
    watches = {}
    for name, f in (watch or {}).items():
        if not isinstance(name, str):
            raise ValueError(f"watch must be a mapping from names to functions, got the name {name!r}")
        watches[name] = as_watch(f)
        with explained(f"watch {name} must accept params, grads and updates with the shapes of params"):
            state = jax.eval_shape(watches[name].init, params)
            new_state, value = jax.eval_shape(watches[name].update, state, params, params, params)
        if not hasattr(value, "dtype") or jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise ValueError(f"watch {name} must return an array of real numbers, got {value}")
        if _shapes(state) != _shapes(new_state):
            raise ValueError(
                f"watch {name} must return a state with the shapes of its init, {_shapes(state)}, got "
                f"{_shapes(new_state)}"
            )
    return watches


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), tree)


def watched_shapes(watches: Watches, params: Any, num_steps: int) -> dict[str, jax.ShapeDtypeStruct]:
    """For each watch, the shape (step, ...) of its values in `num_steps` steps.

    The dtype is floating-point, because NaN marks missing values.
    """

    def shape_of(watch):
        state = jax.eval_shape(watch.init, params)
        value = jax.eval_shape(watch.update, state, params, params, params)[1]
        count = -(-num_steps // (watch.every or num_steps))
        dtype = value.dtype if jnp.issubdtype(value.dtype, jnp.floating) else jnp.float32
        return jax.ShapeDtypeStruct((count, *value.shape), dtype)

    return {name: shape_of(watch) for name, watch in watches.items()}


def check_watched_size(shapes: Sequence[Mapping[str, jax.ShapeDtypeStruct]], rows: int) -> None:
    """Raises ValueError if the values of all networks need more memory than `MAX_WATCHED_BYTES`.

    Args:
      shapes: `watched_shapes` of each network.
      rows: the number of rows of the history.
    """
    for name in shapes[0] if shapes else ():
        size = rows * sum(math.prod(of[name].shape) * of[name].dtype.itemsize for of in shapes)
        if size > MAX_WATCHED_BYTES:
            raise ValueError(
                f"watch {name} must return less than {MAX_WATCHED_BYTES / 2**30:g} GiB in total, got "
                f"{size / 2**30:.1f} GiB: return less, such as a norm, or observe fewer steps with "
                "Watch(every=...)"
            )

"""Observing the steps of a compiled epoch: the states and the values of watches."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from nnjax.nn._shape_checks import explained
from nnjax.runtime.host_shape import HostShape
from nnjax.watch import Watch, as_watch

Watches = Mapping[str, Watch]

MAX_WATCHED_BYTES = 2**30
_REAL_KINDS = jnp.bool_, jnp.integer, jnp.floating


def init_watches(watches: Watches | None, params: Any) -> dict[str, Any]:
    """The state of each watch before the first step."""
    return {name: watch.init(params) for name, watch in (watches or {}).items()}


def with_buffers(
    watches: Watches, states: Mapping[str, Any], params: Any, num_steps: int
) -> dict[str, tuple[Any, Any]]:
    """The state of each watch, and where a program of `num_steps` steps stores its values.

    A watch that is computed in every step needs no buffer: its values are outputs of the scan.
    """

    def buffer(watch):
        if watch.every == 1:
            return ()
        count = _count(watch, num_steps)
        return jax.tree.map(lambda v: jnp.zeros((count, *v.shape), v.dtype), _value_struct(watch, params))

    return {name: (states[name], buffer(watch)) for name, watch in watches.items()}


def _value_struct(watch: Watch, params: Any) -> Any:
    """The shape and dtype of a watch's value."""
    return jax.eval_shape(lambda params: watch.update(watch.init(params), params, params, params)[1], params)


def _count(watch: Watch, num_steps: int) -> int:
    """The largest number of values of a watch in `num_steps` steps."""
    return 1 if watch.every is None else -(-num_steps // watch.every)


def observe(
    watches: Watches,
    carried: Mapping[str, tuple[Any, Any]],
    start: Int[Array, ""],
    i: Int[Array, ""] | int,
    params: Any,
    grads: Any,
    updates: Any,
) -> tuple[dict[str, tuple[Any, Any]], dict[str, Any]]:
    """The states and buffers of the watches after a step, and the values of those without a buffer.

    Args:
      watches: the watches by name.
      carried: the result of `with_buffers`, or of the step before.
      start, i: the step is the i-th of a program that starts at the training step `start`.
      params, grads, updates: the arguments of the watches.
    """
    carried, values = dict(carried), {}
    for name, watch in watches.items():
        if watch.every == 1:
            state, value = watch.update(carried[name][0], params, grads, updates)
            carried[name], values[name] = (state, ()), jax.tree.map(jnp.asarray, value)
            continue
        every = watch.every
        is_due = i == 0 if every is None else (start + i) % every == 0
        index = 0 if every is None else (start + i) // every + (-start // every)

        def update(carry, watch=watch, index=index):
            state, buffer = carry
            state, value = watch.update(state, params, grads, updates)
            return state, jax.tree.map(lambda b, v: b.at[index].set(v), buffer, value)

        carried[name] = jax.lax.cond(is_due, update, lambda carry: carry, carried[name])
    return carried, values


def without_buffers(
    carried: Mapping[str, tuple[Any, Any]], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of the watches at the end of a program, and the values of each, with a leading axis."""
    states = {name: state for name, (state, _) in carried.items()}
    return states, {name: values.get(name, buffer) for name, (_, buffer) in carried.items()}


def due_steps(watches: Watches, rows: Sequence[int]) -> dict[str, Int[np.ndarray, "rows values"]]:
    """By name, the training steps in which a watch is computed in each row of the history; -1 for none.

    Args:
      watches: the watches by name.
      rows: the number of steps of each row.
    """
    bounds = [0, *np.cumsum(rows).tolist()]

    def of_watch(watch):
        every, longest = watch.every, _count(watch, rows[0])
        if every is None:
            return np.array(bounds[:-1])[:, None]
        steps = [range(start + -start % every, end, every) for start, end in pairwise(bounds)]
        return np.array([[*row, *[-1] * (longest - len(row))] for row in steps])

    return {name: of_watch(watch) for name, watch in watches.items()}


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
            result = jax.eval_shape(watches[name].update, state, params, params, params)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise ValueError(f"watch {name} must return a pair (state, value) from update, got {result}")
        new_state, value = result
        if not (hasattr(value, "dtype") and any(jnp.issubdtype(value.dtype, kind) for kind in _REAL_KINDS)):
            raise ValueError(f"watch {name} must return an array of real numbers, got {value}")
        if _shapes(state) != _shapes(new_state):
            raise ValueError(
                f"watch {name} must return a state with the shapes of its init, {_shapes(state)}, got "
                f"{_shapes(new_state)}"
            )
    return watches


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), tree)


def watched_shapes(watches: Watches, params: Any, num_steps: int) -> dict[str, HostShape]:
    """By name, the shape (value, ...) of the values of a watch in a row of `num_steps` steps, as floats.

    Integers become float64, so that they are exact and NaN can mark missing values.
    """

    def shape_of(watch):
        value = _value_struct(watch, params)
        is_small = jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize <= 4
        dtype = np.dtype(np.float32 if is_small else np.float64)
        return HostShape((_count(watch, num_steps), *value.shape), dtype)

    return {name: shape_of(watch) for name, watch in watches.items()}


def check_watched_size(shapes: Sequence[Mapping[str, HostShape]], rows: int) -> None:
    """Raises ValueError if the values of all networks differ in rank, or exceed `MAX_WATCHED_BYTES`.

    Args:
      shapes: `watched_shapes` of each network.
      rows: the number of rows of the history.
    """
    for name in shapes[0] if shapes else ():
        if len({len(of[name].shape) for of in shapes}) > 1:
            found = ", ".join(sorted({str(of[name].shape[1:]) for of in shapes}))
            raise ValueError(
                f"watch {name} must return equally many axes for all networks, got the shapes {found}"
            )
        size = rows * sum(math.prod(of[name].shape) * of[name].dtype.itemsize for of in shapes)
        if size > MAX_WATCHED_BYTES:
            raise ValueError(
                f"watch {name} must return less than {MAX_WATCHED_BYTES / 2**30:g} GiB in total, got "
                f"{size / 2**30:.1f} GiB: return less, such as a norm, or observe fewer steps with "
                "Watch(every=...)"
            )

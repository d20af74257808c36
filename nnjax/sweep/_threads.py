"""Parts of a population that train at the same time, in threads of one process.

A compiled program on a CPU executes one operation after another, and uses several cores only within large
operations. The steps of small networks consist of small operations. So on a CPU, a sweep splits its
networks into parts, and its threads execute the same compiled program for several parts at the same time.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Parts:
    """How the networks of a population are split.

    Attributes:
      count: the number of parts, which must divide the number of networks.
      alone: whether a part is a single network, without an axis of networks.
      threads: the number of parts that are computed at the same time.
    """

    count: int = 1
    alone: bool = False
    threads: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether the population is not split."""
        return self.count == 1 and not self.alone

    def first(self, tree: Any, axes: Any) -> Any:
        """The first part of a pytree, as `map` passes it: the arrays, or their shapes."""
        if self.is_whole:
            return tree
        return jax.eval_shape(lambda tree: _split(tree, axes, self.count, self.alone)[0], tree)

    def map(self, program: Callable, in_axes: tuple, out_axes: Any, *arguments: Any) -> Any:
        """The results of a compiled program for each part, joined.

        Args:
          program: a function of one part of `arguments`. It must have been compiled in advance: settings of
            jax, such as `jax.enable_x64`, hold only in the thread that sets them, and a compiled program
            does not depend on them.
          in_axes, out_axes: as for `jax.vmap`: 0 for arrays with a leading axis of networks, None for arrays
            that all networks share. Every part gets its own copy of a shared array, so that the program may
            donate it; the result contains that of the first part.
          *arguments: the arguments of all networks.
        """
        if self.is_whole:
            return program(*arguments)
        parts = _split(arguments, in_axes, self.count, self.alone)
        with ThreadPoolExecutor(self.threads) as pool:  # waits for all parts, also if one of them fails
            results = list(pool.map(lambda part: jax.block_until_ready(program(*part)), parts))
        return _join(results, out_axes, self.alone)


@partial(jax.jit, static_argnames=("axes", "count", "alone"))
def _split(tree: Any, axes: Any, count: int, alone: bool) -> Sequence[Any]:
    def part(i, axis, x):
        size = len(x) // count if axis == 0 else 0
        return jnp.copy(x) if axis is None else x[i] if alone else x[i * size : (i + 1) * size]

    return [map_axes(partial(part, i), axes, tree) for i in range(count)]


@partial(jax.jit, static_argnames=("axes", "alone"))
def _join(parts: Sequence[Any], axes: Any, alone: bool) -> Any:
    def whole(axis, *of_parts):
        return of_parts[0] if axis is None else (jnp.stack if alone else jnp.concatenate)(of_parts)

    return map_axes(whole, axes, *parts)


def map_axes(f: Callable, axes: Any, *trees: Any) -> Any:
    """`f(axis, *leaves)` for the leaves of trees of which `axes` is a prefix; None is an axis too."""
    return jax.tree.map(
        lambda axis, *subtrees: jax.tree.map(partial(f, axis), *subtrees),
        axes,
        *trees,
        is_leaf=lambda axis: axis is None,
    )

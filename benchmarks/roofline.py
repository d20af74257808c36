"""Lower bounds of measured times: the time for the arithmetic alone, or for the memory traffic alone.

`peak_flops` and `bandwidth` are measured in the same run as the times that they bound.
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

REPETITIONS = 7


def backprop_flops(sizes: Sequence[int], examples: int) -> float:
    """The floating-point operations of backpropagation's matrix products.

    Each layer needs 2 n_in n_out operations per example in the forward pass and as many for its gradient.
    Every layer but the first needs as many again for the deltas of the layer before it.

    >>> backprop_flops((784, 30, 10), 1)
    95880
    """
    first, *others = (n_in * n_out for n_in, n_out in pairwise(sizes))
    return (4 * first + 6 * sum(others)) * examples


def peak_flops(n: int = 3000) -> float:
    """Operations per second of a large float32 matrix product, with jax's default precision."""
    a = jax.random.normal(jax.random.key(0), (n, n))
    return 2 * n**3 / _min_seconds(jax.jit(jnp.matmul), a, a)


def bandwidth(megabytes: int = 400) -> float:
    """Bytes per second that are read and written, for arrays much larger than the caches."""
    a = jnp.ones(megabytes * 250_000)
    return 2 * a.nbytes / _min_seconds(jax.jit(lambda a: a + 1), a)


def _min_seconds(f: Callable, *arguments: Any) -> float:
    """The seconds of the fastest call, after one that compiles."""
    jax.block_until_ready(f(*arguments))
    seconds = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        jax.block_until_ready(f(*arguments))
        seconds.append(time.perf_counter() - start)
    return min(seconds)

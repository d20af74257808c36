"""What a device would take for arithmetic or memory alone: the floors under measured times.

`peak` and `bandwidth` are measured in the run that they are a floor for.
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp


def flops(sizes: Sequence[int], examples: int) -> float:
    """The operations of the matrix products of backpropagation, the first layer's deltas left out.

    Of each layer 2 n_in n_out an example forward, as many for its gradient, and but for the first
    as many for the deltas before it.

    >>> flops((784, 30, 10), 1)
    95880
    """
    first, *others = (n_in * n_out for n_in, n_out in pairwise(sizes))
    return (4 * first + 6 * sum(others)) * examples


def peak(n: int = 3000) -> float:
    """Operations a second of a large float32 matrix product, as training asks for one."""
    a = jax.random.normal(jax.random.key(0), (n, n))
    return 2 * n**3 / _best(jax.jit(jnp.matmul), a, a)


def bandwidth(megabytes: int = 400) -> float:
    """Bytes a second read and written, of numbers far more than any cache holds."""
    a = jnp.ones(megabytes * 250_000)
    return 2 * a.nbytes / _best(jax.jit(lambda a: a + 1), a)


def _best(f: Callable, *arguments: Any) -> float:
    """The seconds of the fastest of some calls, after one that compiles."""
    jax.block_until_ready(f(*arguments))
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        jax.block_until_ready(f(*arguments))
        seconds.append(time.perf_counter() - began)
    return min(seconds)

"""Compiler options for the programs of networks."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from nnjax.nn.conv import ConvParams

YNNPACK_OPTION = "xla_cpu_experimental_ynn_fusion_type"


def compiler_options(params: Any) -> dict[str, str | bool]:
    """The options with which programs for a network with these parameters are compiled.

    By default, jaxlib 0.10 uses the library YNNPACK on a CPU. A step of a `ConvNet` then takes about 1.4
    times as long as without it. Dense networks are faster with it. If $XLA_FLAGS sets the option, that value
    is used.
    """
    if jax.default_backend() != "cpu" or not isinstance(params, ConvParams):
        return {}
    is_set = YNNPACK_OPTION in os.environ.get("XLA_FLAGS", "")
    return {} if is_set else {YNNPACK_OPTION: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


def jit_for_params(f: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """`jax.jit` of a function whose first argument is a network's parameters, with `compiler_options`.

    Args:
      f: the function.
      **settings: other arguments of `jax.jit`.
    """
    by_options: dict[Any, Any] = {}

    @wraps(f)
    def call(params: Any, *arguments: Any, **keywords: Any) -> Any:
        options = compiler_options(params)
        # JAX does not accept compiler options for a function that is called within another jitted function.
        if options and isinstance(jnp.zeros(()), Tracer):
            options = {}
        key = tuple(options.items())
        if key not in by_options:
            by_options[key] = jax.jit(f, compiler_options=options or None, **settings)
        return by_options[key](params, *arguments, **keywords)

    return call

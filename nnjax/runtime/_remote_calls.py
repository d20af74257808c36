"""Calls on the workers of an executor: the call, the environment that it requires, and its outcome."""

import copyreg
import functools
import importlib
import platform
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError
from typing import Any

import jax

from nnjax.runtime.environment import package_versions, precision_settings

# Exceptions that mean that a worker has died. They are compared by name, because their packages are optional.
LOST_NAMES = ("KilledWorker", "CommClosedError", "WorkerCrashedError", "UncompletedJobError")

# The types of jitted functions and of functions with custom derivatives. Python cannot pickle them.
JAX_FUNCTIONS = (type(jax.jit(lambda: 0)), jax.custom_jvp, jax.custom_vjp)


def make_jax_functions_picklable() -> None:
    """Lets executors send jitted functions, such as `jax.nn.sigmoid`, by their names."""
    for kind in JAX_FUNCTIONS:
        copyreg.pickle(kind, _by_name)


def _by_name(function: Any) -> Any:
    module, name = function.__module__, function.__qualname__
    try:
        is_importable = _imported(module, name) is function
    except (ImportError, AttributeError):
        is_importable = False
    return (_imported, (module, name)) if is_importable else function.__reduce_ex__(2)


def _imported(module: str, name: str) -> Any:
    """An object of a module, by its qualified name."""
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def environment_of_results() -> dict[str, str]:
    """What must be equal in this process and on its workers, because it changes the results."""
    python = ".".join(platform.python_version_tuple()[:2])
    return package_versions() | precision_settings() | {"backend": jax.default_backend(), "python": python}


def call(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> tuple[bool, Any]:
    """Calls a function on a worker.

    Args:
      expected: the environment of the process that submitted the call.
      function, *arguments: the call.

    Returns:
      (True, result) or (False, exception), to tell errors of the function from lost workers.
    """
    try:
        here = environment_of_results()
        if different := [name for name in expected if here[name] != expected[name]]:
            wanted, got = (", ".join(f"{name} {d[name]}" for name in different) for d in (expected, here))
            raise ValueError(
                f"workers must have the environment of the process that calls them: {wanted}, got {got}; "
                "install the same versions, and use the same settings of jax"
            )
        return True, function(*arguments)
    except Exception as error:
        return False, _portable(error)


def _portable(error: Exception) -> Exception:
    """An exception that every process can unpickle; one of another package becomes a RuntimeError."""
    is_known = type(error).__module__.partition(".")[0] in ("builtins", "nnjax")
    if is_known and all(isinstance(argument, str) for argument in error.args):
        return error
    return RuntimeError(f"a worker failed:\n{''.join(traceback.format_exception(error))}")


def outcome(future: Any) -> tuple[bool, Any]:
    """The outcome of a `call` that is done.

    Returns:
      (False, the result), or (True, a reason) if it is unknown because a worker was lost.

    Raises:
      ValueError: the executor cannot send the function or its arguments.
      Exception: the exception of the function.
    """
    try:
        succeeded, value = future.result()
    except Exception as error:
        if isinstance(error, BrokenExecutor | CancelledError | OSError) or type(error).__name__ in LOST_NAMES:
            return True, f"{type(error).__name__}: {error}"
        if any(word in f"{type(error).__name__} {error}".lower() for word in ("pickle", "serialize")):
            raise ValueError(
                "functions must be defined in a module that the workers can import, unless the executor "
                f"pickles functions by value, as a Dask Client does: {error}"
            ) from error
        raise
    if not succeeded:
        raise value
    return False, value

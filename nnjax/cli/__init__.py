"""The `nnjax` command: train, evaluate, baselines, predict, draw, data, doctor."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import jax
import platformdirs
import tyro
from rich.console import Console
from tyro.conf import subcommand

import nnjax
from nnjax.cli.console import INTERRUPTED
from nnjax.cli.data import Data
from nnjax.cli.doctor import Doctor
from nnjax.cli.evaluate import Baselines, Evaluate
from nnjax.cli.predict import Draw, Predict
from nnjax.cli.train import Train


def _use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder: a second start compiles nothing."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = platformdirs.user_cache_path("nnjax") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _start_jax() -> None:
    try:
        jax.devices()
    except Exception as error:  # jax has many
        asked = os.environ.get("JAX_PLATFORMS")
        told = f" with JAX_PLATFORMS={asked}" if asked else ""
        why = f" ({error})" if str(error) else ""
        raise ValueError(f"jax does not start{told}{why}: nnjax doctor tells more") from error


Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Baselines, subcommand("baselines")]
    | Annotated[Predict, subcommand("predict")]
    | Annotated[Draw, subcommand("draw")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Doctor, subcommand("doctor")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `nnjax` command and return its exit code: 2 for what the user can mend."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"nnjax {nnjax.__version__}")
        return 0
    command = tyro.cli(Command, args=arguments, prog="nnjax", description=__doc__)
    errors = Console(stderr=True)
    warnings.showwarning = lambda message, *_: errors.print(f"nnjax: {message}", markup=False, soft_wrap=True)
    _use_compilation_cache()
    try:
        if not isinstance(command, Doctor | Data) and not getattr(command, "distributed", False):
            _start_jax()
        return command.run()
    except (ValueError, OSError) as error:
        errors.print(f"nnjax: error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        told = "this machine cannot do that"
        if jax.distributed.is_initialized():
            told = "a process was lost: start all of them again, and with --checkpoint training goes on"
        why = str(error).partition("\n")[0]
        errors.print(f"nnjax: error: {told}: {why}", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt as interrupt:
        errors.print(", ".join(["nnjax: interrupted", *interrupt.args]))
        return INTERRUPTED

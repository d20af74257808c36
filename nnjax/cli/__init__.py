"""Train and compare networks by gradient descent. `nnjax --version` prints the version."""

import gc
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import platformdirs
import tyro
from tyro.conf import subcommand

import nnjax
from nnjax.cli._flags import with_shown_defaults
from nnjax.cli._settings import load_settings
from nnjax.cli.baselines import Baselines
from nnjax.cli.compare import Compare
from nnjax.cli.console import INTERRUPTED, discard_stdout, errors, messages_to_stderr
from nnjax.cli.data import Data
from nnjax.cli.doctor import Doctor
from nnjax.cli.draw import Draw
from nnjax.cli.evaluate import Evaluate
from nnjax.cli.export import Export
from nnjax.cli.predict import Predict
from nnjax.cli.problems import Problems
from nnjax.cli.sweep import Sweep
from nnjax.cli.train import Train
from nnjax.config import configs
from nnjax.runtime.executors import UnitsLost
from nnjax.runtime.extras import MissingExtra

BAD_INPUT = 2

_HELP = {"-h", "--help", "-H", "--help-verbose"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the `nnjax` command and returns its exit code.

    0: done; 1: doctor reports a problem; 2: bad input; 3: no digit in a picture; 4: training diverged;
    130: interrupted by Ctrl-C, or the reader of a pipe has exited; 143: interrupted by SIGTERM.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        # The imported modules are needed until this process exits. Otherwise the garbage collector would
        # search all their objects several times, and again at exit.
        gc.freeze()
    try:
        try:
            return _run(list(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"nnjax {nnjax.__version__}")
        return 0
    warnings.showwarning = lambda message, *_: errors.print(f"nnjax: {message}")
    try:
        command = tyro.cli(_commands(arguments), args=arguments, prog="nnjax", description=__doc__)
        _use_compilation_cache()
        if not isinstance(command, Doctor | Data) and not _is_distributed(command):
            _start_jax()
        with messages_to_stderr(getattr(command, "json", False)):
            return command.run()
    except BrokenPipeError:
        raise
    except (ValueError, OSError, MissingExtra, UnitsLost) as error:
        message = str(error)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        message = f"the computation failed on this machine: {_first_line(error)}"
        if jax.distributed.is_initialized():
            message = (
                f"a process was lost ({_first_line(error)}): start all processes again; training resumes "
                "with --checkpoint-dir"
            )
    except KeyboardInterrupt as interrupt:
        errors.print(", ".join(["nnjax: interrupted", *interrupt.args]))
        return INTERRUPTED
    errors.print(f"nnjax: error: {message}", style="red")
    return BAD_INPUT


def _commands(arguments: list[str]) -> Any:
    """The subcommands; their help shows the values of the configuration that --config names."""
    source = Train.config
    if arguments[:1] in (["train"], ["sweep"]):
        config, wants_help = _config(arguments), bool(_HELP & set(arguments))
        source = config if wants_help or config in configs else source  # a pipe can be read only once
    shown = load_settings(source).shown()
    train, sweep = (with_shown_defaults(command(), shown) for command in (Train, Sweep))
    return (
        Annotated[Train, subcommand("train", default=train)]
        | Annotated[Sweep, subcommand("sweep", default=sweep)]
        | Annotated[Compare, subcommand("compare")]
        | Annotated[Evaluate, subcommand("evaluate")]
        | Annotated[Baselines, subcommand("baselines")]
        | Annotated[Predict, subcommand("predict")]
        | Annotated[Draw, subcommand("draw")]
        | Annotated[Problems, subcommand("problems")]
        | Annotated[Export, subcommand("export")]
        | Annotated[Data, subcommand("data")]
        | Annotated[Doctor, subcommand("doctor")]
    )


def _config(arguments: list[str]) -> str:
    """The value of --config, before the arguments are parsed."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag == "--config" and (equals or following):
            return value if equals else following
    return Train.config


def _is_distributed(command: Any) -> bool:
    return isinstance(command, Train) and command.devices.distributed


def _use_compilation_cache() -> None:
    """Caches compiled programs in the user's cache folder, so that a second start compiles nothing."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = platformdirs.user_cache_path("nnjax") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _start_jax() -> None:
    try:
        jax.devices()
    except Exception as error:  # jax raises many types
        platforms = os.environ.get("JAX_PLATFORMS")
        setting = f" with JAX_PLATFORMS={platforms}" if platforms else ""
        raise ValueError(f"jax cannot start{setting} ({error}): run `nnjax doctor` for details") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

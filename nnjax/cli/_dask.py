"""The workers of a Dask cluster for `nnjax sweep` and `nnjax compare`."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from nnjax.cli._flags import OptionalText
from nnjax.cli.console import errors
from nnjax.runtime.extras import check_extra

DaskFlag = Annotated[OptionalText, arg(metavar="ADDRESS", help_behavior_hint="")]
CONNECT_TIMEOUT_S, WORKER_TIMEOUT_S = 10, 60

UnitTimeout = Annotated[float, arg(metavar="SECONDS")]


@contextlib.contextmanager
def dask_client(address: str | None) -> Iterator[Any]:
    """The client of a Dask scheduler, or None without an address.

    The scheduler and its workers also execute the files of FILE.py:NAME that this process has executed.

    Raises:
      MissingExtra: distributed is not installed.
      ValueError: there is no scheduler at the address, or a file cannot be executed there.
    """
    if address is None:
        yield None
        return
    check_extra("dask", "--dask", "distributed")
    from distributed import Client

    from nnjax.cli._dask_plugins import SchedulerFiles, WorkerFiles

    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S)
    except ValueError as error:
        raise ValueError(
            f"--dask must be the address of a scheduler, such as tcp://HOST:8786, got {address!r}: {error}"
        ) from error
    except OSError as error:
        raise ValueError(
            f"--dask must be the address of a running scheduler, got {address!r}: {error}"
        ) from error
    with client:
        _wait_for_worker(client, address)
        if files := _user_files():
            try:
                client.register_plugin(SchedulerFiles(files))
                client.register_plugin(WorkerFiles(files))
            except Exception as error:  # whatever the code of the files raises there
                names = ", ".join(Path(file).name for file, _ in files.values())
                raise ValueError(f"{names} cannot be executed on the Dask cluster: {error}") from error
        yield client


def _wait_for_worker(client: Any, address: str) -> None:
    """Raises ValueError if the cluster has no worker and gets none within a minute."""
    if not client.nthreads():
        errors.print(f"nnjax: waiting for a Dask worker: start one with `dask worker {address}`")
    try:
        client.wait_for_workers(1, timeout=WORKER_TIMEOUT_S)
    except TimeoutError as error:
        raise ValueError(
            f"the Dask cluster must have a worker, got none within {WORKER_TIMEOUT_S} s: start one with "
            f"`dask worker {address}`"
        ) from error


def _user_files() -> dict[str, tuple[str, str]]:
    """The path and the source of each module of FILE.py:NAME, by the name of the module."""
    from nnjax.compare._user_code import MODULE_PREFIX

    modules = {name: module for name, module in sys.modules.items() if name.startswith(MODULE_PREFIX)}
    return {name: (str(m.__file__), Path(str(m.__file__)).read_text()) for name, m in modules.items()}

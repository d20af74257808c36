"""Plugins of Dask that make modules of a user's files importable on a scheduler and its workers."""

import sys
from importlib.abc import ExecutionLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

from distributed import SchedulerPlugin, WorkerPlugin

Files = dict[str, tuple[str, str]]


class _Source(ExecutionLoader):
    """Loads a module from its source. Tracebacks show its lines, although there is no file."""

    def __init__(self, path: str, source: str):
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_source(self, fullname: str) -> str:
        return self._source


def execute_files(files: Files) -> None:
    """Executes files as modules, unless they exist.

    Args:
      files: path and source by the name of the module.
    """
    for name, file in files.items():
        if name in sys.modules:
            continue
        loader = _Source(*file)
        spec = spec_from_loader(name, loader)
        assert spec is not None
        sys.modules[name] = module_from_spec(spec)
        try:
            loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise


class WorkerFiles(WorkerPlugin):
    """Executes the files as modules when a worker starts."""

    idempotent = True  # a second registration under the same name does nothing

    def __init__(self, files: Files):
        self.files = files
        self.name = ",".join(files)

    def setup(self, worker: Any) -> None:
        """Called by Dask."""
        execute_files(self.files)


class SchedulerFiles(SchedulerPlugin):
    """Executes the files as modules on the scheduler, which unpickles tasks before it sends them."""

    idempotent = True

    def __init__(self, files: Files):
        self.files = files
        self.name = ",".join(files)

    async def start(self, scheduler: Any) -> None:
        """Called by Dask."""
        execute_files(self.files)

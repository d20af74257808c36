"""Runs units of work on an executor, submits lost units again, and returns results as they finish.

An executor is anything with a method `submit(function, *arguments)` that returns a future with the methods
`done()` and `result()`: those of `concurrent.futures`, a Dask `Client`, submitit, `mpi4py.futures`.
"""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Real
from threading import Event, Lock
from typing import Any, NamedTuple, Protocol

from nnjax.runtime._remote_calls import call, environment_of_results, make_jax_functions_picklable, outcome

MAX_ATTEMPTS = 3  # of a unit
POLL_INTERVAL_S = 0.02
COUNT_INTERVAL_S = 1.0  # between two counts of the workers
HEARTBEAT_TIMEOUT_S = 15  # a Dask worker sends a heartbeat every few seconds
RESTART_TIMEOUT_S = 30


class Future(Protocol):
    """The result of a call that an executor runs."""

    def done(self) -> bool:
        """Whether the call has finished or failed."""
        ...

    def result(self) -> Any:
        """What the call returned; raises its exception."""
        ...


class Executor(Protocol):
    """Runs functions in other threads, processes or machines."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Starts a call, and returns its `Future`."""
        ...


class UnitsLost(RuntimeError):
    """Units of work did not finish, because their workers died or did not answer in time."""


class _Running(NamedTuple):
    unit: tuple[int, tuple]  # position and arguments
    attempt: int
    future: Any
    start: float


@dataclass
class Workers:
    """The workers of an executor. Several threads may use them.

    Attributes:
      executor: runs the units.
      timeout_s: the seconds after which a unit counts as lost.

    Raises:
      ValueError: `executor` has no method `submit`.
    """

    executor: Any
    timeout_s: float = 600.0
    _shared: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # by id: the object and its Dask future
    _num_running: int = 0
    _counted: tuple[float, int] = (-COUNT_INTERVAL_S, 1)  # time and number of the last count of workers
    _lock: Any = field(default_factory=Lock)

    def __post_init__(self):
        if not callable(getattr(self.executor, "submit", None)):
            raise ValueError(
                f"executor must have a method submit, such as concurrent.futures.ProcessPoolExecutor() or "
                f"dask.distributed.Client(), got {self.executor!r}"
            )
        make_jax_functions_picklable()

    def map(
        self,
        function: Callable[..., Any],
        units: Iterable[tuple],
        data: Any = None,
        stopped: Event | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Yields the position and the result of each unit, in the order in which they finish.

        Args:
          function: a function of a module, so that workers can import it.
          units: the first arguments of each call.
          data: the last argument of all calls, such as a data set. It is sent to a Dask cluster
            once, and to other executors with each call.
          stopped: if it is set, the units that are not finished are abandoned.

        Raises:
          UnitsLost: a unit was lost three times. Raised after all other units have finished.
          InterruptedError: `stopped` was set.
          ValueError: the executor cannot send an argument, or the environment of a worker differs.
          Exception: an exception of `function`.
        """
        waiting, lost = deque((unit, 1) for unit in enumerate(units)), []
        running: list[_Running] = []
        last_end = time.monotonic()
        try:
            while waiting or running:
                if stopped and stopped.is_set():
                    raise InterruptedError
                while waiting and self._reserve():
                    running.append(self._start(function, data, *waiting.popleft()))
                ended = [r for r in running if r.future.done() or self._is_overdue(r, last_end)]
                for r in ended:
                    running = [other for other in running if other is not r]
                    self._release()
                    last_end = time.monotonic()
                    is_lost, value = outcome(r.future) if r.future.done() else (True, self._give_up(r))
                    if not is_lost:
                        yield r.unit[0], value
                    elif r.attempt < MAX_ATTEMPTS:
                        waiting.append((r.unit, r.attempt + 1))
                    else:
                        lost.append(f"unit {r.unit[0]}: {value}")
                if not ended:
                    time.sleep(POLL_INTERVAL_S)
        finally:
            for r in running:
                self._release()
                _cancel(r.future)
        if lost:
            raise UnitsLost(
                f"units of work must have a result after {MAX_ATTEMPTS} attempts, got none for {len(lost)} "
                f"({'; '.join(lost[:3])}): check the logs of the workers, or increase unit_timeout_s"
            )

    def num_workers(self) -> int:
        """The number of units that the executor runs at the same time; 0 if it is unknown."""
        if not self._is_dask:
            return getattr(self.executor, "_max_workers", 0)
        last, number = self._counted
        if time.monotonic() - last > COUNT_INTERVAL_S:
            with suppress(OSError):  # the connection is interrupted for a moment
                number = max(1, sum(self.executor.nthreads().values()))
            self._counted = time.monotonic(), number
        return number

    def _start(
        self, function: Callable[..., Any], data: Any, unit: tuple[int, tuple], attempt: int
    ) -> _Running:
        settings = {"pure": False} if self._is_dask else {}  # otherwise Dask reuses the result of a lost unit
        try:
            arguments = environment_of_results(), function, *unit[1], self._share(data)
            future = self.executor.submit(call, *arguments, **settings)
        except (BrokenExecutor, RuntimeError) as error:  # a worker of the pool has died
            future = _Failed(error)
        except TypeError as error:  # Dask cannot serialize an argument
            future = _Failed(ValueError(f"cannot pickle an argument: {error}"))
        except BaseException:
            self._release()
            raise
        return _Running(unit, attempt, future, time.monotonic())

    def _share(self, data: Any) -> Any:
        """`data`, or a task of Dask with the result `data`, which Dask repeats if its worker dies."""
        if not self._is_dask:
            return data
        with self._lock:
            if id(data) not in self._shared:  # keeps `data` alive, so that its id is not reused
                with warnings.catch_warnings(action="ignore"):  # about the size of the task
                    self._shared[id(data)] = data, self.executor.submit(_identity, data, pure=False)
            return self._shared[id(data)][1]

    def _is_overdue(self, running: _Running, last_end: float) -> bool:
        # If the number of workers is unknown, a unit may be queued: its time restarts when another one ends.
        start = running.start if self.num_workers() else max(running.start, last_end)
        return time.monotonic() - start > self.timeout_s

    def _give_up(self, running: _Running) -> str:
        """Cancels an overdue unit, and restarts its worker if the executor is a Dask `Client`."""
        if self._is_dask:
            with suppress(Exception):  # the worker may be gone
                self.executor.restart_workers(
                    self._stuck_workers(running), timeout=RESTART_TIMEOUT_S, raise_for_error=False
                )
        _cancel(running.future)
        return f"not finished within {self.timeout_s:g} s"

    def _stuck_workers(self, running: _Running) -> list[str]:
        """The Dask workers that run a unit or have stopped sending heartbeats."""
        last_seen = {
            name: worker["last_seen"]
            for name, worker in self.executor.scheduler_info(n_workers=-1)["workers"].items()
        }
        now, busy = max(last_seen.values()), self.executor.processing()  # by the clock of the scheduler
        return [
            name
            for name, seen in last_seen.items()
            if running.future.key in busy.get(name, ()) or now - seen > HEARTBEAT_TIMEOUT_S
        ]

    @property
    def _is_dask(self) -> bool:
        return hasattr(self.executor, "restart_workers")

    def _reserve(self) -> bool:
        """Whether a worker is free for another unit, which then counts as running."""
        limit = self.num_workers()
        with self._lock:
            is_free = not limit or self._num_running < limit
            self._num_running += is_free
            return is_free

    def _release(self) -> None:
        with self._lock:
            self._num_running -= 1


class _Failed(NamedTuple):
    """A call that could not be submitted."""

    error: BaseException

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        raise self.error


def make_workers(executor: Executor | None, timeout_s: float) -> Workers | None:
    """The workers of an executor; None if there is no executor.

    Raises:
      ValueError: `executor` has no method `submit`, or `timeout_s` is not a positive number.
    """
    if not isinstance(timeout_s, Real) or not timeout_s > 0:
        raise ValueError(f"unit_timeout_s must be a positive number, got {timeout_s!r}")
    return None if executor is None else Workers(executor, timeout_s)


def _identity(data: Any) -> Any:
    return data


def _cancel(future: Any) -> None:
    with suppress(Exception):
        future.cancel()

"""Several processes that train together: how they come together, and agree.

Whatever one of them alone would decide, the others must know, or they wait for it forever: so each
word here is one for all.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

T = TypeVar("T")

# What the environment says of how many processes there are, and which of them this is.
PROCESS_VARIABLES = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
INIT_TIMEOUT_S = 60  # seconds in which processes that train together must have come


def connect(coordinator: str | None, processes: int | None, process_id: int | None, heartbeat: int) -> None:
    """Join the processes that train together, before anything else is computed.

    What is None, the environment says: `$JAX_COORDINATOR_ADDRESS`, `$JAX_NUM_PROCESSES` and
    `$JAX_PROCESS_ID`, or what Slurm, Open MPI or a TPU pod say of themselves.

    Args:
      coordinator: host and port of process 0.
      processes: how many there are.
      process_id: which of them this one is, from 0.
      heartbeat: seconds after which a silent process counts as dead, and the others are ended.

    Raises:
      ValueError: it cannot be known which processes there are, or they do not come together.
    """
    processes, process_id = map(_from_environment, PROCESS_VARIABLES, (processes, process_id))
    address = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address is not None and not re.fullmatch(r".+:\d{1,5}", address):
        raise ValueError(f"the coordinator must be HOST:PORT, such as 10.0.0.1:1234, not {address!r}")
    if heartbeat < 1:
        raise ValueError(f"the heartbeat must be 1 second or more, not {heartbeat}")
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process_id,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=heartbeat,
            initialization_timeout=INIT_TIMEOUT_S,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"the processes cannot come together ({error}): say --coordinator HOST:PORT --processes N "
            "--process-id 0 to N-1, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        ) from error


def _from_environment(name: str, given: int | None) -> int | None:
    told = os.environ.get(name)
    if given is not None or told is None:
        return given
    if not told.isdigit():
        raise ValueError(f"{name} must be a whole number, not {told!r}")
    return int(told)


def allgather_str(text: str) -> list[str]:
    """What each process tells, in their order: the same list in all of them."""
    if jax.process_count() == 1:
        return [text]
    from jax.experimental.multihost_utils import process_allgather

    own = np.frombuffer(text.encode(), np.uint8)
    lengths = process_allgather(np.int32(len(own)))
    filled = np.pad(own, (0, int(lengths.max()) + 1 - len(own)))
    rows = process_allgather(filled)
    return [bytes(row[:length]).decode() for row, length in zip(rows, lengths, strict=True)]


def any_process(flag: bool) -> bool:
    """Whether `flag` is true in any of the processes: one answer for all."""
    return "yes" in allgather_str("yes" if flag else "")


def broadcast_from_primary(array: np.ndarray) -> np.ndarray:
    """Process 0's `array` in all; the others' are of its shape and dtype."""
    if jax.process_count() == 1:
        return array
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return np.asarray(broadcast_one_to_all(array))


def raise_on_all(f: Callable[[], T]) -> T:
    """`f()` in every process; where it fails in one with a word for the user, it fails in all.

    Raises:
      ValueError, OSError: what f raised here, or a ValueError that tells what it raised elsewhere.
    """
    failed = result = None
    try:
        result = f()
    except (ValueError, OSError) as error:
        failed = error
    told = allgather_str(str(failed) if failed else "")
    if failed:
        raise failed
    for process, why in enumerate(told):
        if why:
            raise ValueError(f"process {process} cannot go on: {why}")
    return result  # pyright: ignore[reportReturnType]


def on_primary(f: Callable[[], T]) -> T | None:
    """`f()` in process 0 alone, None in the others; all fail where it fails."""
    return raise_on_all(lambda: f() if jax.process_index() == 0 else None)


def primary_first(f: Callable[[], T]) -> T:
    """`f()` in process 0, and when it is done in the others: for what leaves files that they find."""
    first = on_primary(f)
    others = raise_on_all(lambda: f() if jax.process_index() > 0 else None)
    return first if jax.process_index() == 0 else others  # pyright: ignore[reportReturnType]


def check_consistent(settings: Mapping[str, Any]) -> None:
    """Hold the settings of all processes against each other, before they train together.

    Raises:
      ValueError: in all of them, where one has others than process 0; it names them.
    """
    told = allgather_str(json.dumps({name: str(value) for name, value in settings.items()}))
    first, *others = map(json.loads, told)
    for process, other in enumerate(others, 1):
        differ = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if differ:
            words = (
                f"{name} is {first.get(name, 'unsaid')} in process 0 and {other.get(name, 'unsaid')} in "
                f"process {process}" for name in differ
            )  # fmt: skip
            raise ValueError(f"the processes were started with other settings: {'; '.join(words)}")

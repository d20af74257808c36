"""Several processes that train together: how they connect and reach the same decisions.

If one process decided alone, the others would wait forever in their next collective operation. So every
process must call these functions, in the same order.
"""

import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from nnjax.runtime.fingerprint import describe_differences, differing, machine

T = TypeVar("T")

PROCESS_VARIABLES = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
INIT_TIMEOUT_S = 60  # for all processes to connect


def connect(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    heartbeat_timeout_s: int,
) -> None:
    """Connects this process with the other processes; call it before any other computation.

    Arguments that are None come from `$JAX_COORDINATOR_ADDRESS`, `$JAX_NUM_PROCESSES` and
    `$JAX_PROCESS_ID`, or from Slurm, Open MPI or a TPU pod.

    Args:
      coordinator_address: host and port of process 0.
      num_processes: the number of processes.
      process_id: the number of this process, from 0.
      heartbeat_timeout_s: a process that sends nothing for longer counts as lost, and the others end.

    Raises:
      ValueError: an argument is wrong or missing, or the connection takes longer than `INIT_TIMEOUT_S`.
    """
    num_processes, process_id = map(_from_environment, PROCESS_VARIABLES, (num_processes, process_id))
    address = coordinator_address or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address is not None and not re.fullmatch(r".+:\d{1,5}", address):
        raise ValueError(f"coordinator_address must be HOST:PORT, such as 10.0.0.1:1234, got {address!r}")
    if heartbeat_timeout_s < 1:
        raise ValueError(f"heartbeat must be at least 1 second, got {heartbeat_timeout_s}")
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=heartbeat_timeout_s,
            shutdown_timeout_seconds=heartbeat_timeout_s,
            initialization_timeout=INIT_TIMEOUT_S,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"the processes cannot connect ({error}): pass --coordinator-address HOST:PORT --num-processes N "
            "--process-id 0 to N-1, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        ) from error


def _from_environment(name: str, value: int | None) -> int | None:
    text = os.environ.get(name)
    if value is not None or text is None:
        return value
    if not text.isdigit():
        raise ValueError(f"{name} must be a non-negative integer, got {text!r}")
    return int(text)


def allgather_str(text: str) -> list[str]:
    """The texts of all processes, ordered by process; the same list in each of them."""
    if jax.process_count() == 1:
        return [text]
    from jax.experimental.multihost_utils import process_allgather

    content = np.frombuffer(text.encode(), np.uint8)
    lengths = process_allgather(np.int32(len(content)))
    padded = np.pad(content, (0, int(lengths.max()) + 1 - len(content)))
    rows = process_allgather(padded)
    return [bytes(row[:length]).decode() for row, length in zip(rows, lengths, strict=True)]


def any_process(flag: bool) -> bool:
    """Whether `flag` is true in any process; the same answer in all of them."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental.multihost_utils import process_allgather

    return bool(process_allgather(np.bool_(flag)).any())


def broadcast_from_primary(array: np.ndarray) -> np.ndarray:
    """The array of process 0, in all processes; all of them must pass the same shape and dtype."""
    if jax.process_count() == 1:
        return array
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return np.asarray(broadcast_one_to_all(array))


def raise_on_all(f: Callable[[], T]) -> T:
    """Calls `f` in every process and returns its result; if it fails in one, it fails in all.

    Raises:
      ValueError, OSError: what `f` raised in this process, or a ValueError with the message of another.
    """
    failure = result = None
    try:
        result = f()
    except (ValueError, OSError) as error:
        failure = error
    messages = allgather_str((str(failure) or repr(failure)) if failure else "")
    if failure:
        raise failure
    for process, message in enumerate(messages):
        if message:
            raise ValueError(f"process {process} failed: {message}")
    return result  # pyright: ignore[reportReturnType]


def on_primary(f: Callable[[], T]) -> T | None:
    """Calls `f` in process 0 and returns its result there, None in the others; if it fails, all fail."""
    return raise_on_all(lambda: f() if jax.process_index() == 0 else None)


def primary_first(f: Callable[[], T]) -> T:
    """Calls `f` in process 0, then in the others, which can use the files that process 0 has written."""
    first = on_primary(f)
    others = raise_on_all(lambda: f() if jax.process_index() > 0 else None)
    return first if jax.process_index() == 0 else others  # pyright: ignore[reportReturnType]


def check_consistent(settings: Mapping[str, Any]) -> None:
    """Compares the settings of all processes before they train together.

    On different machines, computed floats must be equal up to rounding; see `runtime.fingerprint`.

    Raises:
      ValueError: in all processes, if one has other settings than process 0; it lists the differences.
    """
    if jax.process_count() == 1:
        return
    text = {name: str(value) for name, value in settings.items()}
    first, *others = map(json.loads, allgather_str(json.dumps({"settings": text, "machine": machine()})))
    for process, other in enumerate(others, 1):
        template = f"{{name}} is {{before}} in process 0 and {{now}} in process {process}"
        machines, fingerprints = ((first[part], other[part]) for part in ("machine", "settings"))
        machine_names = differing(*machines)
        if names := differing(*fingerprints, same_machine=not machine_names):
            differences = describe_differences(names, *fingerprints, template)
            raise ValueError(f"all processes must be started with the same settings, got {differences}")
        if names := differing(*fingerprints):
            machine_differences = describe_differences(machine_names, *machines, template)
            warnings.warn(
                f"the processes run on different machines ({machine_differences}), and these settings are "
                f"equal only to rounding, or cannot be compared: {', '.join(names)}",
                stacklevel=3,
            )

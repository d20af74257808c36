"""The cost and the benefit of several devices, measured with virtual devices on one processor.

    python -m benchmarks.devices                    # about 10 minutes on 2 idle cores

Measures a sweep of 32 networks in one thread, in all threads, and on two devices with one thread each; `fit`
with large mini-batches on 1 to 8 devices; and the parts of the model in docs/scaling.md: one thread,
shuffling, an all-reduce. Every case runs in a new process, in alternating rounds.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import nnjax
from benchmarks.harness import Flags, Record, main_of_cases, provenance, run_python
from benchmarks.peers import LEARNING_RATE, SIZES

NETWORKS, SWEEP_EPOCHS = 32, 3
BATCH_SIZE, FIT_EPOCHS = 1000, 11
ALL_REDUCES = 200  # in one program
REPETITIONS = 5


@dataclass(frozen=True)
class Case:
    """The measurement of one process: the task, its devices, and its threads (0: as many as cores)."""

    task: str
    devices: int
    threads: int = 0


CASES = (
    *(Case("sweep", 1, 1), Case("sweep", 1), Case("sweep", 2, 1)),
    *(Case("fit", 1, 1), Case("fit", 1), Case("fit", 2), Case("fit", 4), Case("fit", 8)),
    Case("shuffle", 1, 1),
    *(Case("all-reduce", 2), Case("all-reduce", 4), Case("all-reduce", 8)),
)


def measure(task: str, dataset: str) -> float:
    """The seconds of a task in this process: an epoch (of a sweep, per network), or one of its parts."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    if task == "all-reduce":
        return _all_reduce(mesh)
    data = nnjax.load(dataset)
    if task == "shuffle":
        return _shuffle(data.train.inputs)
    data = nnjax.Dataset.from_arrays(data.train)  # without evaluation
    return _sweep(data, mesh if mesh.size > 1 else None) if task == "sweep" else _fit(data, mesh)


def _sweep(data: nnjax.Dataset, mesh: Mesh | None) -> float:
    grid = nnjax.sweep(
        jax.random.key(0),
        data,
        hidden=30,
        seeds=NETWORKS,
        epochs=SWEEP_EPOCHS,
        max_networks_per_program=NETWORKS,
        learning_rate=LEARNING_RATE,
        mesh=mesh,
    )
    return float(np.median(grid.seconds.isel(epoch=slice(1, None))))


def _fit(data: nnjax.Dataset, mesh: Mesh) -> float:
    run = nnjax.fit(
        jax.random.key(1),
        nnjax.init(jax.random.key(0), SIZES),
        data,
        epochs=FIT_EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        mesh=mesh,
    )
    return float(np.median(run.history.seconds[1:]))


def _shuffle(images: Any) -> float:
    """The seconds to shuffle the images, which every device does."""
    shuffle = jax.jit(lambda key, images: images[jax.random.permutation(key, len(images))])
    return _median_seconds(lambda: shuffle(jax.random.key(0), images))


def _all_reduce(mesh: Mesh) -> float:
    """The seconds to sum as many numbers as a network has over all devices, repeated in one program."""
    count = sum(x.size for x in jax.tree.leaves(nnjax.init(jax.random.key(0), SIZES)))

    @partial(jax.jit, out_shardings=NamedSharding(mesh, PartitionSpec()))
    def sums(parts):
        def step(total, _):
            return jnp.sum(parts + total[None], axis=0) / len(parts), None

        return jax.lax.scan(step, jnp.zeros(count), None, ALL_REDUCES)[0]

    parts = jax.device_put(
        np.ones((mesh.size, count), np.float32), NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    )
    return _median_seconds(lambda: sums(parts)) / ALL_REDUCES


def _median_seconds(call: Callable[[], jax.Array]) -> float:
    """The median seconds of a call, after one that compiles."""
    seconds = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        call().block_until_ready()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def run(flags: Flags) -> Record:
    """Measures all cases in alternating rounds."""
    seconds: dict[Case, list[float]] = {case: [] for case in CASES}
    for _ in range(flags.rounds):
        for case in CASES:
            seconds[case].append(_measure_in_process(case, flags.dataset))
    return {
        "rounds": flags.rounds,
        "dataset": flags.dataset,
        "networks": NETWORKS,
        "batch_size": BATCH_SIZE,
        "steps": len(nnjax.load(flags.dataset).train.targets) // BATCH_SIZE,
        **provenance(),
        "cases": [
            asdict(case) | {"median": statistics.median(times), "seconds": times}
            for case, times in seconds.items()
        ],
    }


def _measure_in_process(case: Case, dataset: str) -> float:
    code = (
        f"import jax; jax.config.update('jax_num_cpu_devices', {case.devices})\n"
        f"from benchmarks import devices; print(devices.measure({case.task!r}, {dataset!r}))"
    )
    return float(run_python(code, **({"NPROC": str(case.threads)} if case.threads else {})))


if __name__ == "__main__":
    main_of_cases(run, "devices", __doc__)

"""What several devices cost and bring: virtual ones, made of the cores of one processor.

    python -m benchmarks.devices                    # about 10 minutes on 2 quiet cores

A sweep of 32 networks on one device with all threads, on two devices, and on two with a thread
each; `fit` with large mini-batches on 1 to 8 devices, and what the model of docs/scaling.md makes its
time of: one thread's, the shuffling, an all-reduce. Each in a process of its own, in turn.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import nnjax
from benchmarks import turns
from nnjax.runtime.sharding import batch_sharded, device_put_global, replicated, with_auto_axes

NETWORKS, BATCH, STEPS = 32, 1000, 200
SIZES = (784, 30, 10)


@dataclass(frozen=True)
class Case:
    """What one process measures, on how many devices, and with how many threads (0: as many as cores)."""

    what: str
    devices: int
    threads: int = 0


CASES = (
    *(Case("sweep", 1), Case("sweep", 2), Case("sweep", 2, 1)),
    *(Case("fit", 1, 1), Case("fit", 1), Case("fit", 2), Case("fit", 4), Case("fit", 8)),
    Case("shuffle", 1, 1),
    *(Case("all-reduce", 2), Case("all-reduce", 4), Case("all-reduce", 8)),
)


def measure(what: str, dataset: str) -> float:
    """Seconds of an epoch, of a sweep's for each network, or of a part of it."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    if what == "all-reduce":
        return _all_reduce(mesh)
    images, labels = nnjax.load(dataset).train
    if what == "shuffle":
        return _shuffle(images)
    data, settings = nnjax.Dataset.from_arrays((images, labels)), {"learning_rate": 3.0, "mesh": mesh}
    if what == "sweep":
        grid = nnjax.sweep(
            jax.random.key(0),
            data,
            hidden=30,
            seeds=NETWORKS,
            epochs=3,
            max_networks_per_program=NETWORKS,
            **settings,
        )
        return float(np.median(grid.seconds.isel(epoch=slice(1, None))))
    params = nnjax.init(jax.random.key(0), SIZES)
    run = nnjax.fit(jax.random.key(1), params, data, epochs=11, batch_size=BATCH, **settings)
    return float(np.median(run.history.seconds[1:]))


def _shuffle(images: Any) -> float:
    """Of the images, which each device does for itself."""
    shuffled = jax.jit(lambda key, images: images[jax.random.permutation(key, len(images))])
    return _seconds(lambda: shuffled(jax.random.key(0), images))


def _all_reduce(mesh: Any) -> float:
    """Of numbers as many as a network has, on every device, again and again in one program."""
    mesh = with_auto_axes(mesh)
    count = sum(x.size for x in jax.tree.leaves(nnjax.init(jax.random.key(0), SIZES)))

    @partial(jax.jit, out_shardings=replicated(mesh))
    def summed(parts):
        def again(total, _):
            return jnp.sum(parts + total, axis=0) / len(parts), None

        return jax.lax.scan(again, jnp.zeros(count), None, STEPS)[0]

    parts = device_put_global(np.ones((mesh.size, count), np.float32), batch_sharded(mesh))
    return _seconds(lambda: summed(parts)) / STEPS


def _seconds(call: Any) -> float:
    """Of a call, the median of five after one that compiles."""
    taken = []
    for _ in range(6):
        began = time.perf_counter()
        call().block_until_ready()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def run(flags: turns.Flags) -> dict[str, Any]:
    """Measure all cases in turn, `rounds` times."""
    seconds: dict[Case, list[float]] = {case: [] for case in CASES}
    for _ in range(flags.rounds):
        for case in CASES:
            seconds[case].append(_elsewhere(case, flags.dataset))
    return {
        "rounds": flags.rounds,
        "dataset": flags.dataset,
        "networks": NETWORKS,
        "batch_size": BATCH,
        "steps": 50_000 // BATCH,
        **turns.circumstances(),
        "cases": [
            vars(case) | {"median": statistics.median(taken), "seconds": taken}
            for case, taken in seconds.items()
        ],
    }


def _elsewhere(case: Case, dataset: str) -> float:
    code = (
        f"import jax; jax.config.update('jax_num_cpu_devices', {case.devices})\n"
        f"from benchmarks import devices; print(devices.measure({case.what!r}, {dataset!r}))"
    )
    environ = os.environ | ({"NPROC": str(case.threads)} if case.threads else {})
    arguments = [sys.executable, "-c", code]
    out = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=True)
    return float(out.stdout.splitlines()[-1])


def main() -> None:
    """Run, print, write the record."""
    flags = tyro.cli(turns.Flags, description=__doc__)
    record = run(flags)
    for case in record["cases"]:
        print(json.dumps(case))
    turns.write(record, "devices", flags.output)


if __name__ == "__main__":
    main()

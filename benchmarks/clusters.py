"""Compares two Dask workers, one core each, with one process on the same two cores.

    python -m benchmarks.clusters                   # about 5 minutes on 2 idle cores

All cases train the same sweep on MNIST, in the same units of work, in alternating rounds. The first round,
in which every process compiles, is not recorded. Needs Linux, and the extra `dask`.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
from distributed import Client, LocalCluster

import nnjax
from benchmarks.harness import PAUSE_SECONDS, RESULTS, Flags, Record, main_of_cases, provenance
from benchmarks.peers import LEARNING_RATE

NETWORKS, NETWORKS_PER_UNIT, EPOCHS = 64, 16, 4
SMALL_UNITS = 200  # of one epoch of one network on the digits
WORKERS = 2
# The command `dask worker`, on one core.
WORKER = """
import os, sys
from distributed.cli.dask_worker import main
os.sched_setaffinity(0, {int(sys.argv.pop(1))})
main()
"""


@contextlib.contextmanager
def cluster() -> Iterator[Client]:
    """A scheduler in this process, and workers that may use one core each."""
    scheduler: Any = LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0")
    with scheduler:
        arguments = [scheduler.scheduler_address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard"]
        environ = os.environ | {"PYTHONPATH": str(RESULTS.parents[1])}
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(core), *arguments], env=environ, stderr=subprocess.DEVNULL
            )
            for core in os.sched_getaffinity(0)
        ]
        try:
            with Client(scheduler) as client:
                client.wait_for_workers(WORKERS, timeout=60)
                yield client
        finally:
            for worker in workers:
                worker.terminate()
                worker.wait()


def train(data: nnjax.Dataset, networks: int, per_unit: int, epochs: int, **keywords: Any) -> float:
    """The seconds of a sweep, from the call to the result."""
    start = time.perf_counter()
    nnjax.sweep(
        jax.random.key(0),
        data,
        hidden=30,
        seeds=networks,
        epochs=epochs,
        learning_rate=LEARNING_RATE,
        max_networks_per_program=per_unit,
        **keywords,
    )
    return time.perf_counter() - start


def run(flags: Flags) -> Record:
    """Measures all cases in alternating rounds."""
    cores = sorted(os.sched_getaffinity(0))[:WORKERS]
    if len(cores) < WORKERS:
        raise ValueError(f"the benchmark of clusters must have at least {WORKERS} cores, got {len(cores)}")
    os.sched_setaffinity(0, cores)
    sweep = partial(train, nnjax.load(flags.dataset), NETWORKS, NETWORKS_PER_UNIT, EPOCHS)
    small_sweep = partial(train, nnjax.load("digits"), SMALL_UNITS, 1, 1, threads=1)
    with cluster() as client:
        cases: dict[str, Callable[[], float]] = {
            "one process, one thread": partial(sweep, threads=1),
            "one process, one thread for each core": partial(sweep, threads=WORKERS),
            "two Dask workers, one core each": partial(sweep, threads=1, executor=client),
            "small units": partial(small_sweep, executor=client),
        }
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        for warm in range(flags.rounds + 1):
            for name, measure in cases.items():
                time.sleep(PAUSE_SECONDS)
                measured = measure()
                if warm:
                    seconds[name].append(measured)
    small = statistics.median(seconds.pop("small units")) / SMALL_UNITS
    return {
        "rounds": flags.rounds,
        "dataset": flags.dataset,
        "seconds_of_a_small_unit": small,
        "networks": NETWORKS,
        "networks_per_unit": NETWORKS_PER_UNIT,
        "epochs": EPOCHS,
        **provenance(),
        "cases": [
            {"name": name, "median": statistics.median(times), "seconds": times}
            for name, times in seconds.items()
        ],
    }


if __name__ == "__main__":
    main_of_cases(run, "clusters", __doc__)

"""Seconds of `nnjax compare` for one new optimizer, and of the same training runs in other programs.

    python -m benchmarks.compare                    # about 15 minutes on 2 idle cores
    python -m benchmarks.compare --rounds 1 --output /tmp/compare.json

Each round runs the command twice: with an empty compilation cache, and with the cache that the first run has
filled. The command tunes a bare `optax.adamw` with the quick budget on the problems of the quick suite,
compares it with the shipped results of AdamW, and writes the report. Finished units are not reused.

In the same round, PyTorch and optax train the same number of runs: the same models on the same data, with the
same batch size, steps and schedule, by AdamW. The conditions favor PyTorch and optax:

- Only their training is timed. Imports, compilation, evaluation, tuning and the report are not counted.
- All networks have the same learning rate, so a fused AdamW can update many of them.
- PyTorch uses one thread or all threads, whichever is faster.

PyTorch and optax train only a few networks of each problem. Their time for one network is multiplied by the
number of runs. They drop a smaller last mini-batch of an epoch. The command uses it, which makes a difference
only for `bigram`. PyTorch is left out if it is not installed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import optax
import tyro
from tyro.conf import arg

from benchmarks.compare_peers import (
    Train,
    Training,
    faster_threads,
    make_training,
    optax_scan,
    torch_func,
    torch_loop,
)
from benchmarks.harness import Record, provenance, write_result
from nnjax.compare.plan import Plan, make_plan, to_train
from nnjax.compare.problems import SUITES
from nnjax.compare.protocol import UNIT_RUNS
from nnjax.runtime import cores

BUDGET, BASELINE = "quick", "adamw"
OPTIMIZER = "import optax\n\ncandidate = optax.adamw\n"

# The rows of the record before those of the peers.
EMPTY, WARM, TRAINING = (
    "`nnjax compare`, empty compilation cache",
    "`nnjax compare`, warm compilation cache",
    "`nnjax compare`, its training only",
)


class Peer(NamedTuple):
    """A program that trains, the number of networks that it trains when it is timed, and its package."""

    make: Callable[[Training], Train]
    networks: int
    package: str


PEERS = {
    "PyTorch, one network after another": Peer(torch_loop, 2, "torch"),
    f"PyTorch `torch.func`, {UNIT_RUNS} networks at a time": Peer(torch_func, UNIT_RUNS, "torch"),
    "optax, jitted `lax.scan`, one network after another": Peer(optax_scan, 2, "optax"),
}


@dataclass(frozen=True)
class Flags:
    """The flags of this benchmark."""

    problems: tuple[str, ...] = SUITES["quick"]
    """Names of problems of the quick suite."""
    rounds: int = 3
    """Number of measured rounds."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """JSON file for the record (default: benchmarks/results/compare.json)."""


class TimedPeer:
    """A peer on one problem, after its warm-up. A call returns the seconds for one network."""

    def __init__(self, peer: Peer, training: Training):
        self.networks = peer.networks
        self.threads = faster_threads(peer.make, training, peer.networks) if peer.package == "torch" else None
        self.train = peer.make(training)
        self.train(1)

    def __call__(self) -> float:
        if self.threads:
            import torch  # pyright: ignore[reportMissingImports]

            torch.set_num_threads(self.threads)
        start = time.perf_counter()
        self.train(self.networks)
        return (time.perf_counter() - start) / self.networks


def time_command(folder: Path, problems: tuple[str, ...]) -> tuple[float, float]:
    """The seconds of the whole command, and of its training only.

    The command trains as many problems at a time as there are cores. The seconds of its training are the sum
    over the units of work, divided by this number. They would be more if the cores had unequal work.

    Args:
      folder: a folder for the file of the optimizer, the report, the finished units of work and the
        compilation cache. The next call with the same folder uses the compilation cache.
      problems: names of problems.

    Raises:
      RuntimeError: the command failed.
    """
    file, store = folder / "optimizer.py", Path(tempfile.mkdtemp(dir=folder))
    file.write_text(OPTIMIZER)
    options = ["--against", BASELINE, "--budget", BUDGET, "--out", folder / "report", "--store", store]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nnjax", "compare", f"{file}:candidate", "--problems", *problems, *options],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "programs")},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"nnjax compare failed: {done.stderr}")
    units = [json.loads(path.read_text()) for path in store.glob("*.json")]
    at_a_time = min(cores(), len(problems))
    return seconds, sum(unit["seconds"]["training"] for unit in units) / at_a_time


def check_plan(problems: tuple[str, ...]) -> Plan:
    """The plan of the command.

    Raises:
      RuntimeError: results of the baseline are not shipped, so the command would train it too.
    """
    plan = make_plan({"candidate": optax.adamw}, (BASELINE,), problems, BUDGET, (1e-4, 1.0))
    if missing := [task.problem.name for task in to_train(plan) if task.optimizer == BASELINE]:
        raise RuntimeError(
            f"the results of {BASELINE} must be shipped, got none for {', '.join(missing)}: run "
            "`python -m nnjax.compare.baselines quick --store DIR`"
        )
    return plan


def run(flags: Flags) -> Record:
    """Times the command and the peers in alternating rounds."""
    plan = check_plan(flags.problems)
    problems = {task.problem.name: task.problem for task in plan.tasks}
    available = {name: peer for name, peer in PEERS.items() if find_spec(peer.package)}
    trainings = {name: make_training(problem, UNIT_RUNS) for name, problem in problems.items()}
    timed = {
        name: {problem: TimedPeer(peer, training) for problem, training in trainings.items()}
        for name, peer in available.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in (EMPTY, WARM, TRAINING, *available)}
    by_problem: dict[str, Record] = {name: {problem: [] for problem in problems} for name in available}
    for _ in range(flags.rounds):
        with tempfile.TemporaryDirectory() as folder:
            seconds[EMPTY].append(time_command(Path(folder), flags.problems)[0])
            whole, training = time_command(Path(folder), flags.problems)
        seconds[WARM].append(whole)
        seconds[TRAINING].append(training)
        for name, peers in timed.items():
            times = {problem: plan.budget.runs * peer() for problem, peer in peers.items()}
            seconds[name].append(sum(times.values()))
            for problem, value in times.items():
                by_problem[name][problem].append(value)
    details = {
        name: {
            "networks": peer.networks,
            "threads": {problem: one.threads for problem, one in timed[name].items()},
            "seconds_by_problem": by_problem[name],
        }
        for name, peer in available.items()
    }
    return {
        "rounds": flags.rounds,
        "budget": BUDGET,
        "runs": plan.budget.runs,
        "problems": {
            name: {"steps": problem.steps, "batch_size": problem.batch_size}
            for name, problem in problems.items()
        },
        **provenance(),
        "libraries": {"torch": version("torch")} if find_spec("torch") else {},
        "rows": [row | details.get(row["name"], {}) for row in make_rows(seconds)],
    }


def make_rows(seconds: dict[str, list[float]]) -> list[Record]:
    """For each program, its seconds and its speed relative to the command.

    `ratio` is the time of the command with an empty cache divided by the time of this program.
    `training_ratio` is the time of the command's training divided by the time of this program. Both are
    medians over the rounds.
    """

    def ratio(first, times):
        return statistics.median(a / b for a, b in zip(seconds[first], times, strict=True))

    return [
        {
            "name": name,
            "median": statistics.median(times),
            "seconds": times,
            "ratio": ratio(EMPTY, times),
            "training_ratio": ratio(TRAINING, times),
        }
        for name, times in seconds.items()
    ]


def main() -> None:
    """Runs the benchmark, prints its results and writes the record."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    for row in record["rows"]:
        print(f"{row['name']:52} {row['median']:8.1f} s  {row['ratio']:7.2f} {row['training_ratio']:7.2f}")
    write_result(record, "compare", flags.output)


if __name__ == "__main__":
    main()

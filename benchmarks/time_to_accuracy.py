"""Seconds of training until a network reaches 95 to 99.5 % validation accuracy: a record to beat.

    python -m benchmarks.time_to_accuracy           # about two hours on 2 idle cores
    python -m benchmarks.time_to_accuracy --kinds convolutional --resume
    python -m benchmarks.time_to_accuracy --tries 5 --seeds 2 --output /tmp/time.json

The rules:

- `nnjax.fit` trains one network from random parameters, on the first N of MNIST's 50,000 training images.
- Validation accuracy is evaluated after each epoch. Training ends when it has reached the target.
- The result is the wall time of the epochs until then: shuffling, gradients and updates. It excludes starting
  Python, loading data, compiling (reported separately) and evaluating.
- The search selects on validation accuracy and has its own seeds. The selected configuration is then trained
  with 10 other seeds, and all of them count. The test split selects nothing.

Dense networks are searched for 95, 97 and 98 %, convolutional ones for 99 and 99.5 %. The record contains one
part for each kind; a run replaces only the parts of its kinds.
"""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple, get_args

import jax
import numpy as np
import tyro
from tyro.conf import arg

import nnjax
from benchmarks import harness
from benchmarks.candidates import SPACES, Candidate, Space, mutate
from benchmarks.harness import Record

Kind = Literal["dense", "convolutional"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_SECONDS = max(space.max_seconds for space in SPACES.values())
NUM_BEST = 3  # candidates to mutate
FINAL_SEED = 100  # the first seed of the final trainings; the search uses 0 to 9
SEARCH_SEEDS = 10


@dataclass(frozen=True)
class Flags(harness.OutputFlags):
    """The flags of this benchmark."""

    kinds: tuple[Kind, ...] = KINDS
    """The kinds of networks to search."""
    tries: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Number of candidates of each kind, half of them random and half near the fastest, each trained with one
    seed; by default 240 dense and 30 convolutional ones."""
    seeds: int = 10
    """Number of seeds of the final trainings."""
    resume: bool = False
    """Continue with the candidates in the record instead of a new search."""


class Trial(NamedTuple):
    """A candidate and the record of its training."""

    candidate: Candidate
    run: Record


def train(candidate: Candidate, data: nnjax.Dataset, seed: int, target: float, max_seconds: float) -> Record:
    """Trains until validation accuracy reaches the target, the time is over, or all epochs are done."""
    train_split = tuple(part[: candidate.examples] for part in data.train)
    subset = nnjax.Dataset.from_arrays(train_split, data.validation, data.test)
    init_key, fit_key = jax.random.split(jax.random.key(seed))
    params = candidate.config.init_fn(subset)(init_key)
    start, ends = time.perf_counter(), []

    def is_finished(run: nnjax.Run) -> bool:
        ends.append(time.perf_counter())
        history = run.history
        return bool(history.validation_accuracy[-1] >= target or history.seconds.sum() > max_seconds)

    arguments: dict[str, Any] = candidate.config.fit_kwargs(subset) | {"schedule": candidate.schedule}
    history = nnjax.fit(fit_key, params, subset, **arguments, callback=is_finished, stop_on_nan=True).history
    return {
        "seed": seed,
        "seconds": history.seconds.cumsum().tolist(),
        "validation_accuracy": history.validation_accuracy.tolist(),
        "test_correct": history.test_correct[-1].item(),  # pyright: ignore[reportOptionalSubscript]
        "compile_seconds": float(ends[0] - start - history.seconds[0]),  # with one evaluation
    }


def time_to_target(target: float, run: Record) -> float:
    """The seconds after which a run reached a validation accuracy; infinity if it did not."""
    epochs = zip(run["seconds"], run["validation_accuracy"], strict=True)
    return next((seconds for seconds, accuracy in epochs if accuracy >= target), np.inf)


def fastest(target: float, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that reached a target, the fastest first."""
    reached = [trial for trial in trials if time_to_target(target, trial.run) < np.inf]
    return sorted(reached, key=lambda trial: time_to_target(target, trial.run))


def most_accurate(trials: Sequence[Trial]) -> list[Trial]:
    """The trials in the order of their highest validation accuracy."""
    return sorted(trials, key=lambda trial: -max(trial.run["validation_accuracy"]))


def search(space: Space, data: nnjax.Dataset, trials: Sequence[Trial] = ()) -> list[Trial]:
    """Trains candidates with one seed each, for at most 1.5 times as long as the fastest so far.

    The second half is near the fastest candidates, or near the most accurate ones as long as none has reached
    the target. The search continues after `trials`.
    """
    trials, last = list(trials), space.targets[-1]
    for i in range(len(trials), space.tries):
        rng = np.random.default_rng((0, i))
        candidate = space.draw(rng)
        if i >= space.tries / 2:
            best = fastest(space.targets[i % len(space.targets)], trials) or most_accurate(trials)
            candidate = mutate(best[rng.integers(min(NUM_BEST, len(best)))].candidate, candidate, rng)
        limit = 1.5 * min((time_to_target(last, trial.run) for trial in trials), default=np.inf)
        run = train(candidate, data, 0, last, min(space.max_seconds, limit))
        trials.append(Trial(candidate, run))
        times = ", ".join(f"{time_to_target(target, run):.2f}" for target in space.targets)
        print(f"{i + 1:4} of {space.tries}: {times} s  {candidate.settings()}", flush=True)
    return trials


def choose(target: float, trials: Sequence[Trial], finalists: int, data: nnjax.Dataset) -> Candidate:
    """The candidate with the smallest mean over ten seeds, of those that reached a target fastest.

    Raises:
      RuntimeError: no candidate reached the target with every seed.
    """
    best, best_mean = None, np.inf
    for candidate, run in fastest(target, trials)[:finalists]:
        times = [time_to_target(target, run)]
        for seed in range(1, SEARCH_SEEDS):
            times.append(time_to_target(target, train(candidate, data, seed, target, 3 * times[0])))
            if times[-1] == np.inf:  # it did not reach the target, so the mean is infinite
                break
        mean = statistics.mean(times)
        print(
            f"{100 * target:g} %: mean of {len(times)} seeds {mean:.2f} s  {candidate.settings()}",
            flush=True,
        )
        if mean < best_mean:
            best, best_mean = candidate, mean
    if best is None:
        raise RuntimeError(
            f"at least one candidate must reach {100 * target:g} % with every seed, got none of "
            f"{len(trials)}: increase --tries"
        )
    return best


def final_runs(
    target: float, candidate: Candidate, data: nnjax.Dataset, seeds: int, max_seconds: float = MAX_SECONDS
) -> list[Record]:
    """The trainings of a candidate with seeds that the search did not use."""
    runs = []
    for seed in range(FINAL_SEED, FINAL_SEED + seeds):
        jax.clear_caches()  # so that every training reports its compilation
        runs.append(train(candidate, data, seed, target, max_seconds))
    return runs


def run(space: Space, data: nnjax.Dataset, seeds: int, searched: Sequence[Record] = ()) -> Record:
    """Searches, chooses a candidate for each target, and trains it with seeds that the search did not use.

    The search continues after the candidates `searched` of a record.
    """
    before = [Trial(Candidate.from_settings(each["settings"]), each["run"]) for each in searched]
    trials, results, missed = search(space, data, before), [], []
    for target in space.targets:
        try:
            candidate = choose(target, trials, space.finalists, data)
        except RuntimeError as error:  # the other targets still count
            print(error)
            missed.append({"target": target, "reason": str(error)})
            continue
        runs = final_runs(target, candidate, data, seeds, space.max_seconds)
        results.append({"target": target, "settings": candidate.settings(), "runs": runs})
        print(target, candidate.settings(), [round(time_to_target(target, run), 2) for run in runs])
    return {
        "dataset": data.name,
        "num_test": len(data.test.targets),
        **harness.provenance(),
        "results": results,
        "missed": missed,
        "searched": [{"settings": trial.candidate.settings(), "run": trial.run} for trial in trials],
    }


def main() -> None:
    """Runs the benchmark, and writes the record after each kind of networks."""
    flags = tyro.cli(Flags, description=__doc__)
    data, path = nnjax.load(flags.dataset), flags.output or harness.RESULTS / "time_to_accuracy.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    for kind in flags.kinds:
        space = SPACES[kind] if flags.tries is None else replace(SPACES[kind], tries=flags.tries)
        searched = record.get(kind, {}).get("searched", ()) if flags.resume else ()
        record[kind] = run(space, data, flags.seeds, searched)
        harness.write_result(record, "time_to_accuracy", path)


if __name__ == "__main__":
    main()

"""The wall time and memory of the `nnjax train` command, and where the time of one epoch goes.

python -m benchmarks.startup                     # about 2 minutes on 2 idle cores
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise

import tyro

from benchmarks.harness import OutputFlags, Record, provenance, run_python, write_result

EPOCHS = 30  # of the full training; the other one has one epoch
TRAIN = """
import json, resource, sys
from nnjax.cli import main
if code := main(["train", "--dataset", sys.argv[1], "--epochs", sys.argv[2]]):
    sys.exit(code)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))
"""
# The parts of `train --epochs 1`, and the time after each.
PARTS = """
import json, math, sys, time
times = [time.time()]
import jax, optax
times.append(time.time())
import nnjax, nnjax.cli
times.append(time.time())
data = nnjax.load(sys.argv[1])
times.append(time.time())
init_key, fit_key = jax.random.split(jax.random.key(0))
params = nnjax.init(init_key, (math.prod(data.input_shape), 30, 10))
run = nnjax.fit(fit_key, params, data, epochs=1, learning_rate=3.0, stop_on_nan=True, locate_nan=True)
times.append(time.time())
objective = nnjax.Objective()
calibration = nnjax.calibrate(run.params, objective, data)
accuracy = run.history.validation_accuracy[-1]
nnjax.save_model(
    sys.argv[2], run.params, objective, data, calibration=calibration, validation_accuracy=accuracy
)
times.append(time.time())
print(json.dumps([times, float(run.history.seconds.sum())]))
"""
AROUND_TRAINING = "loading compiled programs, evaluating"
PART_NAMES = (
    *(
        "starting Python",
        "importing jax and optax",
        "importing nnjax and its command line",
        "loading the data",
    ),
    *(AROUND_TRAINING, "calibrating and saving the model", "exiting"),
)
CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@dataclass(frozen=True)
class Flags(OutputFlags):
    """The flags of this benchmark."""

    rounds: int = 5
    """Number of measured runs of each process, after one that fills the caches."""


def run(flags: Flags) -> Record:
    """Times whole processes; the compilation cache is empty before the first one."""
    with tempfile.TemporaryDirectory() as directory:
        dirs = {"XDG_CACHE_HOME": directory, "XDG_DATA_HOME": directory}
        trainings = {
            epochs: [_process(TRAIN, flags.dataset, str(epochs), **dirs) for _ in range(flags.rounds + 1)]
            for epochs in (EPOCHS, 1)
        }
        cache = {"JAX_COMPILATION_CACHE_DIR": f"{directory}/parts"} | CACHE
        model = f"{directory}/model.safetensors"
        parts = [_parts(flags.dataset, model, cache) for _ in range(flags.rounds + 1)][1:]
    seconds = {epochs: [end - start for _, start, end in runs] for epochs, runs in trainings.items()}
    return {
        "rounds": flags.rounds,
        "dataset": flags.dataset,
        **provenance(),
        "cold_train_seconds": seconds[EPOCHS][0],
        "train_seconds": statistics.median(seconds[EPOCHS][1:]),
        "one_epoch_seconds": statistics.median(seconds[1][1:]),
        "parts": {name: statistics.median(part[name] for part in parts) for name in parts[0]},
        "peak_megabytes": max(json.loads(line) for runs in trainings.values() for line, *_ in runs),
    }


def _parts(dataset: str, model: str, cache: dict[str, str]) -> dict[str, float]:
    """The seconds of each part of a training of one epoch whose model is saved."""
    line, start, end = _process(PARTS, dataset, model, **cache)
    times, training = json.loads(line)
    seconds = [after - before for before, after in pairwise([start, *times, end])]
    parts = dict(zip(PART_NAMES, seconds, strict=True))
    parts[AROUND_TRAINING] -= training
    return parts | {"training": training}


def _process(code: str, *arguments: str, **environ: str) -> tuple[str, float, float]:
    """The last line that a Python process prints, and the times of its start and end."""
    start = time.time()
    line = run_python(code, *arguments, **environ)
    return line, start, time.time()


def main() -> None:
    """Runs the benchmark, prints its results and writes the record."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    print(json.dumps({k: v for k, v in record.items() if isinstance(v, float | dict)}, indent=1))
    write_result(record, "startup", flags.output)


if __name__ == "__main__":
    main()

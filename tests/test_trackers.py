"""Trackers: what they log, once each, and that TensorBoard's files contain it."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import nnjax
from documents import ROOT
from nnjax.compare import CompareProgress
from nnjax.trackers import Tracker, tensorboard

KEY = jax.random.key(0)


class Recording:
    """A tracker's run that stores what it gets."""

    def __init__(self):
        self.rows, self.finished = [], 0

    def log(self, values, step):
        assert not self.finished
        self.rows.append((step, values))

    def finish(self):
        self.finished += 1


@pytest.fixture
def runs():
    return {}


@pytest.fixture
def opener(runs):
    """Opens recordings in `runs`, by name."""

    def open_run(name, settings):
        assert name not in runs
        runs[name] = Recording()
        runs[name].settings = settings
        return runs[name]

    return open_run


def fit(digits, callback, **changes):
    arguments = {"epochs": 3, "learning_rate": 1.0, "batch_size": 100} | changes
    return nnjax.fit(KEY, nnjax.init(KEY, (64, 10)), digits, callback=callback, **arguments)


def test_a_fit_logs_every_row_of_its_history_once(digits, runs, opener):
    error = {"error": lambda output, target: output.max()}
    history = fit(digits, Tracker(opener), evaluate_every=2, metrics=error).history
    steps, values = zip(*runs[""].rows, strict=True)
    assert (steps, runs[""].settings) == ((1, 2, 3), {})
    assert [row["train_cost"] for row in values] == history.train_cost.tolist()
    # The first epoch has no evaluation.
    assert set(values[0]) == {"train_cost", "seconds"}
    assert values[2]["test_accuracy"] == history.test_accuracy[2]
    assert values[2]["validation_error"] == history.metrics["validation_error"][2]


def test_the_step_is_that_of_the_training(digits, runs, opener):
    fit(digits, Tracker(opener), epochs=None, steps=7, evaluate_every=3)
    assert [step for step, _ in runs[""].rows] == [3, 6, 7]


def test_a_resumed_fit_logs_the_restored_rows_too(digits, runs, opener, tmp_path):
    fit(digits, None, epochs=2, checkpoint=tmp_path)
    fit(digits, Tracker(opener), epochs=4, checkpoint=tmp_path)
    assert [step for step, _ in runs[""].rows] == [1, 2, 3, 4]


def test_a_sweep_has_a_run_for_each_network(digits, runs, opener):
    grid = nnjax.sweep(
        KEY, digits, hidden=(4, 5), seeds=2, epochs=2, learning_rate=1.0, max_networks_per_program=2,
        callback=Tracker(opener),
    )  # fmt: skip
    assert set(runs) == {f"hidden={hidden},seed={seed}" for hidden in (4, 5) for seed in (0, 1)}
    for run in runs.values():
        expected = grid.test_accuracy.sel(run.settings).values
        assert [values["test_accuracy"] for _, values in run.rows] == expected.tolist()
        assert ([step for step, _ in run.rows], run.finished) == ([1, 2], 1)


def test_networks_that_halving_stops_are_finished_by_the_tracker(digits, runs, opener):
    tracker = Tracker(opener)
    nnjax.sweep(
        KEY, digits, hidden=4, seeds=4, epochs=2, learning_rate=1.0, halving=nnjax.Halving(1),
        max_networks_per_program=2, callback=tracker,
    )  # fmt: skip
    assert sorted(len(run.rows) for run in runs.values()) == [1, 1, 2, 2]
    assert sorted(run.finished for run in runs.values()) == [0, 0, 1, 1]
    tracker.finish()
    assert [run.finished for run in runs.values()] == [1] * 4


def test_an_aggregated_sweep_has_summaries_of_the_networks_that_train_together(digits, runs, opener):
    grid = nnjax.sweep(
        KEY, digits, hidden=4, seeds=4, epochs=1, learning_rate=1.0, max_networks_per_program=2,
        callback=Tracker(opener, aggregate=True),
    )  # fmt: skip
    assert list(runs) == ["group 1: 2 networks from seed=0", "group 2: 2 networks from seed=2"]
    ((_, values),) = runs["group 2: 2 networks from seed=2"].rows
    accuracy = grid.test_accuracy.sel(seed=[2, 3]).values
    expected = accuracy.min(), np.median(accuracy), accuracy.max()
    assert tuple(values[f"test_accuracy/{name}"] for name in ("min", "median", "max")) == expected


def test_after_halving_the_aggregated_runs_are_those_of_the_remaining_networks(digits, runs, opener):
    grid = nnjax.sweep(
        jax.random.key(3), digits, hidden=4, seeds=4, epochs=2, learning_rate=1.0, halving=nnjax.Halving(1),
        max_networks_per_program=2, callback=Tracker(opener, aggregate=True),
    )  # fmt: skip
    finished = np.flatnonzero(grid.data.stopped_at == -1)
    assert [len(run.rows) for run in runs.values()] == [1, 1, 2]
    for step, values in runs[f"group 3: 2 networks from seed={finished[0]}"].rows:
        accuracy = grid.test_accuracy.sel(seed=finished).isel(epoch=step - 1).values
        assert values["test_accuracy/min"] == accuracy.min()
        assert values["test_accuracy/max"] == accuracy.max()


def test_a_comparison_has_a_run_for_each_optimizer(runs, opener):
    tracker = Tracker(opener)
    for done, optimizer, best in ((1, "mine", {"mine": 2.0}), (2, "adamw", {"mine": 2.0, "adamw": 3.0}),
                                  (3, "mine", {"mine": np.inf})):  # fmt: skip
        tracker(CompareProgress(done, 4, 1.0, optimizer, "digits", best))
    assert {name: run.rows for name, run in runs.items()} == {
        "mine": [(1, {"digits": 2.0})],
        "adamw": [(2, {"digits": 3.0})],
    }


def read_events(path: Path) -> list:
    """The events in a file of TensorBoard, read by the format of TFRecord."""
    from tensorboardX.proto.event_pb2 import Event

    events, content, position = [], path.read_bytes(), 0
    while position < len(content):
        (length,) = struct.unpack("<Q", content[position : position + 8])
        events.append(Event.FromString(content[position + 12 : position + 12 + length]))
        position += 16 + length  # with two checksums
    return events


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars in the files of a folder: (step, value) by name."""
    scalars = {}
    for path in sorted(folder.glob("events*")):
        for event in read_events(path):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    return scalars


def test_tensorboard_files_contain_the_history(digits, tmp_path):
    history = fit(digits, tensorboard(tmp_path)).history
    scalars = read_scalars(tmp_path)
    assert [step for step, _ in scalars["test_accuracy"]] == [1, 2, 3]
    np.testing.assert_allclose([value for _, value in scalars["test_accuracy"]], history.test_accuracy)
    np.testing.assert_allclose([value for _, value in scalars["train_cost"]], history.train_cost)


def test_tensorboard_has_a_folder_for_each_network(digits, tmp_path):
    nnjax.sweep(
        KEY, digits, hidden=4, seeds=2, epochs=1, learning_rate={"a/b": 1.0},
        callback=tensorboard(tmp_path),
    )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"learning_rate=a_b,seed={seed}" for seed in (0, 1)
    ]


def test_a_file_begins_by_hiding_the_rows_of_earlier_files(digits, tmp_path):
    """TensorBoard discards the events at and after the step of a START."""
    from tensorboardX.proto.event_pb2 import SessionLog

    for _ in range(2):
        fit(digits, tensorboard(tmp_path))
    files = [read_events(path) for path in tmp_path.glob("events*")]
    assert len(files) == 2
    for events in files:
        logs = [event for event in events if event.HasField("session_log")]
        assert [(log.session_log.status, log.step) for log in logs] == [(SessionLog.START, 0)]
        assert events.index(logs[0]) < min(i for i, event in enumerate(events) if event.summary.value)


TRAINING = ("--dataset", "digits", "--epochs", 2, "--tensorboard", "runs")


def test_the_commands_write_for_tensorboard(run, tmp_path):
    assert run("train", *TRAINING, "--no-save") == 0
    assert [step for step, _ in read_scalars(tmp_path / "runs")["test_accuracy"]] == [1, 2]
    assert run("sweep", *TRAINING, "--seeds", 2) == 0
    for seed in (0, 1):
        assert len(read_scalars(tmp_path / "runs" / f"seed={seed}")["train_cost"]) == 2


@pytest.mark.filterwarnings("always:training continues")
def test_a_full_disk_ends_only_the_tracking(run, monkeypatch, capsys):
    from tensorboardX.event_file_writer import EventsWriter

    flush = EventsWriter.flush

    def fail_once(self):
        monkeypatch.setattr(EventsWriter, "flush", flush)
        raise OSError("No space left on device")

    monkeypatch.setattr(EventsWriter, "flush", fail_once)
    assert run("train", *TRAINING, "--record", "record.json") == 0
    out, err = capsys.readouterr()
    assert "epoch   2 / 2" in out
    assert err.count("training continues without --tensorboard") == err.count("No space left") == 1


def test_without_tensorboardx_the_error_names_the_extra(uninstall):
    uninstall("tensorboardX")
    with pytest.raises(ImportError, match=r"pip install 'nnjax\[tensorboard\]'"):
        tensorboard("unused")


# Prints the name and the last test accuracy of each run, as the tracker has stored them.
READ_BACK = {
    "mlflow": """
for run in mlflow.MlflowClient().search_runs(["0"], "attributes.status = 'FINISHED'"):
    print(run.info.run_name, run.data.metrics["test_accuracy"])
""",
    "trackio": """
import json, pathlib, sqlite3
(path,) = pathlib.Path().rglob("digits.db")
for name, values in sqlite3.connect(path).execute("select run_name, metrics from metrics where step = 2"):
    print(name, json.loads(values)["test_accuracy"])
""",
    "wandb": "",  # it prints the summary of each run when the run is finished
}
SETTINGS = {"learning_rate": (0.3, 3.0), "epochs": 2}


@pytest.mark.slow
@pytest.mark.parametrize("package", sorted(READ_BACK))
def test_the_guide_works_with_the_trackers_themselves(package, digits, tmp_path):
    guide = (ROOT / "docs" / "tracking.md").read_text()
    (example,) = (
        block for block in re.findall(r"(?s)```py\n(.*?)```", guide) if f"import {package}" in block
    )
    names = f"import jax, nnjax\nfrom nnjax.trackers import Tracker\nsettings = {SETTINGS}"
    code = [names, "data = nnjax.load('digits')", example, READ_BACK[package]]
    offline = {"HOME": str(tmp_path), "TRACKIO_DIR": str(tmp_path), "WANDB_MODE": "offline"}
    command = [sys.executable, "-c", "\n".join(code)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)} | offline
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grid = nnjax.sweep(KEY, digits, **SETTINGS)
    expected = grid.test_accuracy.isel(epoch=-1, seed=0).to_series()
    if package == "wandb":
        stored = zip(expected.index, re.findall(r"wandb: +test_accuracy ([\d.]+)", done.stderr), strict=True)
    else:
        stored = re.findall(r"learning_rate=([\d.]+),seed=0 ([\d.]+)", done.stdout)
    stored = {float(eta): float(accuracy) for eta, accuracy in stored}
    assert stored == pytest.approx(expected.to_dict(), abs=1e-5)

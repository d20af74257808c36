"""The benchmark for accelerators: its parts, what the record keeps after a failure, and the tables."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks import gpu_epochs, gpu_training, tables, throughput
from benchmarks.candidates import DENSE, Candidate
from benchmarks.population import Population, UnblockedPopulation
from benchmarks.throughput import PARTS, Flags
from docs import build_tables

MACHINE = {"devices": ["GPU X"], "cores": 2, "processor": "x", "versions": {"jax": "0"}}


def made_up_record():
    settings = Candidate(replace(DENSE, learning_rate=0.1), 1000).settings()
    run = {
        "seconds": [0.25, 0.5],
        "validation_accuracy": [0.9, 0.995],
        "test_correct": 99,
        "compile_seconds": 3,
    }
    row = {
        "networks": 1000,
        "bandwidth": 2e12,
        "seconds": {"in blocks": [0.001, 0.002, 0.003], "PyTorch": "RuntimeError: out of memory"},
        "roofline": {"in blocks": 0.0005},
    }
    step = {
        "name": "ensemble",
        "config": {"epochs": 12},
        "networks": 5,
        "seconds": 30.0,
        "training_seconds": 20.0,
    }
    rows = {
        "epochs": [row],
        "sweep": [{"networks": 1000, "epochs": 30, "seconds": 9.2}],
        "compare": [{"problems": ["a", "b"], "seconds": s, "training_seconds": 2.0} for s in (40.0, 60.0)],
        "time_to_accuracy": [{"target": 0.995, "settings": settings, "runs": [run, run]}],
        "ladder": [step | {"validation_accuracy": 0.9951, "test_accuracy": 0.9966}],
    }
    return {
        name: MACHINE | {"num_test": 100, "libraries": {"torch": "2"}, "rows": rows[name], "error": None}
        for name in PARTS
    }


def speed_tables(record, folder, monkeypatch):
    """The tables of docs/speed.md from a record, by part."""
    monkeypatch.setattr(tables, "RESULTS", folder)
    if record is not None:
        (folder / "throughput.json").write_text(json.dumps(record))
    return {name: build_tables.DOCUMENTS[build_tables.SPEED][f"throughput {name}"]() for name in PARTS}


def test_each_part_has_a_table(tmp_path, monkeypatch):
    made = speed_tables(made_up_record(), tmp_path, monkeypatch)
    assert "| networks × epochs per second | 1,000 |" in made["epochs"]
    assert "| in blocks | 500.0 |" in made["epochs"]
    assert "| PyTorch | – |" in made["epochs"]
    assert "| memory roofline, in blocks | 2,000.0 |" in made["epochs"]
    assert "2000 GB/s; torch 2; GPU X, 2 cores of x, jax 0;" in made["epochs"]
    assert made["sweep"].startswith("A sweep of 1,000 networks and 30 epochs takes 9.2 s,")
    assert "on 2 problems takes 50.0 (40.0 to 60.0) s from shell to report" in made["compare"]
    assert "| 99.5 % | 0.50 ± 0.00 (0.50 to 0.50) | 2 | 99.00 % | 3.0 |" in made["time_to_accuracy"]
    assert "| ensemble | 5 | 12 | 20.0 | 30.0 | 99.51 | 99.66 |" in made["ladder"]


def test_parts_that_did_not_run_or_failed_have_a_note(tmp_path, monkeypatch):
    made = speed_tables(None, tmp_path, monkeypatch)
    assert set(made.values()) == {"*not run yet: `python -m benchmarks.throughput`*"}
    record = made_up_record()
    del record["ladder"]
    record["compare"] |= {"rows": [], "error": "RuntimeError: it failed"}
    record["epochs"]["error"] = "KeyError: it failed later"
    made = speed_tables(record, tmp_path, monkeypatch)
    assert made["ladder"] == "*not run yet: `python -m benchmarks.throughput --parts ladder`*"
    assert made["compare"] == "*Failed: the record has the error message.*"
    assert "| in blocks |" in made["epochs"]
    assert made["epochs"].endswith(made["compare"])


def test_a_part_that_fails_or_is_interrupted_loses_no_other_result(tmp_path, monkeypatch):
    def rows(*results):
        for result in results:
            if isinstance(result, BaseException):
                raise result
            yield result

    path = tmp_path / "record.json"
    path.write_text(json.dumps({"ladder": {"rows": ["previous"]}}))
    parts = {
        "epochs": rows(1, RuntimeError("out of memory"), 2),
        "sweep": rows(3),
        "compare": rows(4, KeyboardInterrupt()),
        "ladder": rows(5),
    }
    monkeypatch.setattr(throughput, "make_parts", lambda flags, data: parts)
    with pytest.raises(KeyboardInterrupt):
        throughput.run(Flags(parts=tuple(parts), quick=True, output=path))
    record = json.loads(path.read_text())
    assert {name: part["rows"] for name, part in record.items()} == {
        "epochs": [1], "sweep": [3], "compare": [4], "ladder": ["previous"],
    }  # fmt: skip
    assert record["epochs"]["error"] == "RuntimeError: out of memory"
    assert record["sweep"]["error"] is None
    assert record["sweep"]["dataset"] == "digits, enlarged"


def test_a_quick_run_does_not_replace_the_committed_record():
    with pytest.raises(ValueError, match="output must be a file if quick is set"):
        throughput.run(Flags(quick=True))


@pytest.mark.slow
def test_the_quick_run_measures_every_part(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_training, "MIN_TARGET", 0.98)
    throughput.run(Flags(quick=True, output=tmp_path / "throughput.json"))
    record = json.loads((tmp_path / "throughput.json").read_text())
    assert {name: part["error"] for name, part in record.items()} == dict.fromkeys(PARTS)
    assert [row["networks"] for row in record["epochs"]["rows"]] == [1, 3]
    for row in record["epochs"]["rows"]:
        assert {name: type(seconds) for name, seconds in row["seconds"].items()} == dict.fromkeys(
            gpu_epochs.methods(), list
        )
    assert len(record["time_to_accuracy"]["rows"][0]["runs"]) == 2
    assert [row["networks"] for row in record["ladder"]["rows"]] == [1, 5]
    for row in (*record["sweep"]["rows"], *record["compare"]["rows"], *record["ladder"]["rows"]):
        assert row["seconds"] > 0
    assert all(speed_tables(record, tmp_path, monkeypatch).values())


def test_the_ladder_trains_the_steps_with_the_best_validation(tmp_path, sparse_images, monkeypatch):
    steps = [
        {"name": name, "ensemble_size": size, "validation_correct": correct, "config": DENSE.to_json()}
        for name, size, correct in (("a", 1, [8, 8]), ("b", 1, [9, 8]), ("c", 3, [7, 7]))
    ]
    (tmp_path / "ladder.json").write_text(json.dumps({"steps": steps}))
    monkeypatch.setattr(gpu_training, "LADDER", tmp_path / "ladder.json")
    monkeypatch.setattr(gpu_training, "train_networks", lambda config, data, n: (n * [config.epochs], 1.5))
    monkeypatch.setattr(gpu_training, "accuracy", lambda networks, objective, split: sum(networks))
    single, ensemble = gpu_training.ladder_rows(sparse_images, {"epochs": 2})
    assert (single["name"], single["networks"], single["test_accuracy"]) == ("b", 1, 2)
    assert (ensemble["name"], ensemble["networks"], ensemble["test_accuracy"]) == ("c", 3, 6)


def test_a_record_without_accurate_targets_raises_an_error(monkeypatch):
    monkeypatch.setattr(gpu_training, "MIN_TARGET", 1.5)
    with pytest.raises(ValueError, match=r"must have a target of at least 1.5, got 0.95"):
        next(gpu_training.time_to_accuracy_rows(None, 2))


def test_blocks_reduce_three_passes_over_the_weights():
    weights = 4 * 32 * 30 * 784
    without_blocks = gpu_epochs.traffic_bytes(32, 50_000, 1)
    assert 3 * weights * 5000 < without_blocks < 1.1 * 3 * weights * 5000
    assert gpu_epochs.traffic_bytes(32, 50_000, 26) < without_blocks / 4


@pytest.mark.slow
def test_the_first_part_records_why_a_method_failed(images, monkeypatch):
    class Large:
        def __init__(self, networks, data):
            if networks > 1:
                raise MemoryError("not enough memory\nfor that")

        def __call__(self):
            return 0.5

    monkeypatch.setattr(gpu_epochs, "methods", lambda: {"in blocks": Population, "large": Large})
    monkeypatch.setattr(gpu_epochs.roofline, "bandwidth", lambda: 1e10)
    one, three = gpu_epochs.rows(images, 3, rounds=1)
    assert (one["networks"], three["networks"]) == (1, 3)
    assert one["seconds"]["large"] == [0.5]
    assert three["seconds"]["large"] == "MemoryError: not enough memory"


def test_the_precision_applies_to_the_epoch(sparse_images):
    many = gpu_epochs.PrecisePopulation("float32", 2, sparse_images)
    many.train = lambda *arguments: (many.states, jax.config.jax_default_matmul_precision, None)
    assert many.epoch() == "float32"


def test_a_population_in_bfloat16_trains_like_one_in_float32(sparse_images):
    populations = [make(2, sparse_images) for make in (UnblockedPopulation, gpu_epochs.Bfloat16Population)]
    for many in populations:
        many.epoch()
    exact, rounded = (np.asarray(many.states.params[0].w) for many in populations)
    assert exact.dtype == rounded.dtype
    assert 0 < np.abs(exact - rounded).max() < 0.1

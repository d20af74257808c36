"""The check of equal work, alternating rounds, and the benchmarks that measure whole commands."""

import json

import pytest

import nnjax
from benchmarks import config, harness, startup
from benchmarks.harness import check_equivalent, time_peers, write_result
from benchmarks.tables import config_table, startup_table


def test_peers_that_do_unequal_work_raise_an_error():
    class Peer:
        def __init__(self, seed, gain):
            self.count, self.gain = seed % 3, gain

        def __call__(self):
            self.count += self.gain

        def correct(self):
            return self.count

    def make(gain):
        return lambda seed: Peer(seed, gain)

    counts = check_equivalent({"ours": make(100), "same": make(100)})
    assert counts == {"ours": [300, 301, 302, 300, 301], "same": [300, 301, 302, 300, 301]}
    with pytest.raises(RuntimeError, match="lazy must do the same work as ours, got"):
        check_equivalent({"ours": make(100), "same": make(100), "lazy": make(90)})


def test_peers_alternate_after_pauses_and_are_compared_with_the_first(sparse_images, monkeypatch):
    class Peer:
        def __init__(self, name, seconds):
            self.name, self.seconds = name, iter(seconds)

        def __call__(self):
            calls.append(self.name)
            return next(self.seconds)

        def correct(self):
            return 7

    calls = []
    # The first call is a warm-up, and so is every call of less than a second.
    peers = {"ours": Peer("ours", [9.0, 1.0, 2.0, 3.0]), "other": Peer("other", [9.0, 0.5, 2.0, 8.0, 6.0])}
    monkeypatch.setattr(harness.time, "sleep", calls.append)
    record = time_peers(peers, 3, sparse_images)
    pause = harness.PAUSE_SECONDS
    first, later = [pause, "ours", pause, "other", "other"], [pause, "ours", pause, "other"]
    assert calls == ["ours", "other", *first, *later, *later]
    assert [p["median"] for p in record["peers"]] == [2.0, 6.0]
    assert [p["ratio"] for p in record["peers"]] == [1.0, 0.5]
    assert (record["dataset"], record["num_test"]) == ("arrays", 80)


def test_a_record_is_written_to_the_path_of_the_flag(tmp_path):
    path = tmp_path / "new" / "r.json"
    assert write_result({"seconds": [0.5]}, "r", path) == path.parent
    assert json.loads(path.read_text()) == {"seconds": [0.5]}


@pytest.mark.slow
def test_a_configuration_is_timed_as_a_command():
    record = config.run(config.Flags(dataset="digits", configs=("book",), seeds=2, epochs=1))
    first, second = record["runs"]["book"]
    assert [first["seed"], second["seed"]] == [0, 1]
    assert first["seconds"] > first["training_seconds"] > 0
    assert first["test_correct"] != second["test_correct"]
    best = max(first["test_correct"], second["test_correct"]) / len(nnjax.load("digits").test.targets)
    table = config_table(record)
    assert "| `nnjax train --config book` |" in table
    assert f"to {100 * best:.2f} %) |" in table


@pytest.mark.slow
def test_the_parts_of_the_command_are_timed(monkeypatch):
    monkeypatch.setattr(startup, "EPOCHS", 2)
    record = startup.run(startup.Flags(dataset="digits", rounds=1))
    assert list(record["parts"]) == [*startup.PART_NAMES, "training"]
    assert min(record["parts"].values()) > 0
    assert record["train_seconds"] > record["parts"]["importing jax and optax"]
    assert record["peak_megabytes"] > 50
    assert f"| {startup.PART_NAMES[-1]} |" in startup_table(record)

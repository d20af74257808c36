"""What every experiment shares: flags, records, claims, and the folders they go to."""

import json
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from experiments import evidence
from experiments.evidence import Claim, Experiment, Flags


def toy(**change):
    def run(settings):
        return {"values": np.arange(settings.seeds), "nothing": float("nan")}

    def plot(record):
        from matplotlib import pyplot

        figure, axis = pyplot.subplots()
        axis.plot(record["values"])
        return figure

    def claims(record):
        return [Claim("There is a first", "0", str(record["values"][0]), holds=True)]

    settings = {"seeds": 20, "epochs": 30, "constants": {"rates": (1, 2)}} | change
    return Experiment("toy", "A toy.", run, plot, claims, **settings)


def test_flags_settle_to_what_the_experiment_asks_for():
    full, quick = toy().settle(Flags()), toy().settle(Flags(quick=True))
    assert (full.dataset, full.seeds, full.epochs) == ("mnist", 20, 30)
    assert (quick.dataset, quick.seeds, quick.epochs) == ("digits", 2, 5)
    assert toy().settle(Flags(quick=True, seeds=7, epochs=9)).seeds == 7
    assert toy(seeds=1, epochs=1).settle(Flags(quick=True)).epochs == 1


def test_flags_that_an_experiment_does_not_use_change_nothing():
    alone = toy(uses=())
    assert alone.settle(Flags(dataset="digits", seeds=3, epochs=2)) == alone.settle(Flags())
    assert toy(uses=("seeds",)).settle(Flags(dataset="digits", seeds=3)).seeds == 3


def test_only_the_full_run_on_mnist_goes_to_the_committed_results():
    assert toy().folder(Flags()) == evidence.RESULTS
    for flags in (Flags(quick=True), Flags(dataset="digits"), Flags(seeds=3), Flags(epochs=2)):
        assert evidence.ELSEWHERE in toy().folder(flags).parents


def test_a_record_says_how_it_was_made_and_is_read_again(tmp_path):
    made = toy().make(Flags(quick=True, output=tmp_path))
    assert made == evidence.read("toy", tmp_path)
    assert made["settings"] == {
        "dataset": "digits", "seeds": 2, "epochs": 5, "quick": True, "rates": [1, 2]
    }  # fmt: skip
    assert {"versions", "devices", "cores", "commit", "seconds"} <= set(made)
    assert made["values"] == [0, 1]
    assert made["nothing"] is None
    with Image.open(tmp_path / "toy.png") as picture:
        assert picture.size[0] > 500


def test_the_same_record_makes_the_same_figure(tmp_path):
    record = toy().make(Flags(quick=True, output=tmp_path))
    first = (tmp_path / "toy.svg").read_bytes()
    toy().draw(record, tmp_path)
    assert (tmp_path / "toy.svg").read_bytes() == first


@pytest.mark.parametrize("content", ["", "[]", "{", '{"experiment": "other", "settings": {}}', "null"])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(ValueError, match=r"toy\.json is no record of toy"):
        evidence.read("toy", tmp_path)


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    ran = []
    experiment = toy()
    object.__setattr__(experiment, "run", ran.append)
    with pytest.raises(ValueError, match="cannot write into"):
        experiment.make(Flags(quick=True, output=tmp_path / "file"))
    assert not ran


def test_a_figure_is_never_older_than_its_record(tmp_path):
    toy().make(Flags(quick=True, output=tmp_path))
    experiment = toy()
    object.__setattr__(experiment, "plot", lambda record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        experiment.make(Flags(quick=True, output=tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["toy.json"]


@pytest.mark.slow
def test_a_stopped_experiment_goes_on_from_its_finished_sweeps(tmp_path, advanced):
    SLOW = 1.0
    told = []

    def run(settings):
        data = settings.load()
        rates = (0.5, 3.0)
        grids = [settings.sweep(1, data, learning_rate=r, batch_size=100) for r in rates]
        if len(told) == 8:
            time.sleep(SLOW)
            settings.tell("slow")
            raise KeyboardInterrupt
        return {"values": np.stack([g.test_correct for g in grids]).ravel()}

    experiment = toy()
    object.__setattr__(experiment, "run", run)
    flags = Flags(quick=True, seeds=2, epochs=4, output=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        experiment.make(flags, told.append)
    assert told[3] == "0 of 2 networks, epoch 4 of 4"
    assert not (tmp_path / "toy.json").exists()
    record = experiment.make(flags, told.append)
    assert len(advanced) == 8
    assert len(record["values"]) == 16
    assert record["seconds"] > SLOW  # what was spent before it was stopped included
    assert not list((tmp_path / ".unfinished").iterdir())


def test_numbers_of_the_book_are_judged_on_its_data_alone():
    def record(**settings):
        return {"values": [0], "settings": {"dataset": "mnist", "quick": False} | settings}

    assert [c.holds for c in toy().verdicts(record())] == [True]
    assert [c.holds for c in toy().verdicts(record(dataset="digits"))] == [None]
    assert [c.holds for c in toy().verdicts(record(quick=True))] == [None]


def test_the_commit_is_dirty_where_code_differs_and_unknown_without_git(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    assert evidence.commit() == "unknown"
    (tmp_path / "code.py").write_text("")
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    (tmp_path / "experiments" / "results" / "a.json").write_text("1")
    for command in ("init -q", "add .", "-c user.name=n -c user.email=e commit -qm m"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    clean = evidence.commit()
    assert len(clean) == 12
    (tmp_path / "experiments" / "results" / "a.json").write_text("2")
    assert evidence.commit() == clean
    (tmp_path / "new.py").write_text("")
    assert evidence.commit() == f"{clean}-dirty"
    monkeypatch.setenv("PATH", "")
    assert evidence.commit() == "unknown"


@pytest.mark.parametrize(
    "flags", [Flags(seeds=0), Flags(epochs=-1), Flags(dataset="minst"), Flags(quick=True, seeds=0)]
)
def test_flags_that_make_no_sense_are_told(flags):
    with pytest.raises(ValueError, match=r"must be 1 or more|did you mean 'mnist'"):
        toy().settle(flags)


def test_spread_is_the_median_and_the_extremes():
    assert evidence.spread([1.0, 3.0, 2.0]) == "2.0 % (1.0 % to 3.0 %, n = 3)"
    assert evidence.spread([2225], "{:,}") == "2,225.0"
    assert json.dumps(evidence.percent([5], 10).tolist()) == "[50.0]"

"""`nnjax sweep`: the table, the record, the figure, and wrong flags."""

import json
import os
import re
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray
from PIL import Image

import nnjax
from nnjax.cli import sweep
from nnjax.cli._figures import sweep_figure
from nnjax.cli._sweep_table import SweepTable
from nnjax.sweep import Grid, Progress
from nnjax.training.history import empty_history

SWEEP = ["sweep", "--dataset", "digits", "--epochs", 1, "--batch-size", 100]
AXES = ["--hidden", 5, 7, "--learning-rate", 0.3, 3, "--seeds", 3]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(run):
    pass


@pytest.fixture(scope="module")
def grid(digits):
    """The sweep of AXES, by the function."""
    return nnjax.sweep(
        jax.random.key(4), digits, hidden=(5, 7), learning_rate=(0.3, 3.0), seeds=3, epochs=1, batch_size=100
    )


def test_table_record_and_figure_show_the_grid(run, capsys, grid):
    assert run(*SWEEP, *AXES, "--seed", 4, "--record", "r.json", "--plot", "p.png") == 0
    out, record = capsys.readouterr().out, json.loads(Path("r.json").read_text())
    assert "training 2 hidden x 2 learning_rate x 3 seeds on 1,204 examples" in out
    assert "mean ± standard deviation of 3 seeds" in out
    assert record["axes"] == {"hidden": [5, 7], "learning_rate": [0.3, 3.0]}
    assert (record["dataset"], record["seed"], record["seeds"]) == ("digits", 4, 3)
    for row in record["results"]:
        cell = {"hidden": row["hidden"], "learning_rate": row["learning_rate"]}
        for split in ("validation", "test"):
            accuracies = getattr(grid, f"{split}_accuracy").sel(cell).isel(epoch=-1).values
            assert row[f"{split}_accuracy"] == accuracies.tolist()
            assert f"{100 * accuracies.mean():.2f} ± {100 * accuracies.std(ddof=1):.2f} %" in out
    xarray.testing.assert_equal(
        xarray.Dataset.from_dict(record["grid"]).drop_vars("seconds"), grid.data.drop_vars("seconds")
    )
    mean = grid.validation_accuracy.isel(epoch=-1).mean("seed")
    best = mean.where(mean == mean.max(), drop=True)
    assert (
        f"best on validation: hidden {best.hidden.item()}, learning_rate {best.learning_rate.item()}" in out
    )
    with Image.open("p.png") as picture:
        assert picture.width > 500


def test_json_goes_to_standard_output(run, capsys):
    assert run(*SWEEP, "--hidden", 5, "--json") == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert record["axes"] == {}
    assert [set(row) for row in record["results"]] == [{"validation_accuracy", "test_accuracy", "diverged"}]
    assert record["config"]["hidden"] == [5]
    assert "accuracy after the last epoch" in err


@pytest.mark.parametrize(
    ("flags", "axes", "config"),
    [
        (["--hidden", 10, "20x30", "none"], {"hidden": {10: (10,), "20x30": (20, 30), "none": ()}}, {}),
        (["--hidden", "20x30"], {}, {"hidden": (20, 30)}),
        (
            ["--initial-weights", "he", "lecun", "--schedule", "cosine"],
            {"initial_weights": {"he": nnjax.he, "lecun": nnjax.lecun}},
            {"schedule": "cosine"},
        ),
        (["--ema-decay", "none", 0.9], {"ema_decay": {"none": None, 0.9: 0.9}}, {}),
        (
            ["--optimizer", "adam", "--learning-rate", 0.1, 0.01],
            {"learning_rate": {0.1: 0.1, 0.01: 0.01}},
            {"optimizer": "adam"},
        ),
        (
            ["--config", "best-cpu", "--learning-rate", 0.1, 0.01],
            {"learning_rate": {0.1: 0.1, 0.01: 0.01}},
            None,
        ),
    ],
)
def test_several_values_become_axes_and_one_value_a_setting(run, flags, axes, config):
    import tyro

    settings, parsed = tyro.cli(sweep.Sweep, args=list(map(str, flags))).settings()
    assert parsed == axes
    expected = nnjax.configs["best-cpu"] if config is None else nnjax.TrainConfig(**config)
    assert settings.config == expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--hidden"], "--hidden must have at least one value"),
        (["--hidden", 10, 0], "each number in hidden must be a positive integer, got 0"),
        (["--hidden", "20x", 10], "Error parsing --hidden: must be integers such as 30 or 20x30, got '20x'"),
        (["--learning-rate", 1, 1.0], "--learning-rate must have different values, got [1.0, 1.0]"),
        (["--learning-rate", 1, -1], "learning_rate must be non-negative, got -1"),
        (["--schedule", "constant", "cosin"], "did you mean 'cosine'"),
        (["--seeds", 0], "seeds must be a positive integer, got 0"),
        (["--epochs", 0], "epochs must be a positive integer, got 0"),
        (["--plot", "p.png"], "--plot must be used with one or two flags that have several values, got 0"),
        (["--save", "m.st"], "--save (applied to nnjax sweep)"),
        (["--record", "none/r.json"], "No such file"),
    ],
)
def test_wrong_flags_are_rejected_before_data_is_loaded(run, flags, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sweep, "load_dataset", lambda *_: pytest.fail("loaded the data"))
    assert run(*SWEEP, *flags) == 2
    err = capsys.readouterr().err
    assert words in " ".join(re.sub("[│─]|-{3,}", " ", err).split())
    assert "Traceback" not in err
    assert not os.listdir()


def test_widths_of_a_convolutional_configuration_are_rejected(run, capsys):
    assert run(*SWEEP, "--config", "best-cpu", "--hidden", 10, 20) == 2
    assert "to sweep hidden or initial_weights, got" in " ".join(capsys.readouterr().err.split())


TEN = nnjax.Dataset.from_arrays(*[(np.zeros((10, 1), np.uint8), np.arange(10))] * 3)


@pytest.fixture
def table():
    """The table of a sweep of two schedules and two seeds."""
    return SweepTable({"schedule": ["cosine", "linear"]}, 2, TEN, sweep.console)


def add(table, schedule, correct, diverged=0):
    """Adds networks by seed, with `correct` of 10 images on each split; the last ones have diverged."""
    history = empty_history("epoch", [1], (len(correct),), TEN.validation, TEN.test)
    counts = list(correct.values())
    history.set(0, {"validation_correct": counts, "test_correct": counts})
    history.diverged_at[len(correct) - diverged :] = 0
    settings = [{"schedule": schedule, "seed": seed} for seed in correct]
    table.add(Progress(0, 4, "epoch", 1, 1, 0.5, settings, history))


def test_a_row_is_printed_when_the_last_seed_is_finished(capsys, table):
    add(table, "linear", {0: 5})
    assert capsys.readouterr().out == ""
    add(table, "linear", {1: 7})
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["schedule", "validation", "test"]
    assert row.split() == ["linear", *("60.00", "±", "14.14", "%") * 2]
    add(table, "cosine", {0: 9, 1: 9})
    (row,) = capsys.readouterr().out.splitlines()
    assert row.split()[:2] == ["cosine", "90.00"]
    assert [row["schedule"] for row in table.rows()] == ["cosine", "linear"]


def test_diverged_networks_are_counted_and_are_not_the_best(capsys, table):
    add(table, "cosine", {0: 9, 1: 9}, diverged=1)
    assert "1 of 2 diverged" in capsys.readouterr().out
    add(table, "linear", {0: 4, 1: 6})
    assert table.best() == "best on validation: schedule linear; test accuracy 50.00 ± 14.14 %"


def test_without_classes_the_table_has_costs_and_the_lowest_is_the_best(capsys):
    x = np.zeros((10, 1), np.float32)
    data = nnjax.Dataset.from_arrays((x, x), validation=(x, x))
    table = SweepTable({"schedule": ["cosine", "linear"]}, 1, data, sweep.console)
    for schedule, cost in (("cosine", 2.0), ("linear", 0.5)):
        history = empty_history("epoch", [1], (1,), data.validation, data.test, has_counts=False)
        history.set(0, {"validation_cost": [cost]})
        table.add(Progress(0, 2, "epoch", 1, 1, 0.5, [{"schedule": schedule, "seed": 0}], history))
    assert capsys.readouterr().out.split() == [
        "schedule",
        "validation",
        "cosine",
        "2.0000",
        "linear",
        "0.5000",
    ]
    assert table.best() == "best on validation: schedule linear"


@pytest.mark.slow
def test_a_learning_rate_that_diverges_does_not_end_the_sweep(run, capsys):
    flags = ["--cost", "softmax_cross_entropy", "--hidden", "none", "--learning-rate", 0.1, 1e38]
    assert run(*SWEEP, *flags, "--seeds", 2, "--json") == 0
    out, err = capsys.readouterr()
    assert [row["diverged"] for row in json.loads(out)["results"]] == [0, 2]
    assert "2 of 2 diverged" in err
    assert "best on validation: learning_rate 0.1" in err


def test_a_signal_ends_a_sweep_and_the_printed_command_resumes_it(run, monkeypatch, capsys, grid):
    show = sweep._ProgressBar.show

    def interrupt(bar, progress):
        show(bar, progress)
        os.kill(os.getpid(), signal.SIGINT)

    command = [*SWEEP, *AXES, "--seed", 4, "--record", "r.json"]
    with monkeypatch.context() as patch:
        patch.setattr(sweep._ProgressBar, "show", interrupt)
        assert run(*command) == 130
        assert "interrupted, nothing is saved; use --checkpoint-dir" in capsys.readouterr().out
        assert run(*command, "--checkpoint-dir", "c", "--checkpoint-every-epochs", 1) == 130
    [resume] = re.findall("resume from the last checkpoint with: nnjax (.*)", capsys.readouterr().out)
    assert not os.path.exists("r.json")
    assert run(*shlex.split(resume)) == 0
    record = json.loads(Path("r.json").read_text())
    counts = np.array(record["grid"]["data_vars"]["test_correct"]["data"])
    np.testing.assert_array_equal(counts, grid.test_correct)
    assert run(*shlex.split(resume), "--hidden", 5, 8) == 2
    assert "--hidden was 5 7 and is 5 8" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("flags", [[], ["--record", "r.json"]])
def test_a_closed_pipe_ends_a_sweep_that_writes_no_file(flags, run, monkeypatch):
    def broken_pipe(*_):
        raise BrokenPipeError

    monkeypatch.setattr(SweepTable, "_print", broken_pipe)
    assert run(*SWEEP, "--hidden", 5, 7, *flags) == (0 if flags else 130)
    if flags:
        assert [row["hidden"] for row in json.loads(Path("r.json").read_text())["results"]] == [5, 7]


def test_a_record_that_cannot_be_written_does_not_hide_the_results(run, monkeypatch, capsys):
    def full(path, record):
        raise OSError("No space left on device")

    monkeypatch.setattr(sweep, "write_record", full)
    flags = ["--record", "r.json", "--plot", "p.png", "--json"]
    assert run(*SWEEP, "--hidden", 5, 7, *flags) == 2
    out, err = capsys.readouterr()
    assert len(json.loads(out)["results"]) == 2
    assert "figure in p.png" in err
    assert "No space left on device" in err


# Figures


def grid_of(**axes):
    """The results of three seeds for each combination of values."""
    shape = [*map(len, axes.values()), 3, 1]
    values = np.random.default_rng(0).random((2, *shape))
    dims = (*axes, "seed", "epoch")
    data = {
        "validation_correct": (dims, np.round(100 * values[0])),
        "validation_cost": (dims, values[1]),
    }
    return Grid(
        xarray.Dataset(data, coords=axes, attrs={"num_validation": 100}), {}, xarray.DataArray(), [], None
    )


def test_figure_of_one_axis_shows_every_seed_and_the_median():
    grid = grid_of(learning_rate=[0.01, 0.1, 1.0])
    accuracy = 100 * grid.validation_accuracy.isel(epoch=-1)
    (axes,) = sweep_figure(grid, "digits").axes
    *dots, median = axes.lines
    np.testing.assert_allclose([line.get_ydata() for line in dots], accuracy.transpose("seed", ...))
    x, y = median.get_data()
    np.testing.assert_allclose(x, [0.01, 0.1, 1.0])
    np.testing.assert_allclose(y, accuracy.median("seed"))
    assert (axes.get_xscale(), axes.get_ylabel()) == ("log", "validation accuracy (%)")


def test_figure_of_names_labels_them():
    (axes,) = sweep_figure(grid_of(schedule=["constant", "cosine"]), "digits").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["constant", "cosine"]


def test_figure_of_two_axes_is_a_heat_map():
    grid = grid_of(hidden=[10, 30], learning_rate=[0.5, 1.0, 3.0])
    axes = sweep_figure(grid, "digits").axes[0]
    accuracy = 100 * grid.validation_accuracy.isel(epoch=-1)
    np.testing.assert_allclose(axes.images[0].get_array(), accuracy.median("seed"))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["10", "30"]
    assert len(axes.texts) == 6


def test_figure_without_counts_shows_costs():
    grid = grid_of(learning_rate=[0.01, 0.1])
    grid = replace(grid, data=grid.data.drop_vars("validation_correct"))
    (axes,) = sweep_figure(grid, "arrays").axes
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), grid.validation_cost.isel(epoch=-1).median("seed"))
    assert axes.get_ylabel() == "validation cost"

"""The parts that all experiments share: flags, records, claims and folders."""

import json

import numpy as np
import pytest
from PIL import Image

import nnjax
from experiments import catalog, experiment, records
from experiments.experiment import Claim, Experiment, Flags, RunContext
from experiments.records import is_current, read_record
from experiments.stuck_outputs import has_stuck_output, recall


def toy(**change):
    def run(context):
        return {"values": np.arange(context.seeds), "nothing": float("nan")}

    def plot(record):
        from matplotlib import pyplot

        figure, axis = pyplot.subplots()
        axis.plot(record["values"])
        return figure

    def claims(record):
        return [Claim("There is a first", "0", str(record["values"][0]), supported=True)]

    fields = {"run": run, "plot": plot, "claims": claims}
    fields |= {"seeds": 20, "epochs": 30, "constants": {"rates": (1, 2)}} | change
    return Experiment("toy", "A toy.", **fields)


def quick(folder, **change):
    return Flags(quick=True, output=folder, **change)


def test_flags_are_resolved_to_the_experiments_own_numbers():
    full, short = toy().resolve(Flags()), toy().resolve(Flags(quick=True))
    assert (full.dataset, full.seeds, full.epochs) == ("mnist", 20, 30)
    assert (short.dataset, short.seeds, short.epochs) == ("digits", 2, 3)
    assert toy().resolve(Flags(quick=True, seeds=7, epochs=9)).seeds == 7
    assert toy(seeds=1, epochs=1).resolve(Flags(quick=True)).epochs == 1


def test_flags_that_an_experiment_does_not_use_change_nothing():
    fixed = toy(uses=())
    assert fixed.resolve(Flags(dataset="digits", seeds=3, epochs=2)) == fixed.resolve(Flags())
    assert toy(uses=("seeds",)).resolve(Flags(dataset="digits", seeds=3)).seeds == 3


def test_only_the_full_run_on_mnist_goes_to_the_committed_results():
    assert toy().folder(Flags()) == records.RESULTS
    for flags in (Flags(quick=True), Flags(dataset="digits"), Flags(seeds=3), Flags(epochs=2)):
        assert experiment.SCRATCH_DIR in toy().folder(flags).parents


def test_a_record_has_format_settings_and_provenance_and_can_be_read(tmp_path):
    made = toy().run_and_record(quick(tmp_path))
    assert made == read_record("toy", tmp_path)
    assert made["format"] == 2
    assert made["settings"] == {"dataset": "digits", "seeds": 2, "epochs": 3, "quick": True, "rates": [1, 2]}
    assert {"versions", "devices", "cores", "commit", "seconds"} <= set(made)
    assert made["values"] == [0, 1]
    assert made["nothing"] is None
    with Image.open(tmp_path / "toy.png") as picture:
        assert picture.size[0] > 300


def test_a_full_run_has_a_vector_figure_and_the_same_record_gives_the_same_one(tmp_path):
    made = toy(uses=()).run_and_record(Flags(output=tmp_path))
    first = (tmp_path / "toy.svg").read_bytes()
    toy().draw(made, tmp_path)
    assert (tmp_path / "toy.svg").read_bytes() == first


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"format": 2, "experiment": "other", "settings": {}}', "null"]
)
def test_a_damaged_record_raises_an_error_that_names_it(tmp_path, content):
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(ValueError, match=r"toy\.json must be a record of toy"):
        read_record("toy", tmp_path)


@pytest.mark.parametrize(("version", "named"), [({}, 1), ({"format": 3}, 3)])
def test_a_record_of_another_format_raises_an_error_that_names_the_format(tmp_path, version, named):
    (tmp_path / "toy.json").write_text(json.dumps(version | {"experiment": "toy", "settings": {}}))
    with pytest.raises(ValueError, match=rf"must have record format 2, got format {named}: run toy again"):
        read_record("toy", tmp_path)


def test_a_record_is_current_if_its_settings_are_equal_and_missing_fields_have_defaults():
    config = nnjax.TrainConfig(hidden=(7,)).to_json()
    settings = {"seeds": 2, "config": config, "setups": {"a": {"config": config}}}
    record = json.loads(json.dumps({"settings": settings}))
    assert is_current(record, settings)
    del record["settings"]["config"]["ema_decay"], record["settings"]["setups"]["a"]["config"]["l1"]
    assert is_current(record, settings)
    assert not is_current(record, settings | {"seeds": 3})
    assert not is_current(record, settings | {"config": config | {"hidden": [8]}})
    record["settings"]["config"]["gone"] = 1
    assert not is_current(record, settings)


def test_all_settings_are_exact_by_construction():
    """No float has more than six significant digits: those that exp or log compute have more."""

    def floats(value):
        if isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                yield from floats(part)
        elif isinstance(value, float):
            yield value

    for name in catalog.NAMES:
        e = catalog.find(name)
        for number in floats(e.fingerprint(e.resolve(Flags()))):
            assert float(f"{number:.6g}") == number, (name, number)


def test_a_folder_that_is_not_writable_raises_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    ran = []
    with pytest.raises(ValueError, match="write"):
        toy(run=ran.append).run_and_record(quick(tmp_path / "file"))
    assert not ran


def test_a_figure_is_never_older_than_its_record(tmp_path):
    toy().run_and_record(quick(tmp_path))
    with pytest.raises(ZeroDivisionError):
        toy(plot=lambda record: 1 / 0).run_and_record(quick(tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["toy.json"]


@pytest.mark.slow
def test_an_interrupted_experiment_resumes_after_its_finished_sweeps(tmp_path, advanced):
    earlier_s = 100.0
    messages = []

    def run(context):
        data, config = context.load(), nnjax.TrainConfig(batch_size=100)
        grids = [context.sweep(1, config, data, learning_rate=rate) for rate in (0.5, 3.0)]
        if len(messages) == 8:
            (tmp_path / ".unfinished" / "toy" / "seconds").write_text(str(earlier_s))
            raise KeyboardInterrupt
        return {"values": np.stack([g.test_correct for g in grids]).ravel()}

    flags = Flags(dataset="digits", seeds=2, epochs=4, output=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        toy(run=run).run_and_record(flags, messages.append)
    assert messages[3] == "0 of 2 networks, epoch 4 of 4"
    assert not (tmp_path / "toy.json").exists()
    record = toy(run=run).run_and_record(flags, messages.append)
    assert len(advanced) == 8
    assert len(record["values"]) == 16
    assert record["seconds"] > earlier_s
    assert not list((tmp_path / ".unfinished").iterdir())


def test_numbers_of_the_book_are_judged_for_full_runs_on_mnist_only():
    def supported(**settings):
        record = {"values": [0], "settings": {"dataset": "mnist", "quick": False} | settings}
        return [claim.supported for claim in toy().judged_claims(record)]

    assert supported() == [True]
    assert supported(dataset="digits") == [None]
    assert supported(quick=True) == [None]


@pytest.mark.parametrize(
    "flags", [Flags(seeds=0), Flags(epochs=-1), Flags(dataset="minst"), Flags(quick=True, seeds=0)]
)
def test_wrong_flags_raise(flags):
    with pytest.raises(ValueError, match=r"must be a positive integer|did you mean 'mnist'"):
        toy().resolve(flags)


@pytest.mark.slow
def test_a_quick_sweep_trains_the_same_networks_as_a_full_one(digits):
    """A quick run only limits the networks of each program."""
    config = nnjax.TrainConfig(hidden=(5,))
    grids = [
        RunContext("digits", 2, 2, quick).sweep(3, config, digits, learning_rate=(0.3, 3.0))
        for quick in (True, False)
    ]
    np.testing.assert_allclose(*(grid.train_cost.values for grid in grids), rtol=1e-4)


def test_an_output_is_stuck_if_a_digit_is_hardly_recognized():
    good, blind = np.diag([10, 10, 10]), np.array([[10, 0, 0], [0, 10, 0], [6, 0, 4]])
    assert recall(blind).tolist() == [1.0, 1.0, 0.4]
    assert has_stuck_output([recall(good), recall(blind)]).tolist() == [False, True]

"""`python -m experiments`: what it runs, what it writes, and its exit codes."""

import pytest

from experiments import catalog, experiment, records, report
from experiments.__main__ import main
from experiments.console import Clock
from experiments.experiment import Flags
from experiments.records import read_record
from toys import RAN, install, toy


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a catalog of toys, and returns the exit code."""

    def ran(*experiments, arguments=(), quick=True):
        install(monkeypatch, *experiments)
        return main([*arguments, *(["--quick"] if quick else []), "--output", str(tmp_path)])

    return ran


def test_all_experiments_run_once_in_order(run, tmp_path):
    assert run(toy("b"), toy("a")) == 0
    assert RAN == ["b", "a"]
    assert all((tmp_path / f"{name}.{kind}").exists() for name in "ab" for kind in ("json", "png"))
    assert (tmp_path / "report" / "index.html").exists()


def test_only_named_experiments_run_in_order(run, tmp_path):
    assert run(toy("b"), toy("a"), toy("c"), arguments=["c", "b", "c"]) == 0
    assert RAN == ["b", "c"]
    assert "there is no record with these settings" in (tmp_path / "report" / "index.html").read_text()


def test_experiments_with_a_current_record_are_skipped(run, capsys):
    run(toy("a"))
    assert run(toy("a")) == 0
    assert RAN == []
    assert "a: already done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "arguments"),
    [
        (toy("a"), ["--again"]),
        (toy("a"), ["--seeds", "3"]),
        (toy("a"), ["--dataset", "kmnist"]),
        (toy("a", constants={"rate": 3.0}), []),
    ],
)
def test_an_experiment_runs_again_with_other_settings_or_the_flag_again(run, changed, arguments):
    run(toy("a"))
    assert run(changed, arguments=arguments) == 0
    assert RAN == ["a"]


def test_a_damaged_record_is_named_and_run_again(run, tmp_path, capsys):
    run(toy("a"), toy("b"))
    (tmp_path / "a.json").write_text('{"experiment": "a"')
    assert run(toy("a"), toy("b")) == 0
    assert RAN == ["a"]
    assert "a.json must be a record of a" in capsys.readouterr().out
    assert read_record("a", tmp_path)["values"] == [0, 1]


def test_a_missing_figure_is_drawn_from_its_record(run, tmp_path):
    run(toy("a"))
    (tmp_path / "a.png").unlink()
    assert run(toy("a")) == 0
    assert RAN == []
    assert (tmp_path / "a.png").exists()


def test_a_failure_does_not_stop_the_others_and_is_reported_at_the_end(run, tmp_path, capsys):
    broken = toy("broken", fails=RuntimeError("out of [paper]"))
    assert run(toy("a"), broken, toy("b")) == 1
    assert RAN == ["a", "broken", "b"]
    end = capsys.readouterr().out.partition("report in")[2]
    assert "1 of 3 experiments failed" in end
    assert "broken: RuntimeError: out of [paper]" in end
    html = (tmp_path / "report" / "index.html").read_text()
    assert "<strong>Not run.</strong> RuntimeError: out of [paper]" in html
    assert "b &lt;counts&gt;" in html


def test_an_experiment_that_cannot_be_imported_fails(run, capsys):
    assert run("nowhere", toy("a")) == 1
    assert RAN == ["a"]
    assert "nowhere: ModuleNotFoundError" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["values", "processor", "seconds", "commit"])
def test_a_record_that_the_report_cannot_use_is_named_and_run_again(run, tmp_path, capsys, part):
    run(toy("a"), toy("b"))
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace(f'"{part}"', '"other"'))
    assert run(toy("a"), toy("b"), arguments=["b"]) == 0
    assert "<strong>Not run.</strong> ValueError" in (tmp_path / "report" / "index.html").read_text()
    assert run(toy("a"), toy("b")) == 0
    assert RAN == ["a"]
    assert f"the record of a is damaged: KeyError: '{part}'" in capsys.readouterr().out
    assert "Not run" not in (tmp_path / "report" / "index.html").read_text()


def test_an_empty_figure_is_drawn_again(run, tmp_path):
    run(toy("a"))
    (tmp_path / "a.png").write_bytes(b"")
    assert run(toy("a")) == 0
    assert (tmp_path / "a.png").stat().st_size > 500


def test_an_error_in_the_report_is_a_failure(run, monkeypatch, capsys):
    monkeypatch.setattr(experiment.Experiment, "judged_claims", lambda *_: 1 / 0)
    assert run(toy("a")) == 1
    assert "a: ZeroDivisionError" in capsys.readouterr().out


def test_without_matplotlib_nothing_runs(run, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "find_spec", lambda name: None)
    assert run(toy("a")) == 2
    assert RAN == []
    assert 'pip install -e ".[experiments]"' in capsys.readouterr().err


def test_an_unknown_name_suggests_the_nearest(capsys):
    assert main(["depht"]) == 2
    assert "did you mean 'depth'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "seeds must be a positive integer, got 0"),
        (["--epochs", "-1"], "epochs must be a positive integer"),
        (["--dataset", "minst"], "did you mean 'mnist'?"),
    ],
)
def test_wrong_arguments_give_one_line_before_anything_runs(run, capsys, arguments, message):
    assert run(toy("a"), arguments=arguments) == 2
    assert RAN == []
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_that_is_not_writable_gives_one_line(monkeypatch, tmp_path, capsys):
    install(monkeypatch, toy("a"))
    (tmp_path / "file").write_text("")
    assert main(["--quick", "--output", str(tmp_path / "file")]) == 2
    assert RAN == []
    error = capsys.readouterr().err
    assert error.startswith("experiments: error: ")
    assert error.count("\n") == 1


def test_ctrl_c_names_what_is_finished(run, capsys):
    assert run(toy("a"), toy("b", fails=KeyboardInterrupt()), toy("c")) == 130
    assert RAN == ["a", "b"]
    assert "interrupted in b; finished: a" in capsys.readouterr().out


def test_the_report_of_a_full_run_is_in_the_root_of_the_clone():
    assert report.report_dir([toy()], Flags()) == records.ROOT / "report"
    assert report.report_dir([toy()], Flags(quick=True)) == experiment.SCRATCH_DIR / "quick" / "report"
    # for one of them, one seed is the full run
    assert (
        report.report_dir([toy(seeds=1), toy()], Flags(seeds=1))
        == experiment.SCRATCH_DIR / "results" / "report"
    )


@pytest.mark.parametrize("name", catalog.NAMES)
def test_every_experiment_of_the_catalog_exists(name):
    member = catalog.find(name)
    assert member.name == name
    assert (member.about or "").partition("\n")[0].endswith((".", "?"))


def test_the_remaining_time_is_estimated_from_finished_experiments():
    clock = Clock([60, 60, 60, 60])
    assert clock.left(running=0) == 240
    assert clock.left(running=100) == 180
    clock.taken = [120, 120]
    assert 2 * 60 < clock.left(running=0) < 4 * 60
    clock.taken = [60, 60, 60, 60]
    assert clock.left(running=0) == 0
    assert Clock([0, 0]).left(running=5) == 0


def test_the_ladder_runs_only_if_it_is_named_or_in_a_quick_run(monkeypatch, run):
    monkeypatch.setattr(catalog, "ONLY_BY_NAME", ("b",))
    assert catalog.default_names(quick=True)[-1] == "ladder"
    assert run(toy("a", uses=()), toy("b", uses=()), quick=False) == 0
    assert RAN == ["a"]
    assert run(toy("a", uses=()), toy("b", uses=()), quick=False, arguments=["b"]) == 0
    assert RAN == ["b"]
    assert run(toy("a"), toy("b"), arguments=["--again"]) == 0
    assert RAN == ["a", "b"]


def test_a_record_of_an_older_format_is_run_again(run, tmp_path, capsys):
    run(toy("a"))
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    assert run(toy("a")) == 0
    assert RAN == ["a"]
    assert "must have record format 2, got format 1" in capsys.readouterr().out

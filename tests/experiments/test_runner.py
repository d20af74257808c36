"""`python -m experiments`: what it runs, what it leaves, and how it ends."""

import pytest

from experiments import catalog, evidence, report
from experiments.__main__ import main
from experiments.evidence import Flags
from experiments.progress import Clock
from toys import RAN, install, toy


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a catalog of toys into a folder; return the exit code."""

    def ran(*experiments, arguments=(), quick=True):
        install(monkeypatch, *experiments)
        return main([*arguments, *(["--quick"] if quick else []), "--output", str(tmp_path)])

    return ran


def test_all_run_once_in_the_chapters_order(run, tmp_path):
    assert run(toy("b"), toy("a")) == 0
    assert RAN == ["b", "a"]
    assert all((tmp_path / f"{name}.{kind}").exists() for name in "ab" for kind in ("json", "png", "svg"))
    assert (tmp_path / "report" / "index.html").exists()


def test_named_ones_run_alone_in_the_chapters_order(run, tmp_path):
    assert run(toy("b"), toy("a"), toy("c"), arguments=["c", "b", "c"]) == 0
    assert RAN == ["b", "c"]
    assert "there is no record with these settings" in (tmp_path / "report" / "index.html").read_text()


def test_what_is_done_with_the_same_settings_is_not_done_again(run, capsys):
    run(toy("a"))
    assert run(toy("a")) == 0
    assert RAN == []
    assert "a: done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("experiment", "arguments"),
    [
        (toy("a"), ["--again"]),
        (toy("a"), ["--seeds", "3"]),
        (toy("a"), ["--dataset", "kmnist"]),
        (toy("a", constants={"rate": 3.0}), []),
    ],
)
def test_other_settings_or_again_run_again(run, experiment, arguments):
    run(toy("a"))
    assert run(experiment, arguments=arguments) == 0
    assert RAN == ["a"]


def test_a_damaged_record_is_named_and_run_again(run, tmp_path, capsys):
    run(toy("a"), toy("b"))
    (tmp_path / "a.json").write_text('{"experiment": "a"')
    assert run(toy("a"), toy("b")) == 0
    assert RAN == ["a"]
    assert "a.json is no record of a" in capsys.readouterr().out
    assert evidence.read("a", tmp_path)["values"] == [0, 1]


def test_a_figure_that_is_missing_is_drawn_from_its_record(run, tmp_path):
    run(toy("a"))
    (tmp_path / "a.png").unlink()
    assert run(toy("a")) == 0
    assert RAN == []
    assert (tmp_path / "a.png").exists()


def test_a_failure_stops_no_other_and_is_told_at_the_end(run, tmp_path, capsys):
    broken = toy("broken", fails=RuntimeError("out of [paper]"))
    assert run(toy("a"), broken, toy("b")) == 1
    assert RAN == ["a", "broken", "b"]
    end = capsys.readouterr().out.partition("report in")[2]
    assert "1 of 3 experiments failed" in end
    assert "broken: RuntimeError: out of [paper]" in end
    html = (tmp_path / "report" / "index.html").read_text()
    assert "<strong>Not run.</strong> RuntimeError: out of [paper]" in html
    assert "b &lt;counts&gt;" in html


def test_an_experiment_that_cannot_be_imported_has_failed(run, capsys):
    assert run("nowhere", toy("a")) == 1
    assert RAN == ["a"]
    assert "nowhere: ModuleNotFoundError" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["values", "processor", "seconds", "commit"])
def test_a_record_without_what_the_report_needs_is_named_and_run_again(run, tmp_path, capsys, part):
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
    (tmp_path / "a.svg").write_bytes(b"")
    assert run(toy("a")) == 0
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_what_keeps_a_record_out_of_the_report_is_a_failure(run, monkeypatch, capsys):
    monkeypatch.setattr(evidence.Experiment, "verdicts", lambda *_: 1 / 0)
    assert run(toy("a")) == 1
    assert "a: ZeroDivisionError" in capsys.readouterr().out


def test_without_matplotlib_it_says_so_before_anything_runs(run, monkeypatch, capsys):
    monkeypatch.setattr(evidence, "find_spec", lambda name: None)
    assert run(toy("a")) == 2
    assert RAN == []
    assert 'pip install -e ".[experiments]"' in capsys.readouterr().err


def test_an_unknown_name_suggests_the_nearest(capsys):
    assert main(["depht"]) == 2
    assert "did you mean 'depth'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seeds", "0"], "seeds must be 1 or more, not 0"),
        (["--epochs", "-1"], "epochs must be 1 or more"),
        (["--dataset", "minst"], "did you mean 'mnist'?"),
    ],
)
def test_bad_settings_are_told_in_one_line_before_anything_runs(run, capsys, arguments, told):
    assert run(toy("a"), arguments=arguments) == 2
    assert RAN == []
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_told_in_one_line(monkeypatch, tmp_path, capsys):
    install(monkeypatch, toy("a"))
    (tmp_path / "file").write_text("")
    assert main(["--quick", "--output", str(tmp_path / "file")]) == 2
    assert RAN == []
    error = capsys.readouterr().err
    assert error.startswith("experiments: error: cannot write into")
    assert error.count("\n") == 1


def test_ctrl_c_says_what_is_done(run, capsys):
    assert run(toy("a"), toy("b", fails=KeyboardInterrupt()), toy("c")) == 130
    assert RAN == ["a", "b"]
    assert "interrupted in b; done are: a" in capsys.readouterr().out


def test_the_report_of_a_full_run_lies_at_the_clones_root():
    assert report.place([toy()], Flags()) == evidence.ROOT / "report"
    assert report.place([toy()], Flags(quick=True)) == evidence.ELSEWHERE / "quick" / "report"
    # one seed is the whole run of one of them, not of the other
    assert report.place([toy(seeds=1), toy()], Flags(seeds=1)) == evidence.ELSEWHERE / "results" / "report"


@pytest.mark.parametrize("name", catalog.NAMES)
def test_every_experiment_of_the_catalog_is_there(name):
    experiment = catalog.find(name)
    assert experiment.name == name
    assert (experiment.about or "").partition("\n")[0].endswith((".", "?"))


def test_the_time_left_follows_what_the_finished_ones_took():
    clock = Clock([60, 60, 60, 60])
    assert clock.left(running=0) == 240
    assert clock.left(running=100) == 180
    clock.taken = [120, 120]
    assert 2 * 60 < clock.left(running=0) < 4 * 60
    clock.taken = [60, 60, 60, 60]
    assert clock.left(running=0) == 0
    assert Clock([0, 0]).left(running=5) == 0

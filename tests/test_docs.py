"""The guide keeps its word: its code prints what it says, its tables are those of the records."""

import re

import numpy as np
import pytest

import nnjax
from documents import links, run_python
from experiments import catalog, evidence, tables
from experiments.first_network import EXPERIMENT as FIRST
from experiments.smoothness import EXPERIMENT as SMOOTHNESS

TEXT = tables.GUIDE.read_text()


@pytest.mark.slow
def test_every_block_prints_what_stands_below_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    blocks, names = run_python(TEXT)
    for code, printed in blocks:
        assert len(code.splitlines()) <= 15, code
        assert [f"#: {line}" for line in printed.splitlines()] == re.findall("(?m)^#: .*", code)
    assert names["trained"].history.test_correct[-1] > 0.9 * len(names["data"].test.targets)


def test_every_experiment_has_its_figure_and_its_table():
    shown = re.findall(r"!\[[^]]{40,}\]\(\.\./experiments/results/(\w+)\.png\)", TEXT)
    told = re.findall(r"<!-- claims (\w+) -->", TEXT)
    assert shown == told
    assert sorted(shown) == sorted(catalog.NAMES)


def test_what_it_links_to_is_there():
    found = set(links(tables.GUIDE))
    assert evidence.RESULTS in found
    assert [link for link in found if not link.exists()] == []


def test_every_committed_record_is_of_the_present_settings_and_shows_what_it_must():
    records = {name: catalog.done(catalog.find(name), evidence.Flags()) for name in catalog.NAMES}
    assert [name for name, record in records.items() if record is None] == []
    baselines, first = records["baselines"], records["first_network"]
    assert baselines["methods"]["average darkness"]["correct"] == [2225]
    assert baselines["methods"]["SVM, tuned"]["correct"][0] >= 9845
    right = np.array(first["runs"][0]["test_correct"])
    assert right.shape == (20, 30)
    assert right[:, -1].mean() >= 9470
    assert np.median(right[:, 0]) >= 8800


def test_the_ladder_reaches_what_two_cores_were_to_reach():
    ladder = catalog.done(catalog.find("ladder"), evidence.Flags())
    assert ladder is not None
    rows = {row["name"]: row for row in ladder["rungs"]}
    means = {name: np.mean(row["test_correct"]) for name, row in rows.items()}
    assert means["dropout"] >= 9860
    assert means["distorted images"] >= 9920
    assert means["convolution"] >= 9940
    assert rows["convolution"]["seconds"] <= 20 * 60


def test_tables_are_those_of_the_records():
    assert tables.written(TEXT, tables.DOCUMENTS[tables.GUIDE]) == TEXT
    with pytest.raises(ValueError, match="0 places for the table 'claims depth'"):
        tables.written(TEXT.replace("<!-- claims depth -->", ""), tables.DOCUMENTS[tables.GUIDE])


@pytest.mark.parametrize(
    "name", ["scaling.md", "speed.md", "ladder.md", "blocked.md", "reproducibility.md", "decisions.md"]
)
def test_the_other_documents_link_to_what_is_there(name):
    assert [link for link in links(tables.GUIDE.parent / name) if not link.exists()] == []


@pytest.mark.parametrize("document", [tables.SCALING, tables.SPEED, tables.LADDER])
def test_the_tables_of_benchmarks_are_those_of_their_records(document):
    text = document.read_text()
    assert tables.written(text, tables.DOCUMENTS[document]) == text


@pytest.mark.slow
def test_the_python_of_the_ladder_trains_one_and_several(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
    few = nnjax.Dataset.from_arrays((images, np.arange(60) % 10), test=(images, np.arange(60) % 10))
    monkeypatch.setattr(nnjax, "load", {"mnist": few}.get)
    _, names = run_python(tables.LADDER.read_text())
    assert names["run"].history.test_correct.shape == (20,)
    assert names["grid"].test_correct.sizes == {"seed": 5, "epoch": 20}


def test_a_table_is_written_between_its_marks_and_nowhere_else():
    made = {"a": lambda: r"| \1 | 2 |", "b": lambda: "two"}
    text = "x\n<!-- a -->\n<!-- /a -->\ny\n<!-- b -->\nold\nold\n<!-- /b -->\nz\n"
    once = tables.written(text, made)
    assert once == "x\n<!-- a -->\n| \\1 | 2 |\n<!-- /a -->\ny\n<!-- b -->\ntwo\n<!-- /b -->\nz\n"
    assert tables.written(once, made) == once


@pytest.mark.parametrize(
    "content", [None, "{", '{"experiment": "smoothness", "settings": {"seeds": 0}}'],
    ids=["missing", "damaged", "stale"],
)  # fmt: skip
def test_without_a_record_it_is_not_run_yet(monkeypatch, tmp_path, content):
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    if content:
        (tmp_path / "smoothness.json").write_text(content)
    assert tables.of_experiment("smoothness", tables.claims_table) == tables.NOT_YET


def test_with_a_record_its_table_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    record = SMOOTHNESS.make(evidence.Flags())
    told = tables.of_experiment("smoothness", tables.claims_table)
    assert told == tables.claims_table(record)
    assert "| yes |" in told


@pytest.mark.parametrize("experiment", [SMOOTHNESS, FIRST], ids=lambda e: e.name)
def test_a_table_of_claims_has_a_row_for_each(quick_record, experiment):
    record = quick_record(experiment)
    head, _, *rows, empty, note = tables.claims_table(record).splitlines()
    claims = experiment.verdicts(record)
    assert len(rows) == len(claims)
    assert (empty, note.split("; ")[0]) == ("", f"`python -m experiments.{experiment.name}`")
    for row, claim in zip(rows, claims, strict=True):
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert cells[:3] == ["*ours:* " * (not claim.of_the_chapter) + claim.says, claim.book, claim.ours]
        assert cells[3] == {True: "yes", False: "no", None: "–"}[claim.holds]
    assert len(re.findall(r"(?<!\\)\|", head)) == 5


def test_the_readme_s_table_reads_the_record_of_the_chapter_s_runs(quick_record):
    table = tables.learning_table(quick_record(FIRST))
    assert "| [784, 30, 10], η = 3 | 9,028 → 9,485 |" in table
    assert "2 seeds each, 5 epochs, mini-batches of 10;" in table

"""The documentation: its code prints the documented output, its links exist, its tables are current."""

import re
from pathlib import Path

import numpy as np
import pytest

import nnjax
from docs import build_tables
from documents import DOCS, ROOT, broken_links, equal_up_to_rounding, expected_output, run_python
from experiments import catalog, tables
from experiments import records as experiment_records
from experiments.experiment import Flags

CHAPTER, EXTENDING, LADDER = (DOCS / f"{name}.md" for name in ("chapter", "extending", "ladder"))
GUIDES = [DOCS / f"{name}.md" for name in ("getting_started", "sweeps", "tracking")]
ARCHITECTURE = DOCS / "architecture.md"
DOCUMENTS = [
    *sorted(DOCS.glob("*.md")),
    *(ROOT / f"{n}.md" for n in ("CHANGELOG", "CONTRIBUTING", "SECURITY")),
]


@pytest.fixture(scope="module")
def records():
    """The committed record of each experiment, or None if it was made with other settings."""
    return {name: catalog.find_record(catalog.find(name), Flags()) for name in catalog.NAMES}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "max_lines"),
    [(CHAPTER, 15), (EXTENDING, 20), *((guide, 20) for guide in GUIDES)],
    ids=lambda x: getattr(x, "stem", x),
)
def test_every_block_prints_the_documented_output(document, max_lines, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    blocks, _ = run_python(document.read_text())
    assert len(blocks) >= (2 if document in GUIDES else 8)
    for code, printed in blocks:
        assert len([line for line in code.splitlines() if line]) <= max_lines, code
        assert printed.splitlines() == expected_output(code)


@pytest.mark.slow
def test_the_python_of_the_ladder_trains(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
    few = nnjax.Dataset.from_arrays((images, np.arange(60) % 10), test=(images, np.arange(60) % 10))
    monkeypatch.setattr(nnjax, "load", {"mnist": few}.get)
    text, changes = LADDER.read_text(), "channels=(32, 64), epochs=20"
    assert changes in text
    _, names = run_python(text.replace(changes, "channels=(2, 4), epochs=2"))
    assert names["run"].history.test_correct.shape == (2,)


def test_the_chapter_shows_the_figure_of_every_experiment_and_describes_it():
    figures = re.findall(r"!\[[^]]{40,}\]\(\.\./experiments/results/(\w+)\.png\)", CHAPTER.read_text())
    assert sorted(figures) == sorted(set(catalog.NAMES) - {"ladder"})


def test_the_percentages_below_the_figures_are_those_of_the_results():
    """Each percentage is a number, rounded, of the same experiment's section of the results."""
    titles = re.findall(
        r"(?m)^## .*\n(?:.*\n)*?`python -m experiments (\w+)`", build_tables.RESULTS.read_text()
    )
    sections = dict(zip(titles, build_tables.RESULTS.read_text().split("\n## ")[1:], strict=True))
    below = re.findall(r"experiments/results/(\w+)\.png\)\n\n((?:.+\n)+)", CHAPTER.read_text())
    assert len(below) == len(catalog.NAMES) - 1
    for name, paragraph in below:
        measured = [float(x) for x in re.findall(r"\d+\.?\d*", sections[name].replace(",", ""))]
        for stated in re.findall(r"(\d+\.?\d*) %", paragraph):
            unit = 10.0 ** -len(stated.partition(".")[2])
            assert any(abs(x - float(stated)) < 0.51 * unit for x in measured), (name, stated)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_exist(document):
    assert broken_links(document) == []


def test_the_architecture_guide_names_existing_files_and_names():
    """Every file in the table "where to change what" exists and contains the names that follow it."""
    text = ARCHITECTURE.read_text()
    rows = re.findall(r"(?m)^\| [^|]+ \| ([^|]*`[^|]*) \|$", text.partition("## Where to change what")[2])
    places = [part for row in rows for part in row.split(";") if "`" in part]
    assert len(places) > 40
    for place in places:
        path, *names = re.findall("`([^`]+)`", place)
        files = [ROOT / path] if Path(path).suffix else list((ROOT / path).rglob("*.py"))
        assert (ROOT / path).exists(), place
        text = "".join(file.read_text() for file in files)
        for name in names:
            assert (ROOT / name).exists() or re.search(rf"\b{name}\b", text), place


def test_the_architecture_guide_lists_every_room():
    listed = set(re.findall(r"(?m)^\| \d \| `nnjax/(\w+)(?:\.py)?` \|", ARCHITECTURE.read_text()))
    package = ROOT / "nnjax"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.stem for path in package.glob("[a-z]*.py")}
    assert listed == rooms | modules


def test_the_committed_records_have_the_current_settings(records):
    assert [name for name, record in records.items() if record is None] == []


def test_the_committed_records_agree_with_the_book(records):
    baselines, first = records["baselines"], records["first_network"]
    assert baselines["methods"]["average darkness"]["correct"] == [2225]
    assert baselines["methods"]["SVM, tuned"]["correct"][0] >= 9845
    correct = np.array(first["runs"][0]["test_correct"])
    assert correct.shape == (20, 30)
    assert correct[:, -1].mean() >= 9470
    assert np.median(correct[:, 0]) >= 8800


def test_the_ladder_reaches_its_goals_for_two_cores(records):
    steps = {step["name"]: step for step in records["ladder"]["steps"]}
    means = {name: np.mean(step["test_correct"]) for name, step in steps.items()}
    assert means["dropout"] >= 9860
    assert means["augmentation"] >= 9920
    assert means["convolution"] >= 9940
    assert steps["convolution"]["seconds"] <= 20 * 60


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(path, marks=pytest.mark.slow) if path == build_tables.LEADERBOARD else path
        for path in build_tables.DOCUMENTS
    ],
    ids=lambda path: path.name,
)
def test_the_tables_are_current(document):
    text = document.read_text()
    assert equal_up_to_rounding(text, build_tables.replace_tables(text, build_tables.DOCUMENTS[document]))


def test_the_results_page_is_current_and_has_every_experiment():
    text = build_tables.RESULTS.read_text()
    assert equal_up_to_rounding(text, build_tables.results_page())
    assert re.findall(r"`python -m experiments (\w+)`", text) == list(catalog.NAMES)
    assert tables.NOT_RUN not in text


@pytest.mark.parametrize(
    "content",
    [None, "{", '{"format": 2, "experiment": "smoothness", "settings": {"seeds": 0}}'],
    ids=["missing", "damaged", "other settings"],
)
def test_without_a_record_the_table_says_so(monkeypatch, tmp_path, content):
    monkeypatch.setattr(experiment_records, "RESULTS", tmp_path)
    if content:
        (tmp_path / "smoothness.json").write_text(content)
    assert tables.of_experiment("smoothness", str) == tables.NOT_RUN


def test_the_readme_table_shows_the_record(records):
    run = records["first_network"]["runs"][0]
    first, last = np.median(np.array(run["test_correct"])[:, [0, -1]], axis=0) / 100
    row = next(
        line for line in tables.learning_table(records["first_network"]).splitlines() if "[784, 30" in line
    )
    _, _, eta, book, after_first, after_last, *_ = (cell.strip() for cell in row.split("|"))
    assert (eta, book) == ("3", "90.28 % → 94.85 %")
    assert float(after_first.split()[0]) == pytest.approx(first, abs=0.051)
    assert float(after_last.split()[0]) == pytest.approx(last, abs=0.051)


def test_a_table_is_written_between_its_markers_and_nowhere_else():
    tables = {"a": lambda: r"| \1 | 2 |", "b": lambda: "two"}
    text = "x\n<!-- a -->\n<!-- /a -->\ny\n<!-- b -->\nold\nold\n<!-- /b -->\nz\n"
    once = build_tables.replace_tables(text, tables)
    assert once == "x\n<!-- a -->\n| \\1 | 2 |\n<!-- /a -->\ny\n<!-- b -->\ntwo\n<!-- /b -->\nz\n"
    assert build_tables.replace_tables(once, tables) == once


@pytest.mark.parametrize(
    "text", ["", "<!-- a -->\n<!-- /a -->\n<!-- a -->\n<!-- /a -->\n"], ids=["none", "two"]
)
def test_a_table_without_exactly_one_pair_of_markers_raises(text):
    with pytest.raises(ValueError, match="a"):
        build_tables.replace_tables(text, {"a": lambda: "table"})


@pytest.mark.parametrize(
    ("text", "other", "equal"),
    [
        ("| 94.85 (0.1) |", "| 94.86 (0.1) |", True),
        ("| 94.85 |", "| 94.87 |", False),
        ("| 4.5e-05 |", "| 4.6e-05 |", True),
        ("| 9,485 |", "| 9,486 |", False),
        ("| 94.85 | yes |", "| 94.85 | no |", False),
    ],
)
def test_tables_are_compared_up_to_rounding(text, other, equal):
    assert equal_up_to_rounding(text, other) == equal

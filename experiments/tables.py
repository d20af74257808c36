"""Write the tables of README and guide from the committed records, so that no number is typed by hand.

python -m experiments.tables
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.tables import (
    devices_table,
    grid,
    growth_table,
    machine,
    networks_table,
    of_benchmark,
    population_line,
    population_table,
    recipe_line,
    speed_table,
    start_line,
    start_table,
    time_table,
)
from experiments import catalog
from experiments.evidence import ROOT, Flags, Record, percent
from experiments.ladder_figure import MARKS
from experiments.progress import duration, where_the_time_went
from experiments.statistics import stuck, student

NOT_YET = "*not run yet*"


def learning_table(record: Record) -> str:
    """The chapter's runs beside the book's numbers."""
    rows = []
    for r in record["runs"]:
        right = np.asarray(r["test_correct"])
        last = right[:, -1]
        rows.append(
            (
                f"[784, {r['hidden']}, 10], η = {r['learning_rate']:g}",
                _book(*r["book"]),
                f"{np.median(right[:, 0]):,.0f}",
                f"{np.median(last):,.0f} ({last.min():,} to {last.max():,})",
            )
        )
    s = record["settings"]
    wide, recall = (np.asarray(record["runs"][1][what]) for what in ("test_correct", "recall"))
    reach = wide[:, -1] >= 9600
    lines = grid(
        [
            *("network, η", "the book"),
            *("ours after one epoch, median", "ours at the end: median (least to most)"),
        ],
        rows,
    )
    lines.append(
        f"Test images right of {record['test_examples']:,}; {s['seeds']} seeds each, {s['epochs']} epochs, "
        f"mini-batches of {s['batch_size']}; mean of the first row "
        f"{np.mean(np.asarray(record['runs'][0]['test_correct'])[:, -1]):,.0f}; "
        f"of the networks with 100 hidden neurons {np.sum(reach)} reach 9,600, and {np.sum(stuck(recall))} "
        "read at least one digit less than half the time: its output neuron is stuck; a network of the first "
        f"row takes {record['runs'][0]['seconds_per_epoch']:.2f} s an epoch on {machine(record)}."
    )
    return "\n".join(lines)


def _book(first: int | None, last: Any) -> str:
    end = "{:,} to {:,}".format(*last) if isinstance(last, list) else f"{last:,}"
    return end if first is None else f"{first:,} → {end}"


def claims_table(record: Record) -> str:
    """What the chapter says beside what an experiment found, and what the run took."""
    experiment, s = catalog.find(record["experiment"]), record["settings"]
    rows = []
    for claim in experiment.verdicts(record):
        says = claim.says if claim.of_the_chapter else f"*ours:* {claim.says}"
        cells = says, claim.book, claim.ours, {True: "yes", False: "no", None: "–"}[claim.holds]
        rows.append([cell.replace("|", r"\|") for cell in cells])
    counts = [f"{s[what]} {what}" for what in ("seeds", "epochs") if s[what] > 1]
    took = f"{duration(record['seconds'])} on {machine(record)}"
    made = "; ".join([f"`python -m experiments.{experiment.name}`", *counts, took])
    return "\n".join([*grid(["claim", "the book", "here", "holds"], rows), f"{made}."])


def ladder_table(record: Record) -> str:
    """What each rung reads, what it adds to the one below, and what it takes."""
    rows, below, before = [], None, {}
    for i, r in enumerate(record["rungs"], 1):
        right = percent(r["test_correct"], record["test_examples"])
        mean, (low, high) = float(np.mean(right)), student(right)
        rows.append(
            (
                f"{i}. {r['name']}",
                f"{mean:.2f} ({low:.2f} to {high:.2f}, n = {len(right)})",
                "" if below is None else _gained(below, mean),
                f"{r['parameters']:,}",
                f"{r['recipe']['epochs']}",
                duration(r["seconds"]),
                _changed(before, r["recipe"]),
            )
        )
        below, before = mean, r["recipe"]
    head = "rung", "test images right, %: mean (95 % interval)", "gains", "parameters", "epochs", "in", "with"
    note = (
        f"`python -m experiments.ladder`, {duration(record['seconds'])} on {machine(record)}. The "
        "time is that of one network, or of all in an ensemble: its share while as many train side by side "
        "as there are cores."
    )
    return "\n".join([*grid(head, rows), note])


def _gained(below: float, mean: float) -> str:
    """What a rung adds to the one below, in points and as a share of what that one reads wrong."""
    return f"{mean - below:+.2f}: {100 * (mean - below) / (100 - below):.0f} % of the errors"


WORDS = {"None": "none", "{}": "by default"}


def _changed(before: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """What a recipe has that the one before it had not."""
    parts, old = ({**r, **r.get("hyperparameters", {})} for r in (recipe, before))
    told = (
        f"{name.replace('_', ' ')} {WORDS.get(str(value), value)}"
        for name, value in parts.items()
        if before and name not in ("hyperparameters", "epochs") and old.get(name) != value
    )
    return re.sub("factory=|<function (.*?)>", r"\1", ", ".join(told))


def choices_table(record: Record) -> str:
    """What was tried on each rung, what validation images said of it, and which was taken."""
    rows = []
    for r in record["rungs"]:
        means = [np.mean(tried["validation_correct"]) for tried in r["tried"]]
        for tried, mean in zip(r["tried"], means, strict=True):
            changes = {name: value for name, value in tried.items() if name != "validation_correct"}
            told = ", ".join(f"{name} {value}" for name, value in changes.items())
            taken = tried is r["tried"][int(np.argmax(means))]
            rows.append((r["name"], f"**{told}**" if taken else told, f"{mean:,.0f}"))
    return "\n".join(grid(["rung", "tried (taken: bold)", "validation images right"], rows))


def marks_table(record: Record) -> str:
    """What others reached."""
    return "\n".join(
        grid(["test images right, %", "by", "told in"], [(f"{m.right:.2f}", m.by, m.source) for m in MARKS])
    )


def of_experiment(name: str, table: Callable[[Record], str]) -> str:
    """The table of an experiment's committed record, or that none was made with its present settings."""
    record = _record(name)
    return table(record) if record else NOT_YET


def _record(name: str) -> Record | None:
    """The committed record of an experiment; None where none was made with its present settings."""
    try:
        return catalog.done(catalog.find(name), Flags())
    except ValueError:
        return None


def of_all() -> str:
    """How long the committed runs took, or that some are missing."""
    records = [record for name in catalog.NAMES if (record := _record(name))]
    if len(records) < len(catalog.NAMES):
        return NOT_YET
    seconds = {record["experiment"]: record["seconds"] for record in records}
    return f"The runs behind this guide {where_the_time_went(seconds)} ({machine(records[0])})."


README, DOCS = ROOT / "README.md", ROOT / "docs"
GUIDE, SCALING, SPEED, LADDER = (DOCS / f"{name}.md" for name in ("chapter", "scaling", "speed", "ladder"))
# The tables of each document, by the name that marks their place.
DOCUMENTS = {
    README: {
        "learning": partial(of_experiment, "first_network", learning_table),
        "speed": partial(of_benchmark, "epoch", speed_table),
        "start": partial(of_benchmark, "start", start_line),
        "population": partial(of_benchmark, "population", population_line),
        "recipe": partial(of_benchmark, "recipe", recipe_line),
    },
    GUIDE: {f"claims {name}": partial(of_experiment, name, claims_table) for name in catalog.NAMES}
    | {"time": of_all},
    LADDER: {
        "ladder": partial(of_experiment, "ladder", ladder_table),
        "choices": partial(of_experiment, "ladder", choices_table),
        "claims ladder": partial(of_experiment, "ladder", claims_table),
        "marks": partial(of_experiment, "ladder", marks_table),
        "recipe": partial(of_benchmark, "recipe", recipe_line),
    },
    SCALING: {"devices": partial(of_benchmark, "devices", devices_table)},
    SPEED: {
        "population": partial(of_benchmark, "population", population_table),
        "growth": partial(of_benchmark, "growth", growth_table),
        "time": partial(of_benchmark, "time_to_accuracy", time_table),
        "start": partial(of_benchmark, "start", start_table),
        "networks": partial(of_benchmark, "networks", networks_table),
    },
}


def written(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A document with its tables made anew, each between `<!-- name -->` and `<!-- /name -->`.

    Raises:
      ValueError: a table that has no place, or several.
    """
    for name, table in tables.items():
        text, found = re.subn(
            rf"(?s)(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda m, made=table(): f"{m[1]}{made}\n{m[2]}",
            text,
        )
        if found != 1:
            raise ValueError(f"there are {found} places for the table {name!r}, not one")
    return text


def main() -> None:
    """Rewrite the documents in place."""
    for path, tables in DOCUMENTS.items():
        path.write_text(written(path.read_text(), tables))


if __name__ == "__main__":
    main()

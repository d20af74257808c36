"""The tables of README and documentation that are made from the experiments' records."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments import catalog
from experiments.console import duration, format_total_time, title
from experiments.experiment import Flags
from experiments.first_network import BOOK
from experiments.ladder_figure import PUBLISHED
from experiments.ladder_steps import select_candidate
from experiments.records import Record, provenance
from nnjax.compare.claims import claims_table, markdown_table
from nnjax.compare.statistics import percent, t_interval

NOT_RUN = "*not run yet*"


def of_experiment(name: str, table: Callable[[Record], str]) -> str:
    """The table of an experiment's committed record, or a note that there is none with these settings."""
    record = _committed(name)
    return table(record) if record else NOT_RUN


def _committed(name: str) -> Record | None:
    try:
        return catalog.find_record(catalog.find(name), Flags())
    except ValueError:
        return None


def machine(record: Record) -> str:
    """The machine of a record, and the version of jax."""
    return f"{record['cores']} cores of {record['processor']}, jax {record['versions']['jax']}"


def learning_table(record: Record) -> str:
    """The chapter's four runs, compared with the book."""
    head = ["network", "η", "the book", "ours after epoch 1 (median)"]
    head += ["ours at the end: median (min to max)", "n"]
    rows = []
    for r, book in zip(record["runs"], BOOK, strict=True):
        accuracy = percent(r["test_correct"], record["num_test"])
        last = accuracy[:, -1]
        rows.append(
            [
                f"[784, {r['hidden']}, 10]",
                f"{r['learning_rate']:g}",
                _book(*book),
                f"{np.median(accuracy[:, 0]):.1f} %",
                f"{np.median(last):.1f} % ({last.min():.1f} % to {last.max():.1f} %)",
                str(len(last)),
            ]
        )
    s = record["settings"]
    note = (
        f"Test accuracy on MNIST; {s['epochs']} epochs, mini-batches of {s['config']['batch_size']}. "
        f"`python -m experiments first_network`, {machine(record)}."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def _book(first: float | None, last: Any) -> str:
    """The book's accuracy after the first and the last epoch; a range is a tuple."""
    if isinstance(last, tuple):
        return "{:g} % to {:g} %".format(*last)
    return f"{first:.2f} % → {last:.2f} %"


def claims_section(name: str) -> str:
    """The section of one experiment in the results: question, claims and provenance."""
    experiment = catalog.find(name)
    question = (experiment.about or "").partition("\n")[0]

    def table(record: Record) -> str:
        claims = claims_table(experiment.judged_claims(record))
        return f"{claims}\n\n`python -m experiments {name}`: {provenance(record)}"

    return f"## {title(name)}\n\n{question}\n\n{of_experiment(name, table)}\n"


def total_time() -> str:
    """How long all committed runs took, or a note that some are missing."""
    records = [record for name in catalog.NAMES if (record := _committed(name))]
    if len(records) < len(catalog.NAMES):
        return NOT_RUN
    seconds = {record["experiment"]: record["seconds"] for record in records}
    return f"Running all experiments {format_total_time(seconds)} ({machine(records[0])})."


def ladder_table(record: Record) -> str:
    """The accuracy, the gain, the size and the training time of each step."""
    rows, before, accuracy_before = [], {}, None
    for i, r in enumerate(record["steps"], 1):
        accuracy = percent(r["test_correct"], record["num_test"])
        mean, (low, high) = float(np.mean(accuracy)), t_interval(accuracy)
        rows.append(
            [
                f"{i}. {r['name']}",
                f"{mean:.2f} ({low:.2f} to {high:.2f}, n = {len(accuracy)})",
                "" if accuracy_before is None else _gain(accuracy_before, mean),
                f"{r['num_parameters']:,}",
                str(r["config"]["epochs"]),
                duration(r["seconds"]),
                _changes(before, r["config"]),
            ]
        )
        accuracy_before, before = mean, r["config"]
    head = (
        "step",
        "test accuracy, %: mean (95 % interval)",
        "gain",
        "parameters",
        "epochs",
        "time",
        "changes",
    )
    note = f"`python -m experiments ladder`, {duration(record['seconds'])} on {machine(record)}."
    return f"{markdown_table(head, rows)}\n\n{note}"


def _gain(before: float, mean: float) -> str:
    """The gain in percentage points, and as a fraction of the errors of the step before."""
    return f"{mean - before:+.2f}: {100 * (mean - before) / (100 - before):.0f} % of the errors"


def _changes(before: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The fields of a configuration that differ from the one before; epochs have a separate column."""
    changed = {n: v for n, v in config.items() if before and n != "epochs" and before[n] != v}
    return ", ".join(f"{name} {_value(value)}" for name, value in changed.items())


def _value(value: Any) -> str:
    return {"None": "none", "{}": "with its defaults"}.get(str(value), str(value))


def candidates_table(record: Record) -> str:
    """The candidates of each step, their validation accuracy, and the selected one."""
    rows = []
    for r in record["steps"]:
        selected = select_candidate(r["candidates"]) if r["candidates"] else None
        for i, candidate in enumerate(r["candidates"]):
            changes = ", ".join(f"{name} {_value(value)}" for name, value in candidate["changes"].items())
            correct = candidate["validation_correct"]
            # One division of integers, so that every processor rounds a tie in the same way.
            accuracy = 100 * sum(correct) / (len(correct) * record["num_validation"])
            rows.append([r["name"], f"**{changes}**" if i == selected else changes, f"{accuracy:.2f}"])
    return markdown_table(("step", "candidate (selected: bold)", "validation accuracy, %"), rows)


def published_table(record: Record) -> str:
    """The accuracies that others reached."""
    rows = [[f"{result.accuracy:.2f}", result.method, result.source] for result in PUBLISHED]
    return markdown_table(("test accuracy, %", "method", "source"), rows)

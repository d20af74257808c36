"""Write the tables of README and guide from the committed records, so that no number is typed by hand.

python -m experiments.tables
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from experiments import catalog
from experiments.evidence import ROOT, Flags, Record
from experiments.progress import duration, where_the_time_went
from experiments.statistics import stuck

BENCHMARKS = ROOT / "benchmarks" / "results"
NOT_YET = "*not run yet*"


def learning_table(record: Record) -> str:
    """The chapter's runs beside the book's numbers."""
    lines = [
        "| network, η | the book | ours after one epoch, median | ours at the end: median (least to most) |",
        "|---|---|---|---|",
    ]
    for r in record["runs"]:
        right = np.asarray(r["test_correct"])
        last = right[:, -1]
        lines.append(
            f"| [784, {r['hidden']}, 10], η = {r['learning_rate']:g} | {_book(*r['book'])} "
            f"| {np.median(right[:, 0]):,.0f} | {np.median(last):,.0f} ({last.min():,} to {last.max():,}) |"
        )
    s = record["settings"]
    wide, recall = (np.asarray(record["runs"][1][what]) for what in ("test_correct", "recall"))
    reach = wide[:, -1] >= 9600
    lines.append("")
    lines.append(
        f"Test images right of {record['test_examples']:,}; {s['seeds']} seeds each, {s['epochs']} epochs, "
        f"mini-batches of {s['batch_size']}; mean of the first row "
        f"{np.mean(np.asarray(record['runs'][0]['test_correct'])[:, -1]):,.0f}; "
        f"of the networks with 100 hidden neurons {np.sum(reach)} reach 9,600, and {np.sum(stuck(recall))} "
        "read at least one digit less than half the time: its output neuron is stuck; a network of the first "
        f"row takes {record['runs'][0]['seconds_per_epoch']:.2f} s an epoch on {_machine(record)}."
    )
    return "\n".join(lines)


def _book(first: int | None, last: Any) -> str:
    end = "{:,} to {:,}".format(*last) if isinstance(last, list) else f"{last:,}"
    return end if first is None else f"{first:,} → {end}"


def claims_table(record: Record) -> str:
    """What the chapter says beside what an experiment found, and what the run took."""
    experiment, s = catalog.find(record["experiment"]), record["settings"]
    lines = ["| claim | the book | here | holds |", "|---|---|---|---|"]
    for claim in experiment.verdicts(record):
        says = claim.says if claim.of_the_chapter else f"*ours:* {claim.says}"
        cells = says, claim.book, claim.ours, {True: "yes", False: "no", None: "–"}[claim.holds]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    counts = [f"{s[what]} {what}" for what in ("seeds", "epochs") if s[what] > 1]
    took = f"{duration(record['seconds'])} on {_machine(record)}"
    return "\n".join(
        [*lines, "", "; ".join([f"`python -m experiments.{experiment.name}`", *counts, took]) + "."]
    )


def speed_table(record: Record) -> str:
    """Seconds an epoch, beside the peers of the same run."""
    lines = [
        "| one epoch, [784, 30, 10], m = 10 | seconds, median (least to most) | `fit` takes, of its time |",
        "|---|---|---|",
    ]
    for peer in record["peers"]:
        s = peer["seconds"]
        lines.append(
            f"| {peer['name']} | {peer['median']:.2f} ({min(s):.2f} to {max(s):.2f}) | {peer['ratio']:.2f} |"
        )
    networks = np.asarray(list(record["right_after_three_epochs"].values()))
    right = np.median(networks, axis=1)
    libraries = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    lines.append("")
    lines.append(
        f"{record['rounds']} rounds, the peers in turn; the ratio is the median of each round's; 50,000 "
        f"images; compiling apart; after three epochs the peers read {right.min():,.0f} to "
        f"{right.max():,.0f} test images, each the median of {networks.shape[1]} networks; {libraries}; "
        f"{_machine(record)}."
    )
    return "\n".join(lines)


def population_line(record: Record) -> str:
    """What a network costs among many, beside what it costs alone."""
    ours, *others = record["peers"]
    costs = ", ".join(f"{p['name']} {p['median']:.2f} s ({p['ratio']:.2f})" for p in others)
    return (
        f"An epoch of [784, 30, 10] costs each of {ours['name']} {ours['median']:.2f} s; and, in brackets "
        f"what the former is of it: {costs} (medians of {record['rounds']} rounds; {_machine(record)})."
    )


def devices_table(record: Record) -> str:
    """Devices made of one processor's cores: sweeps, and `fit` beside what the model says."""
    median = {(c["what"], c["devices"], c["threads"]): c["median"] for c in record["cases"]}
    alone, shuffle = median["fit", 1, 1], median["shuffle", 1, 1]
    lines = [
        f"| sweep of {record['networks']} networks | seconds an epoch and network | of the first |",
        "|---|---|---|",
    ]
    sweeps = {k: s for k, s in median.items() if k[0] == "sweep"}
    for (_, devices, threads), seconds in sweeps.items():
        name = f"{devices} device{'s' * (devices > 1)}" + ", a thread each" * (threads == 1)
        lines.append(f"| {name} | {seconds:.3f} | {seconds / median['sweep', 1, 0]:.2f} |")
    lines += ["", f"| `fit`, m = {record['batch_size']:,} | seconds an epoch | the model |", "|---|---|---|"]
    lines.append(f"| 1 device, a thread | {alone:.3f} | |")
    for (what, devices, threads), seconds in median.items():
        if what == "fit" and threads == 0:
            at_once = min(devices, record["cores"])
            sums = record["steps"] * median.get(("all-reduce", devices, 0), 0)
            model = ((alone - shuffle) + devices * shuffle) / at_once + sums
            told = f"{model:.3f}" if devices > 1 else ""
            lines.append(f"| {devices} device{'s' * (devices > 1)} | {seconds:.3f} | {told} |")
    sums = ", ".join(f"{s * 1e6:.0f} µs on {n}" for (what, n, _), s in median.items() if what == "all-reduce")
    lines.append("")
    lines.append(
        f"Medians of {record['rounds']} rounds; shuffling takes {shuffle:.3f} s, an all-reduce of the "
        f"gradients {sums}; {_machine(record)}; `python -m benchmarks.devices`."
    )
    return "\n".join(lines)


def start_line(record: Record) -> str:
    """What the command costs as a whole."""
    return (
        f"`nnjax train` as a whole, 30 epochs and as many evaluations, takes {record['train_seconds']:.1f} s "
        f"from shell to prompt once its caches are warm, and {record['peak_megabytes']:.0f} MB; "
        f"`import nnjax` takes {record['import_seconds']:.2f} s more than `import jax, optax` "
        f"(medians of {record['rounds']}; {_machine(record)})."
    )


def _machine(record: Record) -> str:
    return f"{record['cores']} cores of {record['processor']}, jax {record['versions']['jax']}"


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
    return f"The runs behind this guide {where_the_time_went(seconds)} ({_machine(records[0])})."


def of_benchmark(name: str, table: Callable[[Record], str]) -> str:
    """The table of a benchmark's committed record."""
    return table(json.loads((BENCHMARKS / f"{name}.json").read_text()))


README, GUIDE, SCALING = ROOT / "README.md", ROOT / "docs" / "chapter.md", ROOT / "docs" / "scaling.md"
# The tables of each document, by the name that marks their place.
DOCUMENTS = {
    README: {
        "learning": partial(of_experiment, "first_network", learning_table),
        "speed": partial(of_benchmark, "epoch", speed_table),
        "start": partial(of_benchmark, "start", start_line),
        "population": partial(of_benchmark, "population", population_line),
    },
    GUIDE: {f"claims {name}": partial(of_experiment, name, claims_table) for name in catalog.NAMES}
    | {"time": of_all},
    SCALING: {"devices": partial(of_benchmark, "devices", devices_table)},
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

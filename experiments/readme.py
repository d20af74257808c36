"""Write the README's tables from the committed records, so that no number is typed by hand.

python -m experiments.readme
"""

import re
from typing import Any

import numpy as np

from experiments.evidence import ROOT, read

README = ROOT / "README.md"


def learning_table(record: dict[str, Any]) -> str:
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
    reach, blind = wide[:, -1] >= 9600, recall.min(axis=1) < 0.5
    lines.append("")
    lines.append(
        f"Test images right of {record['test_examples']:,}; {s['seeds']} seeds each, {s['epochs']} epochs, "
        f"mini-batches of {record['batch_size']}; mean of the first row "
        f"{np.mean(np.asarray(record['runs'][0]['test_correct'])[:, -1]):,.0f}; "
        f"of the networks with 100 hidden neurons {np.sum(reach)} reach 9,600, and {np.sum(blind)} read at "
        "least one digit less than half the time: its output neuron is stuck; "
        f"{record['runs'][0]['seconds_per_epoch']:.2f} s an epoch on {_machine(record)}."
    )
    return "\n".join(lines)


def _book(first: int | None, last: Any) -> str:
    end = "{:,} to {:,}".format(*last) if isinstance(last, list) else f"{last:,}"
    return end if first is None else f"{first:,} → {end}"


def speed_table(record: dict[str, Any]) -> str:
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
    lines.append("")
    lines.append(
        f"{record['rounds']} rounds, the peers in turn; the ratio is the median of each round's; 50,000 "
        f"images; compiling apart (`fit`'s first epoch took {record['peers'][0]['first']:.1f} s with it); "
        f"{_machine(record)}."
    )
    return "\n".join(lines)


def start_line(record: dict[str, Any]) -> str:
    """What the command costs as a whole."""
    return (
        f"`nnjax train` as a whole, 30 epochs and as many evaluations, takes {record['train_seconds']:.1f} s "
        f"from shell to prompt once its caches are warm, and {record['peak_megabytes']:.0f} MB; "
        f"`import nnjax` takes {record['import_seconds']:.2f} s more than `import jax, optax` "
        f"(medians of {record['rounds']}; {_machine(record)})."
    )


def _machine(record: dict[str, Any]) -> str:
    return f"{record['cores']} cores of {record['processor']}, jax {record['versions']['jax']}"


def written(text: str) -> str:
    """The README with its tables made anew."""
    benchmarks = ROOT / "benchmarks" / "results"
    tables = {
        "learning": learning_table(read("first_network")),
        "speed": speed_table(read("epoch", benchmarks)),
        "start": start_line(read("start", benchmarks)),
    }
    for name, table in tables.items():
        text, found = re.subn(
            rf"(?s)(<!-- {name} -->\n).*?(\n<!-- /{name} -->)",
            lambda m, table=table: m[1] + table + m[2],
            text,
        )
        if found != 1:
            raise ValueError(f"the README has {found} places for the table {name!r}, not one")
    return text


def main() -> None:
    """Rewrite the README in place."""
    README.write_text(written(README.read_text()))


if __name__ == "__main__":
    main()

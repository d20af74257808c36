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
    wide = np.asarray(record["runs"][1]["test_correct"])[:, -1]
    lines.append("")
    lines.append(
        f"Test images right of {record['test_examples']:,}; {s['seeds']} seeds each, {s['epochs']} epochs, "
        f"mini-batches of {record['batch_size']}; mean of the first row "
        f"{np.mean(np.asarray(record['runs'][0]['test_correct'])[:, -1]):,.0f}; "
        f"of the networks with 100 hidden neurons {np.sum(wide >= 9600)} reach 9,600, and in the others an "
        "output neuron or two stays near 0 for every image (`initial_weights=nnjax.scaled` mends it); "
        f"{record['runs'][0]['seconds_per_epoch']:.2f} s an epoch on {_machine(record)}."
    )
    return "\n".join(lines)


def _book(first: int | None, last: Any) -> str:
    end = "{:,} to {:,}".format(*last) if isinstance(last, list) else f"{last:,}"
    return end if first is None else f"{first:,} → {end}"


def speed_table(record: dict[str, Any]) -> str:
    """Seconds an epoch, beside the peers of the same run."""
    lines = [
        "| one epoch, [784, 30, 10], m = 10 | seconds, median | `fit` takes, of its time | start-up, s |",
        "|---|---|---|---|",
    ]
    for peer in record["peers"]:
        lines.append(
            f"| {peer['name']} | {peer['median']:.3f} | {peer['ratio']:.2f} | {peer['startup']:.1f} |"
        )
    lines.append("")
    lines.append(
        f"Medians of {record['rounds']} rounds, the peers in turn; 50,000 images; start-up is compiling and "
        f"the like, and not in the seconds; {_machine(record)}."
    )
    return "\n".join(lines)


def _machine(record: dict[str, Any]) -> str:
    return f"{record['cores']} cores ({', '.join(record['devices'])}), jax {record['versions']['jax']}"


def written(text: str) -> str:
    """The README with its tables made anew."""
    tables = {
        "learning": learning_table(read("first_network")),
        "speed": speed_table(read("epoch", ROOT / "benchmarks" / "results")),
    }
    for name, table in tables.items():
        text = re.sub(
            rf"(?s)(<!-- {name} -->\n).*?(\n<!-- /{name} -->)",
            lambda m, table=table: m[1] + table + m[2],
            text,
        )
    return text


def main() -> None:
    """Rewrite the README in place."""
    README.write_text(written(README.read_text()))


if __name__ == "__main__":
    main()

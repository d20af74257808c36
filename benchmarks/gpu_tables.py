"""The tables of docs/speed.md that are made from the parts of the record of `benchmarks.throughput`."""

import statistics
from collections.abc import Callable, Sequence

from benchmarks.harness import Record
from benchmarks.tables import machine, markdown_table, time_to_accuracy_rows


def of_part(name: str, table: Callable[[Record], str]) -> Callable[[Record], str]:
    """A function from the record to the table of one part, or to a note if the part has no rows."""

    def of_record(record):
        if name not in record:
            return f"*not run yet: `python -m benchmarks.throughput --parts {name}`*"
        part = record[name]
        lines = [table(part)] if part["rows"] else []
        if part["error"]:
            lines.append("*Failed: the record has the error message.*")
        return "\n\n".join(lines)

    return of_record


def epochs_table(part: Record) -> str:
    """Networks × epochs per second, by the method and the number of networks."""
    rows = part["rows"]
    head = "networks × epochs per second", *(f"{row['networks']:,}" for row in rows)

    def rate(seconds):
        return "–" if isinstance(seconds, str) else f"{1 / statistics.median(seconds):,.1f}"

    measured = [[name, *(rate(row["seconds"][name]) for row in rows)] for name in rows[0]["seconds"]]
    bounds = [
        [f"memory roofline, {name}", *(rate([row["roofline"][name]]) for row in rows)]
        for name in rows[0]["roofline"]
    ]
    libraries = [f"{name} {version}" for name, version in part["libraries"].items()]
    note = (
        f"The columns are numbers of networks. Medians of the measured epochs; –: failed, the record has the "
        f"error message; memory bandwidth {rows[0]['bandwidth'] / 1e9:.0f} GB/s; "
        f"{'; '.join([*libraries, _source(part)])}."
    )
    return "\n".join([*markdown_table(head, [*measured, *bounds]), note])


def sweep_line(part: Record) -> str:
    """The seconds of a whole sweep."""
    (row,) = part["rows"]
    return (
        f"A sweep of {row['networks']:,} networks and {row['epochs']} epochs takes {row['seconds']:.1f} s, "
        f"with initialization, compilation and an evaluation after each epoch ({_source(part)})."
    )


def compare_line(part: Record) -> str:
    """The seconds of `nnjax compare`."""
    rows, problems = part["rows"], len(part["rows"][0]["problems"])
    return (
        f"`nnjax compare` for one optimizer on {problems} problem{'s' * (problems != 1)} takes "
        f"{_range([row['seconds'] for row in rows])} s from shell to report with an empty compilation cache, "
        f"of which training takes {_range([row['training_seconds'] for row in rows])} s (median, minimum and "
        f"maximum, n = {len(rows)}; {_source(part)})."
    )


def accuracy_table(part: Record) -> str:
    """Seconds of training until each target accuracy."""
    note = f"{len(part['rows'][0]['runs'])} seeds each, which the search did not use; {_source(part)}."
    return "\n".join([*time_to_accuracy_rows(part["rows"], part["num_test"]), note])


def ladder_table(part: Record) -> str:
    """Seconds and accuracy of the ladder's best network and ensemble."""
    head = (
        *("step of the ladder", "networks", "epochs", "seconds of training"),
        *("seconds with compilation and evaluation", "validation accuracy, %", "test accuracy, %"),
    )
    rows = (
        [
            *(row["name"], str(row["networks"]), str(row["config"]["epochs"])),
            *(f"{row[name]:.1f}" for name in ("training_seconds", "seconds")),
            *(f"{100 * row[name]:.2f}" for name in ("validation_accuracy", "test_accuracy")),
        ]
        for row in part["rows"]
    )
    return "\n".join([*markdown_table(head, rows), f"One run each; {_source(part)}."])


def _range(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _source(part: Record) -> str:
    """The device and the machine of a part, and the command."""
    return f"{', '.join(part['devices'])}, {machine(part)}; `python -m benchmarks.throughput`"

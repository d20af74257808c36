"""Writes docs/results.md and the tables of README and docs from the committed records.

    python -m docs.build_tables

The markers `<!-- name -->` and `<!-- /name -->` enclose a table, so no number is copied by hand.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks import gpu_tables, scaling_tables
from benchmarks import tables as benchmarks
from benchmarks.harness import Record
from experiments import catalog
from experiments import tables as experiments
from nnjax.compare.baselines import leaderboard

DOCS = Path(__file__).parent
README, LADDER, SPEED, SCALING, LEADERBOARD, RESULTS = (
    DOCS.parent / "README.md",
    *(DOCS / f"{name}.md" for name in ("ladder", "speed", "scaling", "leaderboard", "results")),
)  # fmt: skip

Table = Callable[[], str]


def _experiment(name: str, table: Callable) -> Table:
    return partial(experiments.of_experiment, name, table)


def _benchmark(name: str, table: Callable) -> Table:
    return partial(benchmarks.of_benchmark, name, table)


def _throughput() -> dict[str, Table]:
    tables = {
        "epochs": gpu_tables.epochs_table,
        "sweep": gpu_tables.sweep_line,
        "compare": gpu_tables.compare_line,
        "time_to_accuracy": gpu_tables.accuracy_table,
        "ladder": gpu_tables.ladder_table,
    }
    return {
        f"throughput {name}": _benchmark("throughput", gpu_tables.of_part(name, table))
        for name, table in tables.items()
    }


def _leaderboard() -> dict[str, Table]:
    tables = {
        f"{budget} {name}": partial(table, budget)
        for budget in ("standard", "quick") for name, table in leaderboard.TABLES.items()
        if budget == "standard" or name in ("verdicts", "scores")
    }  # fmt: skip
    return tables | {"audits": leaderboard.audits_table}


def _costs(record: Record) -> str:
    return scaling_tables.cost_table(leaderboard.unit_costs("standard"), record)


# The tables of each document, by the name in their markers.
DOCUMENTS: dict[Path, dict[str, Table]] = {
    README: {
        "learning": _experiment("first_network", experiments.learning_table),
        "speed": _benchmark("epoch", benchmarks.speed_table),
        "config": _benchmark("config", benchmarks.config_line),
        "population": _benchmark("population", benchmarks.population_line),
    },
    LADDER: {
        "ladder": _experiment("ladder", experiments.ladder_table),
        "candidates": _experiment("ladder", experiments.candidates_table),
        "published": _experiment("ladder", experiments.published_table),
        "config": _benchmark("config", benchmarks.config_table),
    },
    SPEED: {
        "population": _benchmark("population", benchmarks.population_table),
        "epoch": _benchmark("epoch", benchmarks.epoch_table),
        "scaling": _benchmark("scaling", benchmarks.scaling_table),
        "time_to_accuracy": _benchmark("time_to_accuracy", benchmarks.time_to_accuracy_table),
        "startup": _benchmark("startup", benchmarks.startup_table),
        "compare": _benchmark("compare", benchmarks.compare_table),
    }
    | _throughput(),
    SCALING: {
        "devices": _benchmark("devices", scaling_tables.devices_table),
        "clusters": _benchmark("clusters", scaling_tables.clusters_table),
        "cost": _benchmark("clusters", _costs),
    },
    LEADERBOARD: _leaderboard(),
}

RESULTS_INTRO = """# Results

Every claim of the chapter that can be measured, and claims of our own, with what the experiments measured.
Accuracy is in percent of the test images. Most results are medians over seeds, with minimum, maximum and the
number n of seeds in brackets; means have a 95 % t-interval. "Supported" says whether the measurement supports
the statement (–: not judged). `python -m docs.build_tables` writes this page from the
[records](../experiments/results).
"""


def replace_tables(text: str, tables: Mapping[str, Table]) -> str:
    """A document with its tables replaced.

    Raises:
      ValueError: the markers of a table do not occur exactly once.
    """
    for name, table in tables.items():
        place = rf"(?s)(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)"
        content = table()
        text, count = re.subn(place, lambda m, content=content: f"{m[1]}{content}\n{m[2]}", text)
        if count != 1:
            raise ValueError(f"a document must contain the table {name!r} once, got {count} places")
    return text


def results_page() -> str:
    """The text of docs/results.md."""
    sections = (experiments.claims_section(name) for name in catalog.NAMES)
    return "\n".join([RESULTS_INTRO, experiments.total_time(), "", *sections])


def main() -> None:
    """Rewrites the documents in place."""
    RESULTS.write_text(results_page())
    for path, tables in DOCUMENTS.items():
        path.write_text(replace_tables(path.read_text(), tables))


if __name__ == "__main__":
    main()

"""`nnjax problems`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table

from nnjax.cli._runtime_flags import Switch
from nnjax.cli.console import console, print_json

if TYPE_CHECKING:
    from nnjax.compare import Problem


@dataclass
class Problems:
    """List the test problems on which optimizers are compared."""

    json: Switch = False
    """Print the list as JSON on standard output."""

    def run(self) -> int:
        from nnjax.compare.problems import PROBLEMS  # imported here, because it imports scipy.stats

        rows = [describe(problem) for problem in PROBLEMS.values()]
        table = Table(Column("problem", no_wrap=True))
        for name in ("separates by", "parameters", "batch", "steps", "metric", "data", "suites"):
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(
                row["name"], row["separates_by"], f"{row['parameters']:,}", str(row["batch_size"]),
                f"{row['steps']:,}", row["metric"], "MNIST" if row["needs_mnist"] else "built in",
                ", ".join(row["suites"]),
            )  # fmt: skip
        console.print(table)
        console.print("Problems on MNIST need its files. Download them with: nnjax data prepare mnist")
        if self.json:
            print_json({"problems": rows})
        return 0


def describe(problem: "Problem") -> dict[str, Any]:
    """The definition of a test problem, as JSON values."""
    from nnjax.compare.problems import SUITES, needs_mnist

    return {
        "name": problem.name,
        "separates_by": problem.separates_by,
        "parameters": problem.num_params,
        "batch_size": problem.batch_size,
        "steps": problem.steps,
        "metric": problem.metric_name,
        "needs_mnist": needs_mnist(problem),
        "suites": [suite for suite, names in SUITES.items() if problem.name in names],
    }

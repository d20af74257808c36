"""`nnjax problems`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
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
        from nnjax.compare.problems import PROBLEMS, SUITES  # imported here, because it imports scipy.stats

        rows = [describe(problem) for problem in PROBLEMS.values()]
        numbers = (Column(name, no_wrap=True, justify="right") for name in ("parameters", "batch", "steps"))
        table = Table(
            Column("problem", no_wrap=True),
            Column("separates by", min_width=13),
            *numbers,
            "metric",
            box=SIMPLE_HEAD,
        )
        for row in rows:
            table.add_row(
                row["name"], row["separates_by"], f"{row['parameters']:,}", str(row["batch_size"]),
                f"{row['steps']:,}", row["metric"],
            )  # fmt: skip
        console.print(table)
        for suite, names in SUITES.items():
            console.print(f"suite {suite}: {', '.join(names)}")
        on_mnist = ", ".join(row["name"] for row in rows if row["needs_mnist"])
        console.print(f"need MNIST, which `nnjax data prepare mnist` downloads: {on_mnist}")
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

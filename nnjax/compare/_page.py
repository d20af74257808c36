"""The page of a comparison: one self-contained HTML file, and its figures as files."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nnjax.compare import _page_tables as tables
from nnjax.compare._page_figures import (
    Picture,
    draw_curves,
    draw_profile,
    draw_sensitivity,
    draw_tuning,
    inline_svg,
    write_pictures,
)
from nnjax.compare._wording import counts, overall, p_value
from nnjax.compare.analysis import Analysis
from nnjax.compare.verdicts import smallest_p
from nnjax.runtime.extras import check_extra

LIMITS = (
    "These are small networks. Rankings can change with the size of the network and of the data.",
    "Each problem has one batch size; L-BFGS and Gauss-Newton also try four times this size. Rankings can "
    "change with the batch size.",
    "A verdict holds for the problems, the budget and the search spaces of this page, and not for others.",
    "A budget is a number of per-example gradients. The time in seconds is reported separately, because it "
    "depends on the machine.",
)


def render(analysis: Analysis, about: Mapping[str, Any]) -> str:
    """The page as HTML. It contains its style, its script and its figures, and loads nothing.

    Args:
      analysis: all tables of the comparison.
      about: command, budget, studies, trials, fresh_seeds, versions, machine, seeds; schedules, a list of
        names; spaces, a mapping from optimizers to lists of search spaces in words; notes, a list of
        sentences; audits, a list of mappings with name, result and detail; seconds, a table with optimizer,
        problem and seconds_alone; and shipped, a mapping from the name of a processor to the optimizers whose
        shipped results were computed on it.

    Returns:
      The same text for the same input.

    Raises:
      ImportError: matplotlib or jinja2 is not installed.
    """
    environment = _environment()
    sources = {name: Path(__file__).with_name(f"page.{name}").read_text("utf-8") for name in ("css", "js")}
    figures = {
        section: [(picture, inline_svg(picture)) for picture in pictures]
        for section, pictures in pictures_of(analysis).items()
    }
    return environment.get_template("page.html").render(
        **sources,
        script_hash=base64.b64encode(hashlib.sha256(sources["js"].encode()).digest()).decode(),
        about=about,
        conclusions=conclusions(analysis),
        smallest_p=p_value(min(1.0, len(analysis.problems) * smallest_p(about["studies"]))),
        figures=figures,
        matrix=tables.verdict_matrix(analysis),
        details=tables.verdict_details(analysis),
        metrics=tables.metrics_table(analysis),
        tuning=tables.sensitivity_table(analysis),
        scores=tables.scores_table(analysis),
        overall=tables.overall_table(analysis),
        times=tables.times_table(analysis),
        seconds=tables.seconds_table(analysis, about["seconds"]),
        problems=tables.problems_table(analysis),
        limits=LIMITS,
    )


def write_figures(folder: Path, analysis: Analysis) -> None:
    """Writes every figure of the page as an SVG and a PNG file into an existing folder."""
    for pictures in pictures_of(analysis).values():
        write_pictures(folder, pictures)


def conclusions(analysis: Analysis) -> list[dict[str, str]]:
    """For each pair, a sentence with its verdicts and a sentence about the test over all problems."""
    tests = {(row["optimizer"], row["baseline"]): row for row in analysis.overall.to_dict("records")}
    sentences = []
    for candidate, baseline in analysis.pairs:
        table = analysis.verdicts
        rows = table[(table["optimizer"] == candidate) & (table["baseline"] == baseline)]
        test = tests.get((candidate, baseline))
        verdict, numbers = counts(list(rows["verdict"]))
        sentences.append(
            {
                "candidate": candidate,
                "baseline": baseline,
                "verdict": verdict,
                "counts": numbers,
                "overall": overall(test["problems"], test["effect"], test["p"], test["possible"])
                if test
                else "",
            }
        )
    if len({sentence["overall"] for sentence in sentences}) == 1:  # shown once, after the last pair
        for sentence in sentences[:-1]:
            sentence["overall"] = ""
    return sentences


def pictures_of(analysis: Analysis) -> dict[str, list[Picture]]:
    """The figures of the page, by section."""
    kinds = {
        "curves": (draw_curves, analysis.curves, "fresh", "Learning curves"),
        "tuning": (draw_tuning, analysis.tuning, "trial", "Best of k trials"),
        "sensitivity": (draw_sensitivity, analysis.tuning, "trial", "Metric against learning rate"),
    }
    pictures = {}
    for section, (draw, table, kind, alt) in kinds.items():
        pictures[section] = [
            Picture(
                _file_name(section, name), name, f"{alt} on {name}: {facts['reported']}",
                tables.where(problem=name, kind=["trial", "default"] if section == "sensitivity" else kind),
                partial(draw, analysis, name),
            )
            for name, facts in analysis.problems.items()
            if any(problem == name for problem, _ in table)
        ]  # fmt: skip
    pictures["profiles"] = [
        Picture(
            _file_name("profile", target),
            f"target: tuned AdamW after {tables.TARGET_NAMES.get(target, target)} of the budget",
            f"Share of problems on which the target is reached: tuned AdamW after {target} of the budget",
            tables.where(kind="fresh"),
            partial(draw_profile, analysis, target),
        )
        for target in dict.fromkeys(analysis.times["target"])
    ]
    return pictures


def _file_name(section: str, name: str) -> str:
    return re.sub(r"[^\w-]", "-", f"{section}-{name}")


def _environment() -> Any:
    check_extra("compare", "the report of a comparison", "matplotlib", "jinja2")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    # A line may break after an underscore in a long name.
    environment.filters["breakable"] = lambda text: escape(text).replace("_", Markup("_<wbr>"))
    return environment

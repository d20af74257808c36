"""The figures of a comparison: inline SVG in the colours of the page, and SVG and PNG files."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from nnjax.compare._curves import STYLES
from nnjax.compare._tuning import tunes_learning_rate
from nnjax.compare.analysis import Analysis
from nnjax.compare.plots import save_figure
from nnjax.compare.scores import performance_profile

SIZE = (4.4, 2.8)  # inches; on a phone the text of a figure is then about 11 pixels high
MAX_LABEL_LENGTH = 19
LEADER_INCHES = 0.4  # distance from the end of a curve to the name of the optimizer
LABEL_GAP = 0.085  # distance between the names of two optimizers, as a fraction of the height of the axes
MAX_BINS = 8  # largest number of bins of the learning rates; a line joins the medians of the bins

# The figures in the page use the colours of its style sheet, which differ between light and dark mode.
PAGE_COLORS = {style["color"]: f"var(--line-{i + 1})" for i, style in enumerate(STYLES[:6])}
PAGE_COLORS |= {"#000000": "currentColor", "#cccccc": "var(--rule)", "#ffffff": "var(--paper)"}

RC: Any = {
    "axes.edgecolor": "#000000",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.size": 10,
    "grid.color": "#cccccc",
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
      name: name of its files, without suffix.
      title: the heading.
      alt: what the figure shows, in words.
      query: the pandas query that selects its rows of `runs.parquet`.
      draw: a function that draws the figure; its argument is the title inside the figure.
    """

    name: str
    title: str
    alt: str
    query: str
    draw: Callable[[str], Any]


def inline_svg(picture: Picture) -> str:
    """The figure as SVG for an HTML page, with unique ids, without URLs, and in the colours of the page."""
    from matplotlib import rc_context

    content = io.StringIO()
    style: Any = {**RC, "svg.fonttype": "none", "svg.hashsalt": picture.name}
    with rc_context(style):
        none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        picture.draw("").savefig(content, format="svg", transparent=True, metadata=none)
    svg = content.getvalue()[content.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"|\s(width|height|version)="[^"]*(pt|1\.1)"', "", svg)
    svg = svg.replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{picture.name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{picture.name}-", svg)
    # In coordinates, hundredths of a point are enough. Labels are not shortened.
    svg = re.sub("<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    for color, page_color in PAGE_COLORS.items():
        svg = svg.replace(color, page_color)
    return svg.strip()


def write_pictures(folder: Path, pictures: Sequence[Picture]) -> None:
    """Writes each figure as an SVG and a PNG file into a folder."""
    from matplotlib import rc_context

    for picture in pictures:
        with rc_context(RC):
            save_figure(lambda picture=picture: picture.draw(f"{picture.title}\n"), folder, picture.name)


def draw_curves(analysis: Analysis, problem: str, title: str) -> Any:
    """Learning curves: the median of the fresh runs, with a band from 10 % to 90 %."""
    figure, axis = _axes(analysis, title)
    ends = {}
    for optimizer, style in _lines(analysis, problem, analysis.curves):
        band = analysis.curves[problem, optimizer]
        axis.plot(100 * band.budget, band.median, **style)
        axis.fill_between(
            100 * band.budget, band.low, band.high, color=style["color"], alpha=0.2, linewidth=0
        )
        ends[optimizer] = band.median[-1]
    axis.set(xlabel="budget used (%)", xlim=(0, 100))
    return _finish(figure, axis, analysis, ends, title + analysis.problems[problem]["reported"])


def draw_tuning(analysis: Analysis, problem: str, title: str) -> Any:
    """The metric of the best of k trials, for each k, with a band from 10 % to 90 %."""
    figure, axis = _axes(analysis, title)
    ends = {}
    for optimizer, style in _lines(analysis, problem, analysis.tuning):
        curve = analysis.tuning[problem, optimizer]
        if len(curve.k):
            axis.plot(curve.k, curve.expected, **style)
            axis.fill_between(curve.k, curve.low, curve.high, color=style["color"], alpha=0.2, linewidth=0)
            ends[optimizer] = curve.expected[-1]
    largest = max((axis.dataLim.x1, 2)) if ends else 2
    axis.set(xlabel="number of trials", xlim=(1, largest))
    axis.xaxis.get_major_locator().set_params(integer=True)
    return _finish(figure, axis, analysis, ends, title + analysis.problems[problem]["reported"])


def draw_sensitivity(analysis: Analysis, problem: str, title: str) -> Any:
    """The metric of each trial against the position of its learning rate, and that of the default setting.

    Optimizers whose learning rate is not tuned are left out.
    """
    figure, axis = _axes(analysis, title)
    floor = analysis.problems[problem]["epsilon"]
    runs: Any = analysis.runs[analysis.runs["problem"] == problem]
    by_optimizer = runs[runs["kind"] == "trial"].groupby("optimizer")
    keys = {(problem, optimizer): None for optimizer, trials in by_optimizer if tunes_learning_rate(trials)}
    ends = {}
    for optimizer, style in _lines(analysis, problem, keys):
        rows = runs[runs["optimizer"] == optimizer]
        trials, defaults = rows[rows["kind"] == "trial"], rows[rows["kind"] == "default"]
        x, y = 100 * trials["quantile"].to_numpy(), np.maximum(trials["metric"].to_numpy(float), floor)
        axis.plot(x, y, ".", color=style["color"], alpha=0.5, markersize=7, markeredgewidth=0)
        parts = np.array_split(np.argsort(x), min(MAX_BINS, max(len(trials) // 4, 1)))
        medians = np.array([[np.median(x[part]), np.median(y[part])] for part in parts])
        axis.plot(*medians.T, **style)
        ends[optimizer] = medians[-1, 1]
        if (problem, optimizer) in analysis.defaults:
            metric = np.exp(np.log(np.maximum(defaults["metric"], floor)).mean())
            axis.plot(
                100 * np.clip(analysis.defaults[problem, optimizer], 0, 1), metric, "D", color=style["color"],
                markersize=8, markeredgecolor="#ffffff", clip_on=False, zorder=5,
            )  # fmt: skip
    axis.set(xlabel="learning rate (% of its range)", xlim=(0, 100))
    return _finish(figure, axis, analysis, ends, title + analysis.problems[problem]["reported"])


def draw_profile(analysis: Analysis, target: str, title: str) -> Any:
    """The share of problems on which an optimizer reaches the target within τ times the smallest budget."""
    figure, axis = _axes(analysis, title)
    times = analysis.times[analysis.times["target"] == target]
    finite = times["ratio"][np.isfinite(times["ratio"])]
    at = np.geomspace(1, max(1.1 * finite.max(), 2) if len(finite) else 2, 200)
    at = np.unique(np.append(at, finite))
    ends = {}
    for optimizer, style in _lines(analysis, target, {(target, name): None for name in times["optimizer"]}):
        ratios = times.loc[times["optimizer"] == optimizer, "ratio"]
        shares = 100 * performance_profile(ratios, at)
        axis.step(at, shares, where="post", **style)
        ends[optimizer] = shares[-1]
    axis.set(
        xscale="log", xlim=(1, at[-1]), ylim=(-3, 103), xlabel="budget, relative to the fastest optimizer"
    )
    _log_ticks(axis.xaxis, 1, at[-1])
    return _finish(figure, axis, analysis, ends, f"{title}problems solved (%)", log=False)


def style_of(analysis: Analysis, optimizer: str) -> dict[str, Any]:
    """Colour and dashes of an optimizer, the same in all figures."""
    i = analysis.optimizers.index(optimizer)
    return {**{key: STYLES[i % len(STYLES)][key] for key in ("color", "linestyle")}, "linewidth": 1.6}


def _lines(analysis: Analysis, problem: str, table: Mapping[tuple[str, str], Any]) -> list[tuple[str, dict]]:
    return [(name, style_of(analysis, name)) for name in analysis.optimizers if (problem, name) in table]


def _axes(analysis: Analysis, title: str) -> tuple[Any, Any]:
    """A figure with space at the right for the names of the optimizers."""
    from matplotlib.figure import Figure

    longest = max((len(_short(name)) for name in analysis.optimizers), default=0)
    height = max(SIZE[1], SIZE[1] * LABEL_GAP * len(analysis.optimizers) + 0.8)
    figure = Figure(figsize=(SIZE[0], height))
    right = 1 - (LEADER_INCHES + 0.15 + 0.095 * longest) / SIZE[0]
    top = 0.55 if title else 0.3  # inches, for two lines or for one
    axis = figure.add_axes((0.15, 0.5 / height, right - 0.15, 1 - (0.5 + top) / height))
    return figure, axis


def _finish(
    figure: Any, axis: Any, analysis: Analysis, ends: Mapping[str, float], title: str, log: bool = True
) -> Any:
    """Sets the title and the vertical axis, and writes the name of each line beside its end."""
    axis.set_title(title, loc="left", x=-0.14 / axis.get_position().width, parse_math=False)
    if log and ends:
        low, high = axis.dataLim.intervaly
        margin = max((high / low) ** 0.05, 1.02)
        axis.set(yscale="log", ylim=(low / margin, high * margin))
        _log_ticks(axis.yaxis, low / margin, high * margin)
    if not ends:
        axis.text(0.5, 0.5, "nothing to draw", transform=axis.transAxes, ha="center")
        return figure
    to_axes = axis.transData + axis.transAxes.inverted()
    heights = np.array([to_axes.transform((1, end))[1] for end in ends.values()])
    leader = LEADER_INCHES / (axis.get_position().width * SIZE[0])
    gap = LABEL_GAP * SIZE[1] / figure.get_size_inches()[1]
    for optimizer, end, place in zip(ends, heights, separate(heights, gap), strict=True):
        style = style_of(analysis, optimizer)
        x = 1 + leader * np.array([0, 0.3, 1])
        axis.plot(x, [end, place, place], transform=axis.transAxes, clip_on=False, **style)
        axis.text(
            1 + 1.15 * leader,
            place,
            _short(optimizer),
            transform=axis.transAxes,
            va="center",
            parse_math=False,
        )
    return figure


def separate(positions: np.ndarray, gap: float) -> np.ndarray:
    """The nearest positions between 0 and 1 that are at least `gap` apart, in the same order.

    >>> separate(np.array([0.5, 0.5, 0.1]), 0.2).round(2).tolist()
    [0.4, 0.6, 0.1]
    """
    order = np.argsort(positions, kind="stable")
    offsets = gap * np.arange(len(positions))
    result = np.empty(len(positions))
    nearest = isotonic_regression(positions[order] - offsets).x
    result[order] = np.clip(nearest, 0, max(1 - offsets[-1], 0)) + offsets
    return result


def _log_ticks(axis: Any, low: float, high: float) -> None:
    """Three to six ticks on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    decades = np.log10(high / low)
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    else:
        axis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if decades < 1.6 else (1, 3) if decades < 3.2 else (1,))
        )
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _short(name: str) -> str:
    return name if len(name) <= MAX_LABEL_LENGTH else f"{name[: MAX_LABEL_LENGTH - 1]}…"

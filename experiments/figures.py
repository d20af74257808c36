"""What figures have in common: their files, and a number by seed along an axis as median and spread."""

import io
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from nnjax.runtime.files import write_atomically

# Told apart in grey too: by dashes and marks as well as by colour.
STYLES = [
    {"color": color, "linestyle": dashes, "marker": mark}
    for color, dashes, mark in zip(
        cycle(["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"]),
        cycle(["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]),
        "os^Dv<>PX*ph8d",
        strict=False,
    )
]


def write_figure(name: str, plot: Callable[[], Any], folder: Path) -> None:
    """Write what `plot` draws as PNG and SVG: the same each time for the same record."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("Agg")
    style: Any = {"svg.hashsalt": name, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = plot()
        for kind in ("png", "svg"):
            picture = io.BytesIO()
            figure.savefig(picture, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
            write_atomically(folder / f"{name}.{kind}", picture.getvalue())
    pyplot.close(figure)


def band(axis: Any, x: Any, values: Any, **style: Any) -> None:
    """The median over seeds of `values`, (seeds, len(x)), as a line in a band from least to most."""
    values = np.asarray(values, float)
    (line,) = axis.plot(x, np.median(values, axis=0), markersize=4, linewidth=1.4, **style)
    axis.fill_between(
        x, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15, linewidth=0
    )


def dots(axis: Any, x: Any, values: Any) -> None:
    """Every seed of `values`, (seeds, len(x)), as a dot, and a line through the medians."""
    values = np.asarray(values, float)
    axis.plot(x, values.T, ".", color="0.6", markersize=5, label=["each seed"] + [None] * (len(values) - 1))
    axis.plot(x, np.median(values, axis=0), "-o", color="black", markersize=4, linewidth=1.4, label="median")


def plain_ticks(axis: Any) -> None:
    """Ticks of a log axis at 1, 2 and 5 of each decade, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())

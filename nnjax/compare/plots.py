"""Plots of repeated training runs, drawn on matplotlib axes that the caller creates.

Every function takes the results of `fit` and `sweep` or plain arrays with one row for each seed. Lines differ
in dashes and markers as well as in colour, so that they can be distinguished in grayscale.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnjax.compare._curves import STYLES, learning_curves, watched_curves
from nnjax.compare._series import last_row, read_metric
from nnjax.compare.statistics import t_interval
from nnjax.runtime import write_atomically
from nnjax.sweep import Grid

__all__ = [
    "STYLES",
    "forest",
    "heat_map",
    "learning_curves",
    "readable_log_ticks",
    "save_figure",
    "seeds_and_median",
    "sensitivity",
    "watched_curves",
]


def save_figure(
    plot: Callable[[], Any], folder: Path, name: str, formats: Sequence[str] = ("png", "svg"), dpi: int = 150
) -> None:
    """Saves the figure that `plot` returns; the same figure gives the same bytes.

    Args:
      plot: draws and returns a matplotlib figure.
      folder: an existing folder.
      name: name of the files, without suffix.
      formats: file formats, which are also the suffixes.
      dpi: the resolution of pixel formats.
    """
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("Agg")
    style: Any = {"svg.hashsalt": name, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = plot()
        for kind in formats:
            content = io.BytesIO()
            metadata: Any = {"Date": None} if kind == "svg" else None
            figure.savefig(content, format=kind, dpi=dpi, metadata=metadata)
            write_atomically(folder / f"{name}.{kind}", content.getvalue())
    pyplot.close(figure)


def seeds_and_median(axis: Any, x: ArrayLike, values: ArrayLike) -> None:
    """Draws every seed as a dot, and a line through the medians.

    Args:
      axis: a matplotlib axis.
      x: positions, (settings,).
      values: (settings, seeds).
    """
    x, values = np.asarray(x), np.asarray(values, float)
    labels: Any = ["each seed", *[None] * (values.shape[1] - 1)]
    axis.plot(x, values, ".", color="0.6", markersize=5, label=labels)
    axis.plot(x, np.median(values, axis=1), "-o", color="black", markersize=4, linewidth=1.4, label="median")


def sensitivity(
    axis: Any,
    results: Any,
    *,
    settings: Any = None,
    metric: str = "validation error",
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> list[Any]:
    """Draws the mean over seeds against a hyper-parameter, one line for each label.

    Args:
      axis: a matplotlib axis.
      results: a `Grid` with one axis besides the seed, or a mapping from labels to arrays of shape
        (settings, seeds).
      settings: horizontal positions, either common to all labels, or a mapping from labels to positions; by
        default the coordinates of a `Grid`, or 0, 1, 2 and so on.
      metric: as for `learning_curves`. The value of a `Grid` is that after the last epoch.
      styles: keyword arguments of `axis.plot`, one for each label; by default `STYLES`.

    Returns:
      The lines.
    """
    if isinstance(results, Grid):
        values = last_row(read_metric(results, metric))
        names = [dim for dim in values.dims if dim != "seed"]
        if len(names) != 1:
            raise ValueError(f"results must have one axis besides the seed, got {', '.join(map(str, names))}")
        settings = values[names[0]].values if settings is None else settings
        results = {"": values.transpose(names[0], "seed").values}
        axis.set(xlabel=str(names[0]).replace("_", " "), ylabel=f"{metric} (%)")
    lines = []
    for (label, values), style in zip(results.items(), cycle(styles or STYLES), strict=False):
        means = np.asarray(values, float).mean(axis=1)
        x = settings[label] if isinstance(settings, Mapping) else settings
        x = np.arange(len(means)) if x is None else x
        (line,) = axis.plot(x, means, **{"markersize": 4, "linewidth": 1.4, "label": label} | dict(style))
        lines.append(line)
    return lines


def heat_map(
    axis: Any,
    values: Any,
    *,
    rows: Sequence[Any] | None = None,
    columns: Sequence[Any] | None = None,
    metric: str = "test accuracy",
    framed: Sequence[int] | None = None,
    limits: tuple[float, float] = (0, 100),
) -> Any:
    """Draws the median over seeds as colour and as text; with several seeds, the text includes the range.

    Args:
      axis: a matplotlib axis.
      values: a `Grid` with two axes besides the seed, a `DataArray` with the dimensions (rows, columns,
        seed), or an array of that shape.
      rows, columns: labels; by default the coordinates of a `Grid` or a `DataArray`.
      metric: as for `learning_curves`. The value of a `Grid` is that after the last epoch.
      framed: for each row, the column of the cell with a frame.
      limits: the values of the first and the last colour.

    Returns:
      The image, for `figure.colorbar`.
    """
    from matplotlib.patches import Rectangle

    if isinstance(values, Grid):
        values = last_row(read_metric(values, metric))
    if hasattr(values, "dims"):
        names = [dim for dim in values.dims if dim != "seed"]
        if len(names) != 2:
            raise ValueError(f"values must have two axes besides the seed, got {', '.join(map(str, names))}")
        values = values.transpose(*names, "seed")
        rows = values[names[0]].values if rows is None else rows
        columns = values[names[1]].values if columns is None else columns
        axis.set(ylabel=str(names[0]).replace("_", " "), xlabel=str(names[1]).replace("_", " "))
    array = np.asarray(values, float)
    median, middle = np.median(array, axis=-1), sum(limits) / 2
    image = axis.imshow(median, cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto")
    for (i, j), value in np.ndenumerate(median):
        spread = f"\n{array[i, j].min():.0f} to {array[i, j].max():.0f}" if array.shape[-1] > 1 else ""
        colour = "black" if value > middle else "white"
        axis.text(j, i, f"{value:.1f}{spread}", ha="center", va="center", fontsize=8, color=colour)
    for i, j in enumerate(() if framed is None else framed):
        axis.add_patch(Rectangle((j - 0.47, i - 0.47), 0.94, 0.94, fill=False, linewidth=2))
    for labels, set_ticks in ((rows, axis.set_yticks), (columns, axis.set_xticks)):
        if labels is not None:
            texts = [f"{label:g}" if isinstance(label, float) else str(label) for label in labels]
            set_ticks(range(len(texts)), texts)
    axis.spines[:].set_visible(False)
    return image


def forest(
    axis: Any,
    groups: Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    seeds: bool = False,
    styles: Sequence[Mapping[str, Any]] | None = None,
    maximum: float = np.inf,
    number: str = "{:.1f}",
) -> None:
    """Draws a row for each label: the mean over seeds with its t-interval, from top to bottom.

    Args:
      axis: a matplotlib axis.
      groups: a mapping from labels to one number for each seed.
      level: confidence level of the intervals.
      seeds: whether every seed is drawn as a dot.
      styles: "color" and "marker" for each label; by default one colour for all.
      maximum: the largest mean that is drawn. A larger mean is written at the right edge, so that the axis
        has a good range for the other rows.
      number: the format of a mean that is written.
    """
    default = {"color": STYLES[0]["color"], "marker": "o"}
    for i, (values, style) in enumerate(zip(groups.values(), cycle(styles or [default]), strict=False)):
        values = np.asarray(values, float)
        mean, color, marker = values.mean(), style["color"], style["marker"]
        if mean > maximum:
            edge = axis.get_yaxis_transform()
            axis.text(1, i, f"{number.format(mean)} →", ha="right", va="center", transform=edge)
            continue
        if seeds:
            axis.plot(values, np.full(len(values), i), ".", color="0.6", markersize=5)
        axis.plot(t_interval(values, level), [i, i], color=color, linewidth=2)
        axis.plot(mean, i, marker, color=color, markersize=6)
    axis.set_yticks(range(len(groups)), list(groups))
    axis.set_ylim(len(groups) - 0.5, -0.5)


def readable_log_ticks(axis: Any) -> None:
    """Sets the ticks of a logarithmic axis, such as `axes.xaxis`, at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())

"""Plots of repeated trainings, drawn on matplotlib axes that the caller creates.

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

from nnjax.compare._series import METRICS, to_series
from nnjax.compare.statistics import t_interval
from nnjax.runtime import lookup, write_atomically
from nnjax.sweep import Grid

STYLES: list[dict[str, Any]] = [
    {"color": color, "linestyle": dashes, "marker": marker}
    for color, dashes, marker in zip(
        cycle(["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"]),
        cycle(["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]),
        "os^Dv<>PX*ph8d",
        strict=False,
    )
]

# What a band or an interval around a line shows.
BANDS: dict[str, Callable[[np.ndarray], Any]] = {
    "range": lambda values: (values.min(axis=0), values.max(axis=0)),
    "quartiles": lambda values: np.percentile(values, [25, 75], axis=0),
}


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


def learning_curves(
    axis: Any,
    results: Any,
    *,
    metric: str = "test error",
    x: ArrayLike | None = None,
    band: str | None = "range",
    seeds: bool = False,
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> list[Any]:
    """Draws the median over seeds against the epoch, one line for each label.

    Args:
      axis: a matplotlib axis.
      results: a `Grid`, a `History`, a `DataArray`, an array of shape (seeds, epochs), or a mapping from
        labels to histories or arrays.
      metric: what is read from a `Grid` or a `History`: "test error", "test accuracy", "validation error",
        "validation accuracy" (all in percent) or "training cost".
      x: positions along the axis; by default epochs, from 1.
      band: around the median, "range" (minimum to maximum), "quartiles", or None.
      seeds: whether every seed is drawn as a thin line.
      styles: keyword arguments of `axis.plot`, one for each label; by default `STYLES`.

    Returns:
      The lines of the medians.
    """
    lines, series = [], to_series(results, metric)
    axis.set_xlabel("epoch")
    if isinstance(results, Grid) or hasattr(results, "test_accuracy"):
        axis.set_ylabel(metric if metric.endswith("cost") else f"{metric} (%)")
    for (label, values), style in zip(series.items(), cycle(styles or STYLES), strict=False):
        positions = np.arange(1, values.shape[1] + 1) if x is None else np.asarray(x)
        defaults = {"markersize": 4, "linewidth": 1.4, "markevery": max(1, len(positions) // 6)}
        (line,) = axis.plot(positions, np.median(values, axis=0), **defaults | {"label": label} | dict(style))
        if band:
            low, high = lookup("band", band, BANDS)(values)
            axis.fill_between(positions, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        if seeds:
            axis.plot(positions, values.T, color=line.get_color(), linewidth=0.5, alpha=0.6)
        lines.append(line)
    return lines


def watched_curves(
    axis: Any,
    values: ArrayLike,
    *,
    seeds: bool = False,
    every: int | None = 1,
    x: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    log: bool = False,
    band: str | None = "range",
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> list[Any]:
    """Draws the values of a watch against the step, one line for each layer. NaN leaves a gap.

    Args:
      axis: a matplotlib axis.
      values: (epoch, step) or (epoch, step, layer), such as `history.watched[name]`.
      seeds: whether `values` have a first axis of seeds. Each line is then a median with a band.
      every: that of the `Watch`; with None, the horizontal axis is the number of finished epochs.
      x: the step of each value, (epoch * step,); pass it if `every` does not divide the steps of an epoch.
      labels: one for each line; by default "layer 1", "layer 2" and so on.
      log: whether the vertical axis is logarithmic.
      band, styles: as for `learning_curves`.

    Returns:
      The lines.
    """
    array = np.asarray(values, float)
    array = array if seeds else array[None]
    if array.ndim not in (3, 4):
        axes = f"{'seed, ' * seeds}epoch, step"
        raise ValueError(f"values must have the shape ({axes}) or ({axes}, layer), got {np.shape(values)}")
    series = array.reshape(len(array), array.shape[1] * array.shape[2], -1).transpose(2, 0, 1)
    default = [f"layer {i + 1}" for i in range(len(series))] if array.ndim == 4 else [""]
    x = np.arange(series.shape[2]) * (every or 1) if x is None else np.ravel(x)
    results = dict(zip(labels or default, series, strict=True))
    lines = learning_curves(axis, results, x=x, band=band if seeds else None, styles=styles)
    axis.set(xlabel="step" if every else "epoch", **({"yscale": "log"} if log else {}))
    return lines


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
    """Draws the mean over seeds against a tuned setting, one line for each label.

    Args:
      axis: a matplotlib axis.
      results: a `Grid` with one axis besides the seed, or a mapping from labels to arrays of shape
        (settings, seeds).
      settings: positions along the axis, common to all labels or a mapping from labels; by default the
        coordinates of a `Grid`, or 0, 1, 2 and so on.
      metric: as for `learning_curves`; of a `Grid`, after the last epoch.
      styles: keyword arguments of `axis.plot`, one for each label; by default `STYLES`.

    Returns:
      The lines.
    """
    if isinstance(results, Grid):
        values = lookup("metric", metric, METRICS)(results).isel(epoch=-1)
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
      metric: as for `learning_curves`; of a `Grid`, after the last epoch.
      framed: for each row, the column of the cell with a frame.
      limits: the values of the first and the last colour.

    Returns:
      The image, for `figure.colorbar`.
    """
    from matplotlib.patches import Rectangle

    if isinstance(values, Grid):
        values = lookup("metric", metric, METRICS)(values).isel(epoch=-1)
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
      groups: from labels to one number for each seed.
      level: confidence level of the intervals.
      seeds: whether every seed is drawn as a dot.
      styles: "color" and "marker" for each label; by default one colour for all.
      maximum: a mean above it is written at the right edge instead of drawn, so that it does not squeeze
        the other rows.
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

"""Plots of repeated training runs: metrics against the epoch, and the values of watches against the step."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnjax.compare._series import row_axis, to_series
from nnjax.runtime import lookup
from nnjax.sweep import Grid
from nnjax.training import History, Run

STYLES: list[dict[str, Any]] = [
    {"color": color, "linestyle": dashes, "marker": marker}
    for color, dashes, marker in zip(
        cycle(["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"]),
        cycle(["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]),
        "os^Dv<>PX*ph8d",
        strict=False,
    )
]

# The lower and the upper limit of the band around a line.
BANDS: dict[str, Callable[[np.ndarray], Any]] = {
    "range": lambda values: (values.min(axis=0), values.max(axis=0)),
    "quartiles": lambda values: np.percentile(values, [25, 75], axis=0),
}


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
    """Draws the median over seeds against the epoch or step, one line for each label.

    Args:
      axis: a matplotlib axis.
      results: a `Grid`, a `Run`, a `History`, a `DataArray`, an array of shape (seeds, epochs), or a mapping
        from labels to runs, histories or arrays.
      metric: what is read from a `Grid`, a `Run` or a `History`: "test error", "test accuracy",
        "validation error", "validation accuracy" (all in percent), "training cost", "validation cost" or
        "test cost".
      x: horizontal positions; by default the epochs, from 1, or the numbers of finished steps.
      band: the band around the median: "range" (minimum to maximum), "quartiles", or None.
      seeds: whether every seed is drawn as a thin line.
      styles: keyword arguments of `axis.plot`, one for each label; by default `STYLES`.

    Returns:
      The lines of the medians.
    """
    lines, series = [], to_series(results, metric)
    unit, default_x = row_axis(results)
    axis.set_xlabel(unit)
    x = default_x if x is None else x
    parts = results.values() if isinstance(results, Mapping) else [results]
    if all(isinstance(part, Grid | Run | History) for part in parts):  # the metric is read from all of them
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
    x: ArrayLike | None = None,
    *,
    seeds: bool = False,
    labels: Sequence[str] | None = None,
    log: bool = False,
    band: str | None = "range",
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> list[Any]:
    """Draws the values of a watch against the step, one line for each layer. NaN makes a gap in the line.

    Args:
      axis: a matplotlib axis.
      values: (row, value) or (row, value, layer), such as `history.watched[name]`; or a part of
        `grid.watched[name]` with these axes.
      x: the step of each value, (row, value), such as `history.watched_step[name]`; not needed for a part of
        `grid.watched`, which contains the steps.
      seeds: whether `values` have a first axis of seeds. Each line is then a median with a band.
      labels: one for each line; by default "layer 1", "layer 2" and so on.
      log: whether the vertical axis is logarithmic.
      band, styles: as for `learning_curves`.

    Returns:
      The lines.
    """
    coords = getattr(values, "coords", {})
    if x is None and "watched_step" in coords:
        x = coords["watched_step"].values[0] if seeds else coords["watched_step"].values
    array = np.asarray(values, float)
    array = array if seeds else array[None]
    if array.ndim not in (3, 4):
        axes = f"{'seed, ' * seeds}row, value"
        raise ValueError(f"values must have the shape ({axes}) or ({axes}, layer), got {np.shape(values)}")
    series = array.reshape(len(array), array.shape[1] * array.shape[2], -1).transpose(2, 0, 1)
    default = [f"layer {i + 1}" for i in range(len(series))] if array.ndim == 4 else [""]
    x = np.arange(series.shape[2]) if x is None else np.ravel(x)
    series, x = series[..., x >= 0], x[x >= 0]
    results = dict(zip(labels or default, series, strict=True))
    lines = learning_curves(axis, results, x=x, band=band if seeds else None, styles=styles)
    axis.set(xlabel="step", **({"yscale": "log"} if log else {}))
    return lines

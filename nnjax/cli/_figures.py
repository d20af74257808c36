"""The figures of `--plot`."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnjax.compare import plots
from nnjax.compare._series import METRICS
from nnjax.runtime.extras import check_extra
from nnjax.runtime.files import write_atomically
from nnjax.sweep import Grid
from nnjax.training import History

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

_SIZE_INCHES = (8, 4)
_LOG_RATIO = 20  # of the largest to the smallest value: minimum for a logarithmic axis


def check_plot(path: Path) -> None:
    """Raises an error if no figure can be drawn to `path`: no matplotlib, or an unknown suffix."""
    check_extra("compare", "--plot", "matplotlib")
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"--plot must end in one of {', '.join(f'.{f}' for f in formats)}, got {path}")


def write_figure(path: Path, figure: "Figure") -> None:
    """Writes a figure in the format of the path's suffix, atomically."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:].lower(), dpi=150)
    write_atomically(path, content.getvalue())


def learning_curve(history: History, dataset: str) -> "Figure":
    """The training cost, and the accuracy of validation and test in percent, or their costs, by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(_SIZE_INCHES, layout="constrained")
    cost, result = figure.subplots(1, 2)
    has_counts = history.validation_correct is not None or history.test_correct is not None
    measure = "accuracy" if has_counts else "cost"
    plots.learning_curves(cost, history, metric="training cost", styles=plots.STYLES[2:])
    for split, style in zip(("validation", "test"), plots.STYLES, strict=False):
        if getattr(history, f"{split}_cost") is not None:
            plots.learning_curves(result, {split: history}, metric=f"{split} {measure}", styles=[style])
    cost.set_ylabel("training cost")
    result.set_ylabel("accuracy (%)" if has_counts else "cost")
    if result.lines:
        result.legend()
    for axes in (cost, result):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(dataset)
    return figure


def sweep_figure(grid: Grid, dataset: str) -> "Figure":
    """The accuracy by setting, or the cost: a line over one axis, a heat map over two.

    The results are those of validation or, without validation examples, of training.

    Args:
      grid: with one or two axes besides `seed`.
      dataset: its name, for the title.
    """
    from matplotlib.figure import Figure

    metric = "training cost"
    if grid.validation_cost is not None:
        metric = "validation cost" if grid.validation_correct is None else "validation accuracy"
    values = METRICS[metric](grid).isel(epoch=-1).transpose(..., "seed")
    label = metric if metric.endswith("cost") else f"{metric} (%)"
    figure = Figure(_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    if values.ndim == 2:
        _line(axes, values, label)
    else:
        medians = values.median("seed")
        limits = float(medians.min()), float(medians.max())
        figure.colorbar(plots.heat_map(axes, values, limits=limits), label=label)
    seeds = values.sizes["seed"]
    shown = "median and each seed" if values.ndim == 2 else f"median and range of {seeds} seeds"
    axes.set_title(f"{dataset}: {shown}" if seeds > 1 else dataset)
    return figure


def _line(axes: Any, values: "xarray.DataArray", label: str) -> None:
    name = str(values.dims[0])
    labels = values[name].values
    is_numeric = labels.dtype.kind in "if"
    plots.seeds_and_median(axes, labels if is_numeric else np.arange(len(labels)), values.values)
    if not is_numeric:
        axes.set_xticks(range(len(labels)), [str(label) for label in labels])
    elif labels.min() > 0 and labels.max() / labels.min() >= _LOG_RATIO:
        axes.set_xscale("log")
        axes.set_xticks(labels, [f"{label:g}" for label in labels])
        axes.minorticks_off()
    axes.set(xlabel=name.replace("_", " "), ylabel=label)
    axes.legend()
    axes.grid(alpha=0.3)

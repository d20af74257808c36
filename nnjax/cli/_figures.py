"""The figures of `--plot`."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnjax.compare import plots
from nnjax.runtime.files import write_atomically
from nnjax.training import History

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

_SIZE_INCHES = (8, 4)
_LOG_RATIO = 20  # of the largest to the smallest value: minimum for a logarithmic axis


def check_plot(path: Path) -> None:
    """Raises ValueError if no figure can be drawn to `path`: no matplotlib, or an unknown suffix."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise ValueError(
            f"--plot needs matplotlib ({error}): run pip install 'nnjax[experiments]'"
        ) from error
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"--plot must end in one of {', '.join(f'.{f}' for f in formats)}, got {path}")


def write_figure(path: Path, figure: "Figure") -> None:
    """Writes a figure in the format of the path's suffix, atomically."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:].lower(), dpi=150)
    write_atomically(path, content.getvalue())


def learning_curve(history: History, dataset: str) -> "Figure":
    """The training cost, and the validation and test accuracy in percent, by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(_SIZE_INCHES, layout="constrained")
    cost, accuracy = figure.subplots(1, 2)
    plots.learning_curves(cost, history, metric="training cost", styles=plots.STYLES[2:])
    for split, style in zip(("validation", "test"), plots.STYLES, strict=False):
        plots.learning_curves(accuracy, {split: history}, metric=f"{split} accuracy", styles=[style])
    cost.set_ylabel("training cost")
    accuracy.set_ylabel("accuracy (%)")
    accuracy.legend()
    for axes in (cost, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(dataset)
    return figure


def sweep_figure(accuracy: "xarray.DataArray", dataset: str) -> "Figure":
    """Validation accuracy by setting: a line over one axis, a heat map over two.

    Args:
      accuracy: fractions, on one or two axes and `seed`.
      dataset: its name, for the title.
    """
    from matplotlib.figure import Figure

    figure = Figure(_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    *names, _ = (percent := 100 * accuracy.transpose(..., "seed")).dims
    if len(names) == 1:
        _line(axes, percent)
    else:
        limits = float(percent.min()), float(percent.max())
        figure.colorbar(plots.heat_map(axes, percent, limits=limits), label="validation accuracy (%)")
    seeds = accuracy.sizes["seed"]
    shown = "median and each seed" if len(names) == 1 else f"median and range of {seeds} seeds"
    axes.set_title(f"{dataset}: {shown}" if seeds > 1 else dataset)
    return figure


def _line(axes: Any, accuracy: "xarray.DataArray") -> None:
    name = str(accuracy.dims[0])
    labels = accuracy[name].values
    is_numeric = labels.dtype.kind in "if"
    plots.seeds_and_median(axes, labels if is_numeric else np.arange(len(labels)), accuracy.values)
    if not is_numeric:
        axes.set_xticks(range(len(labels)), [str(label) for label in labels])
    elif labels.min() > 0 and labels.max() / labels.min() >= _LOG_RATIO:
        axes.set_xscale("log")
        axes.set_xticks(labels, [f"{label:g}" for label in labels])
        axes.minorticks_off()
    axes.set(xlabel=name.replace("_", " "), ylabel="validation accuracy (%)")
    axes.legend()
    axes.grid(alpha=0.3)

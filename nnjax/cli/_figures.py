"""The figures of `--plot`."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnjax.runtime.files import write_atomically
from nnjax.training import History

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

_SIZE_INCHES = (8, 4)
_LOG_RATIO = 20  # of the largest to the smallest value, from which an axis is logarithmic


def check_plot(path: Path) -> None:
    """Raises ValueError if no figure can be drawn to `path`: no matplotlib, or an unknown suffix."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise ValueError(
            f"--plot needs matplotlib ({error}): install it with pip install 'nnjax[experiments]'"
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
    epochs = np.arange(1, len(history) + 1)
    marker = "." if len(history) < 50 else ""
    cost.plot(epochs, history.train_cost, marker=marker, color="tab:gray")
    cost.set(xlabel="epoch", ylabel="training cost")
    accuracy.plot(epochs, 100 * history.validation_accuracy, marker=marker, label="validation")
    accuracy.plot(epochs, 100 * history.test_accuracy, marker=marker, label="test")
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
    accuracy.legend()
    for axes in (cost, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(dataset)
    return figure


def sweep_figure(accuracy: "xarray.DataArray", title: str) -> "Figure":
    """Accuracy by setting: with error bars over one axis, as a heat map over two.

    Args:
      accuracy: fractions, on one or two axes and `seed`.
      title: what the accuracy is of.
    """
    from matplotlib.figure import Figure

    figure = Figure(_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    mean, spread = 100 * accuracy.mean("seed"), 100 * accuracy.std("seed", ddof=1)
    if mean.ndim == 1:
        _curve(axes, mean, spread)
    else:
        _heat_map(axes, mean)
    axes.set_title(title)
    return figure


def _curve(axes: Any, mean: "xarray.DataArray", spread: "xarray.DataArray") -> None:
    (name,) = mean.dims
    labels = mean[name].values
    is_numeric = labels.dtype.kind in "if"
    x = labels if is_numeric else np.arange(len(labels))
    axes.errorbar(x, mean.values, spread.values, marker="o", capsize=3)
    if not is_numeric:
        axes.set_xticks(x, [str(label) for label in labels])
    elif labels.min() > 0 and labels.max() / labels.min() >= _LOG_RATIO:
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{label:g}" for label in labels])
        axes.minorticks_off()
    axes.set(xlabel=_words(name), ylabel="accuracy (%)")
    axes.grid(alpha=0.3)


def _heat_map(axes: Any, mean: "xarray.DataArray") -> None:
    rows, columns = mean.dims
    image = axes.imshow(mean.values, aspect="auto", origin="lower")
    for axis, name in ((axes.yaxis, rows), (axes.xaxis, columns)):
        labels = [f"{v:g}" if isinstance(v, float) else str(v) for v in mean[name].values.tolist()]
        axis.set_ticks(np.arange(len(labels)), labels)
        axis.set_label_text(_words(name))
    middle = (np.nanmin(mean.values) + np.nanmax(mean.values)) / 2
    for (i, j), value in np.ndenumerate(mean.values):
        color = "black" if math.isnan(value) or value > middle else "white"
        axes.text(j, i, f"{value:.1f}", ha="center", va="center", color=color)
    axes.figure.colorbar(image, label="accuracy (%)")


def _words(name: Any) -> str:
    return str(name).replace("_", " ")

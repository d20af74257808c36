"""One number for each seed and epoch, from a `History`, a `Grid` or plain arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from nnjax.runtime.checks import lookup
from nnjax.sweep import Grid
from nnjax.training import History, Run

Series = Float[np.ndarray, "seeds epochs"]

# How to get each metric from a `History` or a `Grid`; accuracy and error are in percent.
METRICS = {
    "test error": lambda results: 100 * (1 - results.test_accuracy),
    "test accuracy": lambda results: 100 * results.test_accuracy,
    "validation error": lambda results: 100 * (1 - results.validation_accuracy),
    "validation accuracy": lambda results: 100 * results.validation_accuracy,
    "training cost": lambda results: results.train_cost,
    "validation cost": lambda results: results.validation_cost,
    "test cost": lambda results: results.test_cost,
}


def to_series(results: Any, metric: str = "test error") -> dict[str, Series]:
    """Arrays of shape (seeds, epochs) by label; for results with `steps`, a column is an evaluation.

    Args:
      results: a `Grid` (one label for each setting), a `Run`, a `History` (of one network, or of several with
        a network axis), a `DataArray` with the dimension seed, epoch (or step) or both, an array of shape
        (epochs,) or (seeds, epochs), or a mapping from labels to any of these except grids.
      metric: a key of `METRICS`; it selects what is read from a `Grid` or a `History`.
    """
    if isinstance(results, Mapping):
        return {str(label): _one_series(value, metric) for label, value in results.items()}
    if isinstance(results, Grid):
        results = read_metric(results, metric)
    if hasattr(results, "dims"):  # an xarray.DataArray
        return _by_setting(results)
    return {"": _one_series(results, metric)}


def read_metric(results: Grid | History, metric: str) -> Any:
    """The values of a metric; raises ValueError if the results do not have it."""
    read = lookup("metric", metric, METRICS)
    split, kind = metric.split()
    if split != "training":
        if getattr(results, f"{split}_cost") is None:
            raise ValueError(
                f"metric must be that of a split with examples, got {metric!r}: use a metric of another split"
            )
        if kind != "cost" and getattr(results, f"{split}_correct") is None:
            raise ValueError(f"metric must be a cost, because no predictions were counted, got {metric!r}")
    return read(results)


def row_axis(results: Any) -> tuple[str, Any]:
    """The unit of the rows of results, "epoch" or "step", and their positions (None for 1, 2 and so on)."""
    if isinstance(results, Mapping) and results:
        return row_axis(next(iter(results.values())))
    results = results.history if isinstance(results, Run) else results
    if isinstance(results, History):
        return results.unit, results.step if results.unit == "step" else None
    results = results.data if isinstance(results, Grid) else results
    has_steps = "step" in getattr(results, "dims", ())
    return ("step", results["step"].values) if has_steps else ("epoch", None)


def last_row(array: Any) -> Any:
    """The values of a `DataArray` after the last epoch or step."""
    return array.isel({dim: -1 for dim in ("epoch", "step") if dim in array.dims})


def _one_series(value: Any, metric: str) -> Series:
    if hasattr(value, "dims"):  # an xarray.DataArray
        series = list(_by_setting(value).values())
        if len(series) > 1:
            raise ValueError(f"a DataArray in a mapping must have the axes seed and epoch, got {value.dims}")
        return series[0]
    value = value.history if isinstance(value, Run) else value
    if isinstance(value, History):
        return np.atleast_2d(np.asarray(read_metric(value, metric), float).T)
    values = np.asarray(value, float)
    if values.ndim not in (1, 2):
        raise ValueError(f"results must have the shape (epochs,) or (seeds, epochs), got {values.shape}")
    return np.atleast_2d(values)


def _by_setting(array: Any) -> dict[str, Series]:
    """The series of every setting of a `DataArray`, labelled by its coordinates."""
    array = array.rename(step="epoch") if "step" in array.dims else array
    array = array.expand_dims([dim for dim in ("seed", "epoch") if dim not in array.dims])
    settings = [dim for dim in array.dims if dim not in ("seed", "epoch")]
    if not settings:
        return {"": array.transpose("seed", "epoch").values.astype(float)}
    stacked = array.stack(setting=settings).transpose("setting", "seed", "epoch")
    labels = [
        ", ".join(f"{name} = {_text(value)}" for name, value in zip(settings, values, strict=True))
        for values in stacked.setting.values
    ]
    return dict(zip(labels, stacked.values.astype(float), strict=True))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

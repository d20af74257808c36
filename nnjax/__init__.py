"""nnjax: a JAX research framework for experiments with gradient descent."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nnjax import watch
from nnjax.compare import Problem, Tunable, compare, log_uniform, one_minus_log_uniform
from nnjax.config import TrainConfig, configs
from nnjax.data import Dataset, DatasetUnavailable, Split, load
from nnjax.nn import (
    Augment,
    Binary,
    ConvNet,
    Dense,
    DenseWithDropout,
    LabelSmoothing,
    Layer,
    Objective,
    Params,
    binary,
    confusion_matrix,
    count_correct,
    feedforward,
    he,
    heaviside,
    identity,
    init,
    is_digit,
    lecun,
    one_hot,
    outputs,
    predict,
    quadratic,
    relu,
    sigmoid,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    standard_normal,
    tanh,
)
from nnjax.optim import gauss_newton, momentum, nesterov, with_ema, with_schedule
from nnjax.runtime.executors import UnitsLost
from nnjax.storage import CheckpointPolicy, Model, load_model, save_model
from nnjax.sweep import Grid, Halving, Progress, load_grid, sweep
from nnjax.training import Divergence, History, Run, TrainState, fit

if TYPE_CHECKING:
    from nnjax.compare.problems import PROBLEMS as problems
    from nnjax.recognition import Reading, calibrate, read_picture

__version__ = version("nnjax")


def __getattr__(name: str) -> Any:
    # Imported on use, because they consist of many modules, which take time to import.
    if name in ("Reading", "calibrate", "read_picture"):
        from nnjax import recognition

        return getattr(recognition, name)
    if name == "problems":
        from nnjax.compare.problems import PROBLEMS

        return PROBLEMS
    raise AttributeError(f"module 'nnjax' has no attribute {name!r}")


__all__ = [
    "Augment",
    "Binary",
    "CheckpointPolicy",
    "ConvNet",
    "Dataset",
    "DatasetUnavailable",
    "Dense",
    "DenseWithDropout",
    "Divergence",
    "Grid",
    "Halving",
    "History",
    "LabelSmoothing",
    "Layer",
    "Model",
    "Objective",
    "Params",
    "Problem",
    "Progress",
    "Reading",
    "Run",
    "Split",
    "TrainConfig",
    "TrainState",
    "Tunable",
    "UnitsLost",
    "binary",
    "calibrate",
    "compare",
    "configs",
    "confusion_matrix",
    "count_correct",
    "feedforward",
    "fit",
    "gauss_newton",
    "he",
    "heaviside",
    "identity",
    "init",
    "is_digit",
    "lecun",
    "load",
    "load_grid",
    "load_model",
    "log_uniform",
    "momentum",
    "nesterov",
    "one_hot",
    "one_minus_log_uniform",
    "outputs",
    "predict",
    "problems",
    "quadratic",
    "read_picture",
    "relu",
    "save_model",
    "sigmoid",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "standard_normal",
    "sweep",
    "tanh",
    "watch",
    "with_ema",
    "with_schedule",
]

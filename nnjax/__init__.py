"""nnjax: a small JAX research framework for experiments with gradient descent."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nnjax.averaging import Averaged
from nnjax.codes import Binary, Smoothed, binary, is_digit, one_hot
from nnjax.convnet import ConvNet
from nnjax.data import Dataset, DatasetUnavailable, Split, load
from nnjax.descent import History
from nnjax.distort import Distorted
from nnjax.dropout import Dropout
from nnjax.evaluate import answers, confusion, count_correct, outputs
from nnjax.grid import Grid, Progress, sweep
from nnjax.loop import Divergence, Run, fit
from nnjax.network import (
    Layer,
    Params,
    feedforward,
    gaussian,
    he,
    identity,
    init,
    relu,
    scaled,
    sigmoid,
    step,
    tanh,
)
from nnjax.objective import (
    Dense,
    Objective,
    quadratic,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from nnjax.optimizers import Falling, gauss_newton, momentum, nesterov
from nnjax.runs import Checkpoint, Model, read_model, save
from nnjax.train import TrainState

if TYPE_CHECKING:
    from nnjax.images import Reading, read_picture

__version__ = version("nnjax")


def __getattr__(name: str) -> Any:
    if name in ("Reading", "read_picture"):  # only now: they import scipy.ndimage, which takes its time
        from nnjax import images

        return getattr(images, name)
    raise AttributeError(f"module 'nnjax' has no attribute {name!r}")


__all__ = [
    "Averaged",
    "Binary",
    "Checkpoint",
    "ConvNet",
    "Dataset",
    "DatasetUnavailable",
    "Dense",
    "Distorted",
    "Divergence",
    "Dropout",
    "Falling",
    "Grid",
    "History",
    "Layer",
    "Model",
    "Objective",
    "Params",
    "Progress",
    "Reading",
    "Run",
    "Smoothed",
    "Split",
    "TrainState",
    "answers",
    "binary",
    "confusion",
    "count_correct",
    "feedforward",
    "fit",
    "gauss_newton",
    "gaussian",
    "he",
    "identity",
    "init",
    "is_digit",
    "load",
    "momentum",
    "nesterov",
    "one_hot",
    "outputs",
    "quadratic",
    "read_model",
    "read_picture",
    "relu",
    "save",
    "scaled",
    "sigmoid",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "step",
    "sweep",
    "tanh",
]

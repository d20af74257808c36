"""How sure a network is of each answer, and how far it may be believed.

An output activation is read as the probability that its neuron should be 1. So a label, written
by the code as 0s and 1s, has the likelihood Π a^y (1−a)^(1−y), and there is one hypothesis more:
that it is nothing the network knows, all outputs silent. With softmax the outputs are the
probabilities of the labels as they stand.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from nnjax.data import Dataset
from nnjax.nn.conv import all_layers
from nnjax.nn.metrics import outputs
from nnjax.nn.objective import Objective, softmax_cross_entropy
from nnjax.nn.output_codes import OneHot
from nnjax.recognition.digit_layout import infer_layout
from nnjax.recognition.outliers import fit_outlier_model
from nnjax.storage.model_file import Calibration, DigitLayout

MIN_ACTIVATION = 1e-6  # of an activation, so that its logarithm is finite
SHIFT_FRACTION = 1 / 28  # of an image's side
TEMPERATURES = 0.25, 16.0, 97  # from, to, how many


def probabilities(
    a: Float[Array, " n_out"], objective: Objective, num_classes: int
) -> Float[Array, " num_classes+1"]:
    """The probability of each label, and last of none of them, for one output of `outputs`.

    Args:
      a: the output activations of one image.
      objective: its code says what labels look like, its cost whether outputs exclude each other.
      num_classes: how many labels there are.

    >>> p = probabilities(jnp.array([0.9, 0.1]), Objective(), 2)
    >>> [f"{x:.2f}" for x in p]
    ['0.89', '0.01', '0.10']
    """
    a = jnp.clip(a.astype(jnp.float32), MIN_ACTIVATION, 1 - MIN_ACTIVATION)
    if objective.cost is softmax_cross_entropy:
        scores = jnp.append(jnp.log(a[:num_classes]), -jnp.inf)
    else:
        y = jax.vmap(objective.code.encode, (0, None))(jnp.arange(num_classes), a.size).astype(a.dtype)
        said, silent = jnp.log(a), jnp.log1p(-a)
        none = jnp.sum(silent) if isinstance(objective.code, OneHot) else -jnp.inf
        scores = jnp.append(y @ said + (1 - y) @ silent, none)
    return jax.nn.softmax(scores)


def shifted_copies(images: Num[Array, "n pixels"], image_shape: tuple[int, ...]) -> Num[Array, "k n pixels"]:
    """The images as they are, and moved aside by 1/28 of their side, eight ways.

    Where that rounds to no pixel, and where inputs are no images, as they are alone.
    """
    if len(image_shape) < 2:
        return images[None]
    height, width, *_ = image_shape
    down, across = round(SHIFT_FRACTION * height), round(SHIFT_FRACTION * width)
    around = ((0, 0), (down, down), (across, across), *(((0, 0),) * len(image_shape[2:])))
    padded = jnp.pad(images.reshape(-1, *image_shape), around)
    moved = [
        padded[:, row : row + height, column : column + width].reshape(images.shape)
        for row in sorted({0, down, 2 * down})
        for column in sorted({0, across, 2 * across})
    ]
    return jnp.stack(moved)


@partial(jax.jit, static_argnames=("num_classes", "image_shape"))
def tta_probabilities(
    params: Any, images: Num[Array, "n pixels"], objective: Objective, num_classes: int,
    image_shape: tuple[int, ...], temperature: float | Array = 1.0,
) -> Float[Array, "n num_classes+1"]:  # fmt: skip
    """`probabilities` of every image, the mean over its `positions`.

    What a network knows, it knows a pixel aside too; of what it never saw it is often sure by chance.
    Logarithms of the mean are divided by the temperature, over 1 for a network that is too sure.
    """

    def each(moved):
        return jax.vmap(lambda a: probabilities(a, objective, num_classes))(outputs(params, moved, objective))

    p = jnp.mean(jax.lax.map(each, shifted_copies(images, image_shape)), axis=0)
    return _tempered(p, temperature)


def _tempered(p: Float[Array, "n num_classes+1"], temperature: float | Array):
    return jax.nn.softmax(jnp.log(p) / temperature)


@partial(jax.jit, static_argnames=("num_classes", "image_shape"))
def fit_temperature(
    params: Any, images: Num[Array, "n pixels"], labels: Int[Array, " n"], objective: Objective,
    num_classes: int, image_shape: tuple[int, ...],
) -> Float[Array, ""]:  # fmt: skip
    """The temperature at which `mean_probabilities` are most likely to be right about these images.

    That is, the mean of −ln p of the right label is least. With images that were not trained on
    an answer of probability p is then right about that often (Guo, Pleiss, Sun, Weinberger,
    *On Calibration of Modern Neural Networks*, 2017). Tried are 97 values from 1/4 to 16.
    """
    p = tta_probabilities(params, images, objective, num_classes, image_shape)

    def surprise(temperature):
        right = _tempered(p, temperature)[jnp.arange(len(labels)), labels]
        return -jnp.mean(jnp.log(jnp.maximum(right, MIN_ACTIVATION)))

    temperatures = jnp.geomspace(*TEMPERATURES)
    return temperatures[jnp.argmin(jax.lax.map(surprise, temperatures))]


def calibrate(params: Any, objective: Objective, data: Dataset) -> Calibration:
    """What `save_model` stores for reading pictures: layout, temperature and outlier model.

    Args:
      params, objective: a trained network and what it was trained for.
      data: what it was trained on; the temperature is fitted on its validation split.

    >>> import nnjax
    >>> data, config = nnjax.load("digits"), nnjax.TrainConfig(epochs=1)
    >>> run = config.fit(jax.random.key(0), data)
    >>> calibrate(run.params, config.objective(data), data).layout
    DigitLayout(box=(8, 8), stretched=True)
    """
    objective, layout = objective.inference(), _layout(data)
    has_labels = data.train.targets.ndim == 1
    outliers = (
        fit_outlier_model(data.train, data.validation, data.num_classes) if layout and has_labels else None
    )
    return Calibration(layout, _temperature(params, objective, data), outliers)


def _layout(data: Dataset) -> DigitLayout | None:
    height, width, *channels = *data.input_shape, 1, 1
    if len(data.input_shape) < 2 or math.prod(channels) > 1:
        return None
    layout = infer_layout(np.asarray(data.train.inputs).reshape(-1, height, width))
    return layout if 0 < layout.box[0] <= height and 0 < layout.box[1] <= width else None


def _temperature(params: Any, objective: Objective, data: Dataset) -> float:
    """1 if validation images do not suffice: none, target vectors, or a code that only says yes or no."""
    inputs, labels = data.validation
    n_out = all_layers(params)[-1].b.shape[0]
    if not len(labels) or labels.ndim > 1 or objective.code.num_classes(n_out) < data.num_classes:
        return 1.0
    images = jnp.asarray(inputs), jnp.asarray(labels)
    return float(fit_temperature(params, *images, objective, data.num_classes, data.input_shape))

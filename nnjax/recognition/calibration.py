"""Calibrated probabilities of labels, and the other values that a model file needs for `read_picture`.

An output activation a is interpreted as the probability that the output should be 1. So the likelihood of a
label with the code y is Π a^y (1−a)^(1−y). For the additional label "no digit", all outputs should be 0. The
outputs of a softmax already are the probabilities of the labels.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, UInt8

from nnjax.data import Dataset
from nnjax.nn._compiler import jit_for_params
from nnjax.nn.conv import all_layers
from nnjax.nn.metrics import outputs
from nnjax.nn.objective import Objective, softmax_cross_entropy
from nnjax.nn.output_codes import OneHot
from nnjax.recognition.digit_layout import infer_layout
from nnjax.storage.model_file import Calibration, DigitLayout

MIN_ACTIVATION = 1e-6  # activations are clipped to this and 1 minus this, so that logarithms are finite
SHIFT_FRACTION = 1 / 28  # of an image's side: a pixel of MNIST
NUM_LAYOUT_IMAGES = 5000  # the layout is that of this number of training images, or somewhat more
MIN_BATCH, MAX_BATCH = 16, 64  # the sizes of batches of images
MIN_TEMPERATURE, MAX_TEMPERATURE, NUM_TEMPERATURES = 0.25, 16.0, 97


def probabilities(
    a: Float[Array, " n_out"], objective: Objective, num_classes: int
) -> Float[Array, " num_classes+1"]:
    """The probability of each label, and last of "no digit", for the output of one image.

    Args:
      a: the output activations of one image.
      objective: its code encodes the labels; its cost says whether outputs exclude each other.
      num_classes: the number of labels.

    >>> p = probabilities(jnp.array([0.9, 0.1]), Objective(), 2)
    >>> [f"{x:.2f}" for x in p]
    ['0.89', '0.01', '0.10']
    """
    a = jnp.clip(a.astype(jnp.float32), MIN_ACTIVATION, 1 - MIN_ACTIVATION)
    if objective.cost is softmax_cross_entropy:
        scores = jnp.append(jnp.log(a[:num_classes]), -jnp.inf)
    else:
        y = jax.vmap(objective.label_code.encode, (0, None))(jnp.arange(num_classes), a.size).astype(a.dtype)
        log_on, log_off = jnp.log(a), jnp.log1p(-a)
        no_digit = jnp.sum(log_off) if isinstance(objective.code, OneHot) else -jnp.inf
        scores = jnp.append(y @ log_on + (1 - y) @ log_off, no_digit)
    return jax.nn.softmax(scores)


def map_shifted_copies(
    f: Callable[[Num[Array, "n ..."]], Array], images: Num[Array, "n ..."], image_shape: tuple[int, ...]
) -> Num[Array, "k ..."]:
    """`f` of the images, and of copies shifted by 1/28 of their side in eight directions.

    If that rounds to 0 pixels, or the inputs are not images, there is one copy that is not shifted.
    """
    if len(image_shape) < 2:
        return f(images)[None]
    height, width, *channels = image_shape
    down, across = round(SHIFT_FRACTION * height), round(SHIFT_FRACTION * width)
    padding = ((0, 0), (down, down), (across, across), *(((0, 0),) * len(channels)))
    padded = jnp.pad(images.reshape(-1, *image_shape), padding)

    def of_copy(corner):
        start = 0, *corner, *(0 for _ in channels)
        return f(jax.lax.dynamic_slice(padded, start, (len(images), *image_shape)).reshape(images.shape))

    corners = itertools.product(sorted({0, down, 2 * down}), sorted({0, across, 2 * across}))
    return jax.lax.map(of_copy, jnp.array(list(corners)))  # one copy after another, to save memory


def in_batches(
    function: Callable[[UInt8[np.ndarray, "m ..."]], Any], images: UInt8[np.ndarray, "n ..."]
) -> Float[np.ndarray, "n outputs"]:
    """The outputs of a compiled function for all images, computed in batches.

    The last batch is filled with blank images, so that only two batch sizes are compiled.
    """
    outputs = []
    for start in range(0, max(1, len(images)), MAX_BATCH):
        batch = images[start : start + MAX_BATCH]
        size = MIN_BATCH if len(batch) <= MIN_BATCH else MAX_BATCH
        blank = ((0, size - len(batch)), *((0, 0),) * (images.ndim - 1))
        outputs.append(np.asarray(function(np.pad(batch, blank)))[: len(batch)])
    return np.concatenate(outputs)


@partial(jit_for_params, static_argnames=("num_classes", "image_shape"))
def tta_probabilities(
    params: Any, images: Num[Array, "n ..."], objective: Objective, num_classes: int,
    image_shape: tuple[int, ...], temperature: float | Array = 1.0,
) -> Float[Array, "n num_classes+1"]:  # fmt: skip
    """Test-time augmentation: the mean of `probabilities` over shifted copies of each image.

    A network also recognizes a digit that is shifted by a pixel. For an image that is not a digit, its
    confidence often depends on the exact position. The logarithm of the mean is divided by the temperature,
    which is above 1 for an overconfident network.
    """

    def of_copies(copies):
        a = outputs(params, copies, objective)
        return jax.vmap(lambda a: probabilities(a, objective, num_classes))(a)

    p = jnp.mean(map_shifted_copies(of_copies, images, image_shape), axis=0)
    return jax.nn.softmax(jnp.log(p) / temperature)


def fit_temperature(p: Float[np.ndarray, "n num_classes+1"], labels: Int[np.ndarray, " n"]) -> float:
    """The temperature of `tta_probabilities` that minimizes the mean of −ln p of the correct label.

    Then about a fraction p of the predictions with probability p is correct on images that were not
    trained on (Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, 2017). The search
    is over 97 values from 1/4 to 16.

    Args:
      p: the probabilities with the temperature 1.
      labels: the correct labels.
    """
    log_p = np.log(np.maximum(p, np.finfo(p.dtype).tiny)).T  # (num_classes + 1, n), which is faster to sum
    log_p_correct = log_p[labels, np.arange(len(labels))]

    def mean_negative_log_likelihood(temperature):
        log_sum = np.log(np.sum(np.exp(log_p / temperature), axis=0))
        return np.mean(np.minimum(log_sum - log_p_correct / temperature, -math.log(MIN_ACTIVATION)))

    temperatures = np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, NUM_TEMPERATURES)
    return min(temperatures.tolist(), key=mean_negative_log_likelihood)


def calibrate(params: Any, objective: Objective, data: Dataset) -> Calibration:
    """Computes what `save_model` stores for `read_picture`: layout and temperature.

    Args:
      params: the parameters of a trained network.
      objective: the objective of its training.
      data: the data set of its training; the temperature is fitted to the validation split.

    Returns:
      The calibration. Without gray images its layout is None, and `nnjax.read_picture` raises an error.

    >>> import nnjax
    >>> data = nnjax.load("digits")
    >>> params = nnjax.init(jax.random.key(0), (64, 10))
    >>> nnjax.calibrate(params, nnjax.Objective(), data).layout
    DigitLayout(box=(8, 6), stretched=True)
    """
    objective, layout = objective.inference(), _layout(data)
    return Calibration(layout, _temperature(params, objective, data))


def _layout(data: Dataset) -> DigitLayout | None:
    """None if inputs are not gray images, or if most training images are blank."""
    if len(data.input_shape) < 2 or math.prod(data.input_shape[2:]) != 1:
        return None
    height, width, *_ = data.input_shape
    images = data.train.inputs[:: max(1, len(data.train.inputs) // NUM_LAYOUT_IMAGES)]
    layout = infer_layout(np.asarray(images).reshape(-1, height, width))
    return layout if 0 < layout.box[0] <= height and 0 < layout.box[1] <= width else None


def _temperature(params: Any, objective: Objective, data: Dataset) -> float:
    """1 without validation images or labels, and for a code that does not predict every label."""
    inputs, labels = data.validation
    n_out = all_layers(params)[-1].b.shape[0]
    if not len(labels) or labels.ndim > 1 or objective.code is None or data.num_classes is None:
        return 1.0
    if objective.code.num_classes(n_out) < data.num_classes:
        return 1.0
    p = tta_probabilities(params, inputs, objective, data.num_classes, data.input_shape)
    return fit_temperature(np.asarray(p), np.asarray(labels))

"""How sure a network is of each answer, and how far it may be believed.

An output activation is read as the probability that its neuron should be 1. So a label, written
by the code as 0s and 1s, has the likelihood Π a^y (1−a)^(1−y), and there is one hypothesis more:
that it is nothing the network knows, all outputs silent. With softmax the outputs are the
probabilities of the labels as they stand.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from nnjax.codes import OneHot
from nnjax.evaluate import outputs
from nnjax.objective import Objective, softmax_cross_entropy

LEAST_A = 1e-6  # of an activation, so that its logarithm is finite
MOVED = 1 / 28  # of an image's side
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
    a = jnp.clip(a.astype(jnp.float32), LEAST_A, 1 - LEAST_A)
    if objective.cost is softmax_cross_entropy:
        scores = jnp.append(jnp.log(a[:num_classes]), -jnp.inf)
    else:
        y = jax.vmap(objective.code.encode, (0, None))(jnp.arange(num_classes), a.size).astype(a.dtype)
        said, silent = jnp.log(a), jnp.log1p(-a)
        none = jnp.sum(silent) if isinstance(objective.code, OneHot) else -jnp.inf
        scores = jnp.append(y @ said + (1 - y) @ silent, none)
    return jax.nn.softmax(scores)


def positions(images: Num[Array, "n pixels"], image_shape: tuple[int, ...]) -> Num[Array, "k n pixels"]:
    """The images as they are, and moved aside by 1/28 of their side, eight ways.

    Where that rounds to no pixel, and where inputs are no images, as they are alone.
    """
    if len(image_shape) < 2:
        return images[None]
    height, width, *_ = image_shape
    down, across = round(MOVED * height), round(MOVED * width)
    around = ((0, 0), (down, down), (across, across), *(((0, 0),) * len(image_shape[2:])))
    padded = jnp.pad(images.reshape(-1, *image_shape), around)
    moved = [
        padded[:, row : row + height, column : column + width].reshape(images.shape)
        for row in sorted({0, down, 2 * down})
        for column in sorted({0, across, 2 * across})
    ]
    return jnp.stack(moved)


@partial(jax.jit, static_argnames=("num_classes", "image_shape"))
def mean_probabilities(
    params: Any, images: Num[Array, "n pixels"], objective: Objective, num_classes: int,
    image_shape: tuple[int, ...], temperature: float | Array = 1.0,
) -> Float[Array, "n num_classes+1"]:  # fmt: skip
    """`probabilities` of every image, the mean over its `positions`.

    What a network knows, it knows a pixel aside too; of what it never saw it is often sure by chance.
    Logarithms of the mean are divided by the temperature, over 1 for a network that is too sure.
    """

    def each(moved):
        return jax.vmap(lambda a: probabilities(a, objective, num_classes))(outputs(params, moved, objective))

    p = jnp.mean(jax.lax.map(each, positions(images, image_shape)), axis=0)
    return _tempered(p, temperature)


def _tempered(p: Float[Array, "n num_classes+1"], temperature: float | Array):
    return jax.nn.softmax(jnp.log(p) / temperature)


@partial(jax.jit, static_argnames=("num_classes", "image_shape"))
def calibrated(
    params: Any, images: Num[Array, "n pixels"], labels: Int[Array, " n"], objective: Objective,
    num_classes: int, image_shape: tuple[int, ...],
) -> Float[Array, ""]:  # fmt: skip
    """The temperature at which `mean_probabilities` are most likely to be right about these images.

    That is, the mean of −ln p of the right label is least. With images that were not trained on
    an answer of probability p is then right about that often (Guo, Pleiss, Sun, Weinberger,
    *On Calibration of Modern Neural Networks*, 2017). Tried are 97 values from 1/4 to 16.
    """
    p = mean_probabilities(params, images, objective, num_classes, image_shape)

    def surprise(temperature):
        right = _tempered(p, temperature)[jnp.arange(len(labels)), labels]
        return -jnp.mean(jnp.log(jnp.maximum(right, LEAST_A)))

    temperatures = jnp.geomspace(*TEMPERATURES)
    return temperatures[jnp.argmin(jax.lax.map(surprise, temperatures))]

"""How like the images of its label an image is: probabilistic principal components.

A network answers whatever it is shown, two digits squeezed into one as surely as a digit. So the
images of a label are described by a Gaussian too: around the label's mean image, in a few
directions that all labels share as widely as the images vary there, in all others alike (Tipping
and Bishop, *Probabilistic principal component analysis*, 1999). What lies far out is no such image.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from nnjax.objective import as_input

DIRECTIONS = 15
_AT_ONCE = 5000  # images as floats, so that memory stays small


class Likeness(NamedTuple):
    """What images look like, label by label.

    Attributes:
      means: the mean image of each label.
      directions: what all labels' images vary in most, each scaled to unit variance.
      rest: the variance in every other direction.
      middle, spread: mean and standard deviation of √(distance²) of images not trained on.
    """

    means: Float[Array, "labels pixels"]
    directions: Float[Array, "r pixels"]
    rest: Float[Array, ""]
    middle: Float[Array, ""]
    spread: Float[Array, ""]


def fit_likeness(
    train: tuple[Num[Any, "n pixels"], Int[Any, " n"]],
    validation: tuple[Num[Any, "m pixels"], Int[Any, " m"]],
    num_classes: int,
) -> Likeness:
    """Means, directions and variances of the images of `train`; distances are scaled on `validation`."""
    images, labels = np.asarray(train[0]), np.asarray(train[1])
    n, pixels = images.shape
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    sums, squares = np.zeros((num_classes, pixels)), np.zeros((pixels, pixels))
    for some in np.array_split(np.arange(n), -(-n // _AT_ONCE)):
        x = np.asarray(as_input(jnp.asarray(images[some]), jnp.dtype(jnp.float32)))
        sums += (np.arange(num_classes)[:, None] == labels[some]).astype(np.float32) @ x
        squares += x.T @ x
    means = sums / np.maximum(counts, 1)
    within = (squares - (counts * means).T @ means) / n  # of each image about its label's mean
    variances, directions = np.linalg.eigh(within)
    r = min(DIRECTIONS, len(variances) - 1)
    few = len(variances) - r
    rest = max(float(variances[:few].mean()), 1e-6)
    scaled = directions[:, few:].T / np.sqrt(np.maximum(variances[few:, None], rest))
    found = Likeness(*map(jnp.float32, (means, scaled, rest, 0.0, 1.0)))
    far = strangeness(found, *(jnp.asarray(part) for part in (validation if len(validation[1]) else train)))
    return found._replace(middle=jnp.mean(far), spread=jnp.maximum(jnp.std(far), 1e-6))


@jax.jit
def strangeness(
    likeness: Likeness, images: Num[Array, "n pixels"], labels: Int[Array, " n"]
) -> Float[Array, " n"]:
    """How far images lie from what their labels' look like: 0 as usual, in standard deviations.

    That of √(Σ z²/λ + ‖x − μ − Σ z v‖²/s²): z along the directions v, whose variances are λ, and s²
    the variance of the rest.
    """
    x = as_input(images, jnp.dtype(jnp.float32)) - likeness.means[labels]
    z = x @ likeness.directions.T
    lengths = jnp.sum(likeness.directions**2, axis=1)  # 1/λ
    beyond = jnp.sum(x**2, axis=1) - jnp.sum(z**2 / lengths[None], axis=1)
    distance = jnp.sqrt(jnp.sum(z**2, axis=1) + jnp.maximum(beyond, 0) / likeness.rest)
    return (distance - likeness.middle) / likeness.spread

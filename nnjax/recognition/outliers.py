"""How like the images of its label an image is: probabilistic principal components.

A network answers whatever it is shown, two digits squeezed into one as surely as a digit. So the
images of a label are described by a Gaussian too: around the label's mean image, in a few
directions that all labels share as widely as the images vary there, in all others alike (Tipping
and Bishop, *Probabilistic principal component analysis*, 1999). What lies far out is no such image.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from nnjax.nn.objective import to_input
from nnjax.storage.model_file import OutlierModel

DIRECTIONS = 15
_ENOUGH = 20_000  # images, to tell means and variances from


def fit_outlier_model(
    train: tuple[Num[Any, "n pixels"], Int[Any, " n"]],
    validation: tuple[Num[Any, "m pixels"], Int[Any, " m"]],
    num_classes: int,
) -> OutlierModel:
    """Means, directions and variances of images of `train`; distances are scaled on `validation`.

    Of more than 20,000 images, so many drawn at random are looked at.
    """
    n = len(train[1])
    some = np.sort(np.random.default_rng(0).choice(n, min(n, _ENOUGH), replace=False))
    images, labels = (np.asarray(part)[some] for part in train)
    x = to_input(images, jnp.dtype(jnp.float32))
    rows = np.eye(num_classes, dtype=np.float32)[:, labels]  # of each label
    means = rows @ x / np.maximum(rows.sum(axis=1, keepdims=True), 1)
    x -= means[labels]
    variances, directions = np.linalg.eigh(x.T @ x / len(x))
    r = min(DIRECTIONS, len(variances) - 1)
    few = len(variances) - r
    rest = max(float(variances[:few].mean()), 1e-6)
    scaled = directions[:, few:].T / np.sqrt(np.maximum(variances[few:, None], rest))
    found = OutlierModel(*map(np.float32, (means, scaled, rest, 0.0, 1.0)))
    held_out = tuple(map(np.asarray, validation)) if len(validation[1]) else (images, labels)
    far = np.asarray(outlier_score(found, *held_out))
    return found._replace(center=far.mean(), scale=np.maximum(far.std(), np.float32(1e-6)))


@jax.jit
def outlier_score(
    model: OutlierModel, images: Num[Array, "n pixels"], labels: Int[Array, " n"]
) -> Float[Array, " n"]:
    """How far images lie from what their labels' look like: 0 as usual, in standard deviations.

    That of √(Σ z²/λ + ‖x − μ − Σ z v‖²/s²): z along the directions v, whose variances are λ, and s²
    the variance of the rest.
    """
    x = to_input(images, jnp.dtype(jnp.float32)) - model.means[labels]
    z = x @ model.directions.T
    lengths = jnp.sum(model.directions**2, axis=1)  # 1/λ
    beyond = jnp.sum(x**2, axis=1) - jnp.sum(z**2 / lengths[None], axis=1)
    distance = jnp.sqrt(jnp.sum(z**2, axis=1) + jnp.maximum(beyond, 0) / model.noise_variance)
    return (distance - model.center) / model.scale

"""How different an image is from the training images of its label: probabilistic principal components.

A network predicts a label for any image, even for two digits squeezed into one. So the images of each label
are also described by a Gaussian around the mean image of the label. Its covariance, which all labels share,
has separate variances in a few directions and a single one in all others (Tipping and Bishop,
*Probabilistic principal component analysis*, 1999). An image far from its mean is an outlier.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from nnjax.nn.objective import to_input
from nnjax.storage.model_file import OutlierModel

NUM_DIRECTIONS = 15
MAX_EXAMPLES = 20_000  # enough to estimate means and variances


def fit_outlier_model(
    train: tuple[Num[Any, "n ..."], Int[Any, " n"]],
    validation: tuple[Num[Any, "m ..."], Int[Any, " m"]],
    num_classes: int,
) -> OutlierModel:
    """Fits means, directions and variances on training images, and the scale of scores on validation images.

    Args:
      train, validation: images and labels; of more than 20,000 training images a random subset is used. If
        there are no validation images, training images take their place.
      num_classes: the number of labels.
    """
    n = len(train[1])
    subset = np.sort(np.random.default_rng(0).choice(n, min(n, MAX_EXAMPLES), replace=False))
    images, labels = (np.asarray(part)[subset] for part in train)
    x = to_input(images.reshape(len(images), -1), jnp.dtype(jnp.float32))
    indicator = np.eye(num_classes, dtype=np.float32)[:, labels]
    means = indicator @ x / np.maximum(indicator.sum(axis=1, keepdims=True), 1)
    x -= means[labels]
    variances, directions = np.linalg.eigh(x.T @ x / len(x))
    num_directions = min(NUM_DIRECTIONS, len(variances) - 1)
    num_rest = len(variances) - num_directions
    noise_variance = max(float(variances[:num_rest].mean()), 1e-6)
    scaled = directions[:, num_rest:].T / np.sqrt(np.maximum(variances[num_rest:, None], noise_variance))
    model = OutlierModel(*map(np.float32, (means, scaled, noise_variance, 0.0, 1.0)))
    held_out = tuple(map(np.asarray, validation)) if len(validation[1]) else (images, labels)
    distances = np.asarray(outlier_score(model, *held_out))
    return model._replace(center=distances.mean(), scale=np.maximum(distances.std(), np.float32(1e-6)))


@jax.jit
def outlier_score(
    model: OutlierModel, images: Num[Array, "n ..."], labels: Int[Array, " n"]
) -> Float[Array, " n"]:
    """The distance of images from those of their labels, in standard deviations from the usual distance.

    The distance is √(Σ z²/λ + ‖x − μ − Σ z v‖²/σ²) for components z along the directions v, their variances
    λ, and the noise variance σ². The score is 0 for the mean distance of validation images.
    """
    x = to_input(images.reshape(len(images), -1), jnp.dtype(jnp.float32)) - model.means[labels]
    z = x @ model.directions.T
    precisions = jnp.sum(model.directions**2, axis=1)  # 1/λ
    residual = jnp.sum(x**2, axis=1) - jnp.sum(z**2 / precisions[None], axis=1)
    distance = jnp.sqrt(jnp.sum(z**2, axis=1) + jnp.maximum(residual, 0) / model.noise_variance)
    return (distance - model.center) / model.scale

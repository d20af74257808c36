"""Test problems on MNIST."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from nnjax.compare._problem import Problem
from nnjax.compare._problem_data import mean_pool
from nnjax.compare._synthetic_problems import (
    autoencoder,
    glorot,
    rows_rnn,
    target_entropy,
    training_cost_split,
)
from nnjax.data import Dataset, DatasetUnavailable, load
from nnjax.nn import (
    ConvNet,
    Dense,
    Objective,
    VariationalAutoencoder,
    he,
    identity,
    init,
    negative_elbo,
    quadratic,
    relu,
    softmax_cross_entropy,
    tanh,
)

TRAIN = 10_000  # number of training images, which are the first ones of MNIST
PROBE = 500  # number of training images on which the training cost is evaluated
RIDGE = 1e-4

# The smallest cost of `logistic`, computed in float64; tests/compare/test_problems.py computes it again.
LOGISTIC_MINIMUM = 0.165349834382

CONV = ConvNet((14, 14), kernel_size=3, stride=2, padding="SAME", pool=1)


def mnist() -> Dataset:
    """MNIST as `nnjax.load` returns it.

    Raises:
      DatasetUnavailable: MNIST is not on disk and cannot be downloaded. The message says what to do.
    """
    data = _mnist_or_error()
    if isinstance(data, DatasetUnavailable):
        raise data
    return data


@cache
def _mnist_or_error() -> Dataset | DatasetUnavailable:
    """MNIST, or the error if it is missing. The error is cached, so a process tries the download once."""
    try:
        return load("mnist")
    except DatasetUnavailable as error:
        return DatasetUnavailable(
            "this problem needs MNIST: prepare it with `nnjax data prepare mnist`, or choose a problem that "
            f"needs no download from the list of `nnjax problems`. {error}"
        )


@cache
def images(probe: int) -> Dataset:
    """Images of 28x28 pixels with labels; the training cost is evaluated on the first `probe` of them."""
    return training_cost_split(tuple(part[:TRAIN] for part in mnist().train), probe, name="mnist")


@cache
def images_and_others() -> Dataset:
    """The data of `images`; the test split has validation images of MNIST, for the accuracy on new images."""
    data, others = images(PROBE), (part[:PROBE] for part in mnist().validation)
    return Dataset.from_arrays(data.train, data.validation, tuple(others), name="mnist", num_classes=10)


@cache
def small_images(as_targets: bool = False) -> Dataset:
    """Images of 14x14 pixels with labels, or with the images as targets."""
    inputs, labels = (part[:TRAIN] for part in mnist().train)
    small = mean_pool(inputs)
    return training_cost_split((small, small if as_targets else labels), PROBE, name="mnist")


def softmax_with_ridge(params: Any, x: Array, key: Any) -> Array:
    """The ten logits and the ridge penalty, as one array.

    The penalty of an `Objective` is not used, because evaluations leave it out.
    """
    ((w, b),) = params
    return jnp.append(w @ x.ravel() + b, RIDGE / 2 * jnp.sum(w**2))


def cross_entropy_plus_ridge(output: Array, label: Array) -> Array:
    """−ln softmax(z)[label] plus the penalty."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(output[:-1], label) + output[-1]


def logistic_minimum(data: Dataset, split: str) -> float:
    """The smallest possible training cost of `logistic`."""
    return LOGISTIC_MINIMUM


def zero_layer(key: Array) -> Any:
    """A layer with 784 inputs and 10 outputs, whose weights and biases are 0."""
    return jax.tree.map(jnp.zeros_like, init(key, (784, 10)))


def vae_with_fixed_noise(params: Any, x: Array, key: Array | None) -> Array:
    """A variational autoencoder whose noise for an image is the same in every evaluation."""
    if key is None:
        key = jax.random.fold_in(jax.random.key(0), jnp.round(255 * jnp.sum(x)).astype(jnp.uint32))
    return VariationalAutoencoder(relu)(params, x, key)


def classifier(name: str, draw: Any, forward: Any, steps: int, separates_by: str) -> Problem:
    """A network with softmax and cross-entropy on images of 14x14 pixels."""
    return Problem(
        name, small_images, draw, Objective(forward, softmax_cross_entropy), batch_size=64, steps=steps,
        separates_by=separates_by, report_on="validation",
    )  # fmt: skip


def image_problems() -> list[Problem]:
    """The problems on MNIST. No data is loaded before `load` is called."""
    draw_vae = partial(
        VariationalAutoencoder(relu).init, n_in=196, hidden=(128,), code_size=8, initial_weights=he
    )
    deep = (196, *[32] * 10, 10)
    return [
        Problem(
            "logistic", partial(images, TRAIN), zero_layer,
            Objective(softmax_with_ridge, cross_entropy_plus_ridge, code=None), batch_size=128, steps=800,
            separates_by="convex objective", floor=logistic_minimum, report_on="validation",
            learning_rate_scale=3.0, version=2,
        ),
        Problem(
            "book_mlp", images_and_others, partial(init, sizes=(784, 30, 10)), Objective(Dense(), quadratic),
            batch_size=32, steps=1520, separates_by="saturation, stuck outputs", report_on="validation",
            learning_rate_scale=10.0,
        ),
        classifier("wide_mlp", partial(init, sizes=(196, 256, 256, 10), initial_weights=he),
                   Dense(relu, identity), 400, "width"),
        classifier("conv", partial(CONV.init, channels=(16, 32), dense=(10,)), CONV, 320, "weight sharing"),
        classifier("deep_tanh", partial(init, sizes=deep, initial_weights=glorot), Dense(tanh, identity), 800,
                   "vanishing gradients"),
        autoencoder("autoencoder", partial(small_images, as_targets=True), 196, (128, 32), 8, 600),
        Problem(
            "vae", partial(small_images, as_targets=True), draw_vae,
            Objective(vae_with_fixed_noise, negative_elbo, code=None), batch_size=64, steps=600,
            separates_by="posterior collapse", floor=target_entropy, report_on="validation",
        ),
        rows_rnn("rows_rnn", partial(images, PROBE), 28, 64, batch_size=32),
    ]  # fmt: skip

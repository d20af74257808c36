"""Test problems on synthetic data and on the embedded digits, which need no download."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.compare._problem import Problem
from nnjax.compare._problem_data import (
    SYMBOLS,
    bernoulli_entropy,
    closed_walk,
    conditional_entropy,
    modular_addition,
    noisy_teacher,
    quadratic_deep,
    text_with_memory,
)
from nnjax.data import Dataset, load
from nnjax.nn import (
    Autoencoder,
    Dense,
    Layer,
    Objective,
    Recurrent,
    RecurrentParams,
    Transformer,
    identity,
    init,
    sigmoid,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    tanh,
    token_cross_entropy,
)

WALK = 4096  # the smallest number of pairs of `bigram`
TEACHER_STEPS = 1520
WINDOW = 33  # symbols; the model predicts all but the first one
WINDOWS = {"train": (4096, 1), "validation": (48, 2), "test": (48, 3)}  # number, and random seed


def glorot(key: Array, n_in: int, n_out: int) -> Layer:
    """Weights from N(0, 2/(n_in + n_out)), biases 0 (Glorot and Bengio, 2010)."""
    return Layer(jax.random.normal(key, (n_out, n_in)) * (2 / (n_in + n_out)) ** 0.5, jnp.zeros(n_out))


# --- quadratic ---


@cache
def quadratic_samples() -> Dataset:
    """The samples of x, which are also the targets. As in DeepOBS, 7 mini-batches are the test split."""
    train, test = ((x, x) for x in (quadratic_deep().train, quadratic_deep().test[: 7 * 128]))
    return Dataset.from_arrays(train, train, test, name="quadratic")


def quadratic_cost(theta: Array, x: Array) -> Array:
    """½ (θ − x)ᵀ H (θ − x)."""
    d = theta - x
    return d @ jnp.asarray(quadratic_deep().hessian, d.dtype) @ d / 2


def quadratic_floor(data: Dataset, split: str) -> float:
    """The cost at the mean of the samples, where its gradient is zero."""
    x = np.asarray(getattr(data, split).inputs, np.float64)
    d = x - x.mean(axis=0)
    return float(np.sum(d @ quadratic_deep().hessian * d) / 2 / len(d))


# --- texts ---


@cache
def bigrams() -> Dataset:
    """Pairs of a symbol and the next one."""
    walk = closed_walk(WALK)
    pairs = walk[:-1, None], walk[1:, None]
    return Dataset.from_arrays(pairs, pairs, name="bigram")


def bigram_floor(data: Dataset, split: str) -> float:
    """The entropy rate of the source. The cost minus this floor is Σ π_i KL(P_i ‖ Q_i)."""
    return conditional_entropy(closed_walk(WALK))


def scaled_row(table: Array, x: Array, key: Any) -> Array:
    """The logits after the symbol x. With the factor, Adam's search space contains the best learning rate."""
    return 10 * table[x]


@cache
def texts() -> Dataset:
    """Windows of a text; the targets are the next symbols."""
    windows = [text_with_memory(n, WINDOW, seed).windows for n, seed in WINDOWS.values()]
    return Dataset.from_arrays(*((w[:, :-1], w[:, 1:]) for w in windows), name="char_transformer")


def text_floor(data: Dataset, split: str) -> float:
    """The cross-entropy of the true probabilities on the same windows, in nats per symbol."""
    n, seed = WINDOWS[split]
    return float(-text_with_memory(n, WINDOW, seed).log_probability.mean() / (WINDOW - 1))


# --- teacher, modular addition ---


@cache
def teacher_data() -> Dataset:
    """Every training example is used once; validation and test targets have no noise."""
    train = noisy_teacher(64 * TEACHER_STEPS, seed=1)
    validation, test = (noisy_teacher(2000, seed) for seed in (2, 3))
    return Dataset.from_arrays(
        (train.inputs, train.noisy), (validation.inputs, validation.clean), (test.inputs, test.clean),
        name="teacher",
    )  # fmt: skip


@cache
def sums_modulo_31() -> Dataset:
    """All 961 pairs, of which 673 (70 %) are for training."""
    train, others = modular_addition(31, 673)
    return Dataset.from_arrays(train, others, name="modular_addition", num_classes=31)


# --- images ---


def training_cost_split(train: tuple, probe: int, **names: Any) -> Dataset:
    """A data set whose validation split consists of the first `probe` training examples."""
    return Dataset.from_arrays(train, tuple(part[:probe] for part in train), **names)


@cache
def digits(as_targets: bool = False) -> Dataset:
    """1,200 of the embedded digits with their labels, or with the images as targets."""
    images, labels = (part[:1200] for part in load("digits").train)
    return training_cost_split((images, images if as_targets else labels), 1200, name="digits")


def target_entropy(data: Dataset, split: str) -> float:
    """The smallest possible reconstruction error: the entropy of the targets."""
    return bernoulli_entropy(getattr(data, split).targets)


def flat_cross_entropy(z: Array, y: Array) -> Array:
    """`sigmoid_cross_entropy` of arrays of any shape."""
    return sigmoid_cross_entropy(z.ravel(), y.ravel())


def autoencoder(
    name: str, load: Callable[[], Dataset], n_in: int, hidden: tuple[int, ...], code_size: int, steps: int
) -> Problem:
    """A deep autoencoder with sigmoid neurons."""
    network = Autoencoder(sigmoid)
    draw = partial(network.init, n_in=n_in, hidden=hidden, code_size=code_size, initial_weights=glorot)
    return Problem(
        name, load, draw, Objective(network, flat_cross_entropy, code=None), batch_size=100, steps=steps,
        separates_by="pathological curvature", floor=target_entropy, report_on="validation",
    )  # fmt: skip


def orthogonal_rnn(key: Array, n_in: int, hidden: int, n_out: int) -> RecurrentParams:
    """A tanh RNN whose recurrent matrix is orthogonal."""
    key, matrix_key = jax.random.split(key)
    params = Recurrent("rnn").init(key, n_in, hidden, n_out, initial_weights=glorot)
    matrix = jax.random.orthogonal(matrix_key, hidden)
    return params._replace(cell=params.cell._replace(w=params.cell.w.at[:, n_in:].set(matrix)))


def rows_rnn(name: str, load: Callable[[], Dataset], n_in: int, hidden: int, batch_size: int) -> Problem:
    """A tanh RNN that classifies an image row by row."""
    return Problem(
        name, load, partial(orthogonal_rnn, n_in=n_in, hidden=hidden, n_out=10),
        Objective(Recurrent("rnn"), softmax_cross_entropy), batch_size, steps=520,
        separates_by="exploding gradients", report_on="validation",
    )  # fmt: skip


def zeros(shape: tuple[int, ...], key: Array) -> Array:
    """Parameters that are 0, for every key."""
    return jnp.zeros(shape)


def ones(shape: tuple[int, ...], key: Array) -> Array:
    """Parameters that are 1, for every key."""
    return jnp.ones(shape)


def synthetic_problems() -> list[Problem]:
    """The problems that need no download. No data is generated before `load` is called."""
    return [
        Problem(
            "quadratic", quadratic_samples, partial(ones, (100,)),
            Objective(lambda theta, x, key: theta, quadratic_cost, code=None), batch_size=128, steps=700,
            separates_by="conditioning, noise", floor=quadratic_floor, report_on="validation",
            drop_remainder=True,
        ),
        Problem(
            "bigram", bigrams, partial(zeros, (SYMBOLS, SYMBOLS)),
            Objective(scaled_row, token_cross_entropy, code=None), batch_size=512, steps=320,
            separates_by="heavy-tailed classes", floor=bigram_floor, report_on="validation",
            learning_rate_scale=10.0,
        ),
        Problem(
            "char_transformer", texts,
            partial(Transformer(2).init, vocabulary=SYMBOLS, length=WINDOW - 1, width=32),
            Objective(Transformer(2), token_cross_entropy, code=None), batch_size=8, steps=320,
            separates_by="attention, embeddings", floor=text_floor,
        ),
        Problem(
            "teacher", teacher_data, partial(init, sizes=(20, 64, 1), initial_weights=glorot),
            Objective(Dense(tanh, identity), code=None), batch_size=64, steps=TEACHER_STEPS,
            separates_by="heavy-tailed gradient noise",
        ),
        Problem(
            "modular_addition", sums_modulo_31, partial(init, sizes=(62, 128, 31), initial_weights=glorot),
            Objective(Dense(jnp.square, identity), softmax_cross_entropy), batch_size=128, steps=1000,
            separates_by="implicit bias", report_on="validation", target_accuracy=0.95, has_weight_decay=True,
        ),
        autoencoder("digits_autoencoder", partial(digits, as_targets=True), 64, (48, 24), 6, 1000),
        rows_rnn("digits_rnn", digits, 8, 32, batch_size=40),
    ]  # fmt: skip

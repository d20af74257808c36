"""Synthetic data of the test problems, from random numbers that never change.

`np.random.RandomState` gives the same numbers in every version of NumPy (NEP 19). Random choices, such as the
next symbol of a text, are computed with integers, so they are the same on every processor.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

SYMBOLS = 64

# How often each successor of a symbol occurs in the symbol's row of the table.
ZIPF_WEIGHTS = 64 // np.arange(1, 33)
SPARSE_WEIGHTS = np.array([16, 8, 4, 2, 1, 1])


class Quadratic(NamedTuple):
    """½ (θ − x)ᵀ H (θ − x): the matrix H, and samples of x."""

    hessian: Float[np.ndarray, "100 100"]
    train: Float[np.ndarray, "1000 100"]
    test: Float[np.ndarray, "1000 100"]


@cache
def quadratic_deep() -> Quadratic:
    """The problem `quadratic_deep` of DeepOBS (Schneider, Balles, Hennig, 2019), with the same numbers.

    90 eigenvalues are from U(0, 1) and 10 from U(30, 60). A random rotation gives the eigenvectors, and x is
    from N(0, 0.6²).

    >>> quadratic_deep().train.shape
    (1000, 100)
    """
    random = np.random.RandomState(42)
    eigenvalues = np.concatenate([random.uniform(0, 1, 90), random.uniform(30, 60, 10)])
    rotation = random_rotation(100, random)
    samples = [np.random.RandomState(seed).normal(0, 0.6, (1000, 100)) for seed in (42, 43)]
    hessian = rotation.T @ np.diag(eigenvalues) @ rotation
    return Quadratic(*(array.astype(np.float32) for array in (hessian, *samples)))


def random_rotation(n: int, random: np.random.RandomState) -> Float[np.ndarray, "n n"]:
    """A rotation from the Haar measure, by the subgroup algorithm of Diaconis and Shahshahani (1987)."""
    angle = 2 * np.pi * random.uniform()
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for d in range(3, n + 1):
        v = random.normal(size=d)
        v = np.eye(d)[0] - v / np.linalg.norm(v)
        v /= np.linalg.norm(v)
        larger = np.eye(d)
        larger[1:, 1:] = rotation
        rotation = larger - 2 * np.outer(v, v @ larger)
    return -rotation


def successors(weights: Int[np.ndarray, " n"], seed: int) -> Int[np.ndarray, "symbols choices"]:
    """For each symbol, a row of equally probable choices of the next symbol.

    A row contains n different symbols, the i-th of them `weights[i]` times. They are drawn with probabilities
    proportional to 1 / (1 + symbol), so the frequencies of symbols have heavy tails (Zipf's law).
    """
    random = np.random.RandomState(seed)
    zipf = np.cumsum(55440 // np.arange(1, SYMBOLS + 1))  # 55440 is divisible by 1 to 12
    rows = []
    for _ in range(SYMBOLS):
        row: list[int] = []
        while len(row) < len(weights):
            symbol = int(np.searchsorted(zipf, random.randint(zipf[-1]), side="right"))
            if symbol not in row:
                row.append(symbol)
        rows.append(np.repeat(row, weights))
    return np.array(rows)


@cache
def closed_walk(length: int) -> Int[np.ndarray, " steps"]:
    """A random walk along the successors that ends at its first symbol, after at least `length` steps.

    In a closed walk every symbol is left as often as it is entered. So the pairs of neighbors have exactly
    the stationary distribution of the Markov chain with the walk's transition frequencies, and their
    conditional entropy is the entropy rate of this chain.
    """
    table, random = successors(ZIPF_WEIGHTS, seed=0), np.random.RandomState(1)
    walk = [0]
    while len(walk) <= length or walk[-1] != walk[0]:
        walk.append(int(table[walk[-1], random.randint(table.shape[1])]))
    return np.array(walk, np.int32)


def conditional_entropy(walk: Int[np.ndarray, " steps"]) -> float:
    """The entropy in nats of a symbol of a walk, given the symbol before it.

    >>> conditional_entropy(np.array([0, 1, 0, 1, 0]))
    0.0
    """
    from scipy.special import entr  # −x ln x, with 0 at x = 0

    pairs = np.zeros((SYMBOLS, SYMBOLS))
    np.add.at(pairs, (walk[:-1], walk[1:]), 1 / (len(walk) - 1))
    return float(np.sum(entr(pairs)) - np.sum(entr(pairs.sum(axis=1))))


class Text(NamedTuple):
    """Windows of a text, and for each window ln of the probability of its symbols after the first one."""

    windows: Int[np.ndarray, "n length"]
    log_probability: Float[np.ndarray, " n"]


@cache
def text_with_memory(windows: int, length: int, seed: int) -> Text:
    """Windows of a text in which most symbols can be predicted from the earlier symbols of the window.

    With probability 7/8, a symbol is followed by the symbol that followed it the last time in this window.
    Otherwise, and after a symbol that is new in the window, the next symbol is drawn from the successors. So
    a model that copies from its context has a smaller cost. The probability of every symbol is known exactly.

    >>> text_with_memory(2, 5, seed=0).windows.shape
    (2, 5)
    """
    table, row = successors(SPARSE_WEIGHTS, seed=2), np.arange(windows)
    random = np.random.RandomState(seed)
    text, log_probability = [random.randint(SYMBOLS, size=windows)], np.zeros(windows)
    followed = np.full((windows, SYMBOLS), -1)  # what followed each symbol the last time; -1 for nothing
    for _ in range(length - 1):
        last = text[-1]
        drawn = table[last, random.randint(table.shape[1], size=windows)]
        copied, is_new = followed[row, last], followed[row, last] < 0
        following = np.where(is_new | (random.randint(8, size=windows) == 7), drawn, copied)
        fresh = np.mean(table[last] == following[:, None], axis=1)
        log_probability += np.log(np.where(is_new, fresh, (7 * (following == copied) + fresh) / 8))
        followed[row, last] = following
        text.append(following)
    return Text(np.array(text, np.int32).T, log_probability)


def modular_addition(modulus: int, num_train: int) -> tuple[tuple, tuple]:
    """All pairs (x, y) as two one-hot vectors, with the label (x + y) mod `modulus`, split at random.

    Args:
      modulus: the number of different x and y.
      num_train: the number of training pairs.

    Returns:
      The training pairs and the others, each as (inputs, labels). The inputs contain 0 and 255.

    >>> train, others = modular_addition(5, 20)
    >>> train[0].shape, others[1].shape
    ((20, 10), (5,))
    """
    x, y = np.divmod(np.arange(modulus**2), modulus)
    one_hot = 255 * np.eye(modulus, dtype=np.uint8)
    inputs, labels = np.concatenate([one_hot[x], one_hot[y]], axis=1), (x + y) % modulus
    order = np.random.RandomState(0).permutation(len(inputs))
    train, others = ((inputs[part], labels[part]) for part in np.split(order, [num_train]))
    return train, others


class Regression(NamedTuple):
    """Inputs, outputs of the teacher with noise, and without noise."""

    inputs: Float[np.ndarray, "n 20"]
    noisy: Float[np.ndarray, "n 1"]
    clean: Float[np.ndarray, "n 1"]


def noisy_teacher(n: int, seed: int) -> Regression:
    """Inputs from N(0, 1), and the outputs of a network 20-16-1 with noise.

    The network has tanh neurons, and the noise is 0.5 times Student's t with 2 degrees of freedom.

    >>> noisy_teacher(3, seed=1).noisy.shape
    (3, 1)
    """
    weights: Any = np.random.RandomState(0)
    w1, w2 = weights.normal(size=(16, 20)) / 20**0.5, weights.normal(size=(1, 16)) / 4
    random = np.random.RandomState(seed)
    x = random.normal(size=(n, 20))
    y = np.tanh(x @ w1.T) @ w2.T
    noisy = y + 0.5 * random.standard_t(2, size=(n, 1))
    return Regression(x.astype(np.float32), noisy.astype(np.float32), y.astype(np.float32))


def mean_pool(images: Any) -> np.ndarray:
    """uint8 images of half height and width: the rounded means of 2x2 pixels.

    >>> mean_pool(np.array([[[0, 1], [2, 4]]], np.uint8)).tolist()
    [[[2]]]
    """
    n, height, width = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2).astype(np.int32).sum(axis=(2, 4))
    return ((blocks + 2) // 4).astype(np.uint8)


def bernoulli_entropy(pixels: Any) -> float:
    """The smallest mean cross-entropy of a reconstruction: −Σ [x ln x + (1 − x) ln(1 − x)], in nats.

    Args:
      pixels: uint8 images; x is a pixel divided by 255.

    >>> bernoulli_entropy(np.array([[0, 255]], np.uint8))
    0.0
    """
    from scipy.special import entr  # −x ln x, with 0 at x = 0

    x = np.asarray(pixels) / 255
    return float(np.sum(entr(x) + entr(1 - x)) / len(x))

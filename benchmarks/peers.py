"""One epoch of plain SGD in NumPy, JAX and nnjax; the module `libraries` has other libraries and C.

A peer is made from a seed and a data set. Each call trains one epoch: it shuffles, takes one step per
mini-batch, and returns its seconds. `correct()` counts the correct test predictions, so that a benchmark can
check that all peers do equal work.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax

SIZES, BATCH_SIZE, LEARNING_RATE = (784, 30, 10), 10, 3.0


def draw_params(
    rng: np.random.Generator, dtype: type, sizes: Sequence[int] = SIZES
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The weights and biases of a network, drawn from N(0, 1) as in the book."""
    return [
        (rng.normal(size=(o, i)).astype(dtype), rng.normal(size=o).astype(dtype)) for i, o in pairwise(sizes)
    ]


def draw_network(seed: int, sizes: Sequence[int] = SIZES) -> nnjax.Params:
    """The same as float32 arrays of jax: the initial parameters of the peer of this seed."""
    layers = draw_params(np.random.default_rng(seed), np.float32, sizes)
    return tuple(nnjax.Layer(jnp.asarray(w), jnp.asarray(b)) for w, b in layers)


class Peer:
    """A program that trains one epoch per call; `package` is what it needs beyond nnjax's dependencies."""

    dtype: type = np.float32
    package: str | None = None

    def __init__(self, seed: int, data: nnjax.Dataset):
        self.rng = np.random.default_rng(seed)
        self.data = data
        self.x = np.reshape(data.train.inputs, (-1, 784)).astype(self.dtype) / 255
        self.y = np.eye(10, dtype=self.dtype)[data.train.targets]
        self.params: Any = draw_params(self.rng, self.dtype)

    @classmethod
    def is_available(cls) -> bool:
        """Whether its package is installed."""
        return cls.package is None or find_spec(cls.package) is not None

    def __call__(self) -> float:
        start = time.perf_counter()
        self.epoch()
        return time.perf_counter() - start

    def epoch(self) -> None:
        raise NotImplementedError

    def correct(self) -> int:
        """The number of correct test predictions."""
        params = tuple(nnjax.Layer(*map(jnp.float32, layer)) for layer in self.params)
        return int(nnjax.count_correct(params, *self.data.test))


class Fit(Peer):
    """nnjax.fit: the epoch as one compiled program."""

    def __call__(self) -> float:
        params = tuple(nnjax.Layer(jnp.asarray(w), jnp.asarray(b)) for w, b in self.params)
        key = jax.random.key(int(self.rng.integers(2**31)))
        run = nnjax.fit(key, params, self.data, epochs=1, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE)
        self.params = run.params
        return float(run.history.seconds[0])


class JaxPeer(Peer):
    """A peer on JAX with one compiled call, `step`, per mini-batch."""

    step: Callable[[Any, Any], None]

    def epoch(self):
        order = self.rng.permutation(len(self.x))
        x, y = self.x[order], self.y[order]
        for i in range(0, len(x), BATCH_SIZE):
            self.step(x[i : i + BATCH_SIZE], y[i : i + BATCH_SIZE])
        jax.block_until_ready(self.layers())

    def layers(self) -> Any:
        """The weights and biases as the library holds them."""
        raise NotImplementedError

    def correct(self):
        self.params = [(np.asarray(w), np.asarray(b)) for w, b in self.layers()]
        return super().correct()


class JittedStep(JaxPeer):
    """JAX as it is usually written, without a library."""

    def __init__(self, seed, data):
        super().__init__(seed, data)

        def cost(params, x, y):
            for w, b in params:
                x = jax.nn.sigmoid(x @ w.T + b)
            return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=1))

        @partial(jax.jit, donate_argnums=0)
        def sgd_step(params, x, y):
            grads = jax.grad(cost)(params, x, y)
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads)

        def step(x, y):
            self.params = sgd_step(self.params, x, y)

        self.step = step
        self.params = jax.tree.map(jnp.asarray, self.params)

    def layers(self):
        return self.params


class NumpyBatches(Peer):
    """NumPy with a mini-batch as a matrix, in float64, NumPy's default."""

    dtype = np.float64

    @np.errstate(over="ignore")
    def epoch(self):
        order = self.rng.permutation(len(self.x))
        x, y = self.x[order], self.y[order]
        (w1, b1), (w2, b2) = self.params
        for i in range(0, len(x), BATCH_SIZE):
            a0 = x[i : i + BATCH_SIZE]
            a1 = 1 / (1 + np.exp(-(a0 @ w1.T + b1)))
            a2 = 1 / (1 + np.exp(-(a1 @ w2.T + b2)))
            d2 = (a2 - y[i : i + BATCH_SIZE]) * a2 * (1 - a2)
            d1 = (d2 @ w2) * a1 * (1 - a1)
            scale = self.dtype(LEARNING_RATE / len(a0))
            w2 -= scale * (d2.T @ a1)
            b2 -= scale * d2.sum(axis=0)
            w1 -= scale * (d1.T @ a0)
            b1 -= scale * d1.sum(axis=0)


class NumpyFloat32(NumpyBatches):
    """The same in float32."""

    dtype = np.float32


class BookLoop(Peer):
    """The book's program, written from its description: backpropagation of one example at a time."""

    dtype = np.float64

    def __init__(self, seed, data):
        super().__init__(seed, data)
        self.weights = [w for w, _ in self.params]
        self.biases = [b[:, None] for _, b in self.params]
        self.pairs = [(x[:, None], y[:, None]) for x, y in zip(self.x, self.y, strict=True)]

    def epoch(self):
        self.rng.shuffle(self.pairs)
        for i in range(0, len(self.pairs), BATCH_SIZE):
            self.update(self.pairs[i : i + BATCH_SIZE])
        self.params = [(w, b[:, 0]) for w, b in zip(self.weights, self.biases, strict=True)]

    def update(self, batch):
        sums = [[np.zeros_like(p) for p in group] for group in (self.weights, self.biases)]
        for x, y in batch:
            for total, grads in zip(sums, self.backprop(x, y), strict=True):
                for t, g in zip(total, grads, strict=True):
                    t += g
        for group, total in zip((self.weights, self.biases), sums, strict=True):
            for p, t in zip(group, total, strict=True):
                p -= LEARNING_RATE / len(batch) * t

    def backprop(self, x, y):
        activations, derivatives = [x], []
        for w, b in zip(self.weights, self.biases, strict=True):
            a = 1 / (1 + np.exp(-(w @ activations[-1] + b)))
            activations.append(a)
            derivatives.append(a * (1 - a))
        delta = (activations[-1] - y) * derivatives[-1]
        w_grads, b_grads = [], []
        for layer in range(len(self.weights) - 1, -1, -1):
            w_grads.insert(0, delta @ activations[layer].T)
            b_grads.insert(0, delta)
            if layer:
                delta = self.weights[layer].T @ delta * derivatives[layer - 1]
        return w_grads, b_grads

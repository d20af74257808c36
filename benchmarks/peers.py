"""The same epoch of the same SGD, in NumPy, in JAX and by `nnjax`; `libraries` holds those of others.

A peer is made from a seed and a data set, and is then called once for each epoch: it shuffles,
takes one step a mini-batch, and returns its seconds. `correct()` counts the right test images, so
that equal work can be seen.
"""

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax

SIZES, M, ETA = (784, 30, 10), 10, 3.0


def draw(rng: np.random.Generator, dtype: type) -> list[tuple[np.ndarray, np.ndarray]]:
    """The weights and biases of a network, Gaussian as the book has them."""
    return [
        (rng.normal(size=(o, i)).astype(dtype), rng.normal(size=o).astype(dtype)) for i, o in pairwise(SIZES)
    ]


class Peer:
    """An epoch and its clock; `package` is what it needs beyond what `nnjax` does."""

    dtype: type = np.float32
    package: str | None = None

    def __init__(self, seed: int, data: nnjax.Dataset):
        self.rng = np.random.default_rng(seed)
        self.data = data
        self.x = data.train.inputs.astype(self.dtype) / 255
        self.y = np.eye(10, dtype=self.dtype)[data.train.targets]
        self.params: Any = draw(self.rng, self.dtype)

    @classmethod
    def can_run(cls) -> bool:
        """Whether what it needs is installed."""
        return cls.package is None or find_spec(cls.package) is not None

    def __call__(self) -> float:
        began = time.perf_counter()
        self.epoch()
        return time.perf_counter() - began

    def epoch(self) -> None:
        raise NotImplementedError

    def correct(self) -> int:
        params = tuple(nnjax.Layer(*map(jnp.float32, layer)) for layer in self.params)
        return int(nnjax.count_correct(params, *self.data.test))


class Fit(Peer):
    """nnjax.fit: the epoch as one compiled program."""

    def __call__(self) -> float:
        params = tuple(nnjax.Layer(jnp.asarray(w), jnp.asarray(b)) for w, b in self.params)
        key = jax.random.key(int(self.rng.integers(2**31)))
        run = nnjax.fit(key, params, self.data, epochs=1, batch_size=M, learning_rate=ETA)
        self.params = run.params
        return float(run.history.seconds[0])


class Jitted(Peer):
    """On JAX, but for one compiled call, `step`, for each mini-batch."""

    step: Callable[[Any, Any], None]

    def epoch(self):
        order = self.rng.permutation(len(self.x))
        x, y = self.x[order], self.y[order]
        for i in range(0, len(x), M):
            self.step(x[i : i + M], y[i : i + M])
        jax.block_until_ready(self.layers())

    def layers(self) -> Any:
        """The weights and biases as the library holds them."""
        raise NotImplementedError

    def correct(self):
        self.params = [(np.asarray(w), np.asarray(b)) for w, b in self.layers()]
        return super().correct()


class JittedStep(Jitted):
    """JAX as it is usually written, without a library."""

    def __init__(self, seed, data):
        super().__init__(seed, data)

        def cost(params, x, y):
            for w, b in params:
                x = jax.nn.sigmoid(x @ w.T + b)
            return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=1))

        @partial(jax.jit, donate_argnums=0)
        def compiled(params, x, y):
            grads = jax.grad(cost)(params, x, y)
            return jax.tree.map(lambda p, g: p - ETA * g, params, grads)

        def step(x, y):
            self.params = compiled(self.params, x, y)

        self.step = step
        self.params = jax.tree.map(jnp.asarray, self.params)

    def layers(self):
        return self.params


class NumpyBatches(Peer):
    """NumPy, a mini-batch at a time as matrices, in the float64 that it gives unasked."""

    dtype = np.float64

    @np.errstate(over="ignore")
    def epoch(self):
        order = self.rng.permutation(len(self.x))
        x, y = self.x[order], self.y[order]
        (w1, b1), (w2, b2) = self.params
        for i in range(0, len(x), M):
            a0 = x[i : i + M]
            a1 = 1 / (1 + np.exp(-(a0 @ w1.T + b1)))
            a2 = 1 / (1 + np.exp(-(a1 @ w2.T + b2)))
            d2 = (a2 - y[i : i + M]) * a2 * (1 - a2)
            d1 = (d2 @ w2) * a1 * (1 - a1)
            scale = self.dtype(ETA / len(a0))
            w2 -= scale * (d2.T @ a1)
            b2 -= scale * d2.sum(axis=0)
            w1 -= scale * (d1.T @ a0)
            b1 -= scale * d1.sum(axis=0)


class NumpySingle(NumpyBatches):
    """The same in float32, as one who minds speed would have it."""

    dtype = np.float32


class BookLoop(Peer):
    """The book's program from its description: each example backpropagated by itself, in columns."""

    dtype = np.float64

    def __init__(self, seed, data):
        super().__init__(seed, data)
        self.weights = [w for w, _ in self.params]
        self.biases = [b[:, None] for _, b in self.params]
        self.pairs = [(x[:, None], y[:, None]) for x, y in zip(self.x, self.y, strict=True)]

    def epoch(self):
        self.rng.shuffle(self.pairs)
        for i in range(0, len(self.pairs), M):
            self.update(self.pairs[i : i + M])
        self.params = [(w, b[:, 0]) for w, b in zip(self.weights, self.biases, strict=True)]

    def update(self, batch):
        sums = [[np.zeros_like(p) for p in group] for group in (self.weights, self.biases)]
        for x, y in batch:
            for total, grads in zip(sums, self.backprop(x, y), strict=True):
                for t, g in zip(total, grads, strict=True):
                    t += g
        for group, total in zip((self.weights, self.biases), sums, strict=True):
            for p, t in zip(group, total, strict=True):
                p -= ETA / len(batch) * t

    def backprop(self, x, y):
        activations, derivatives = [x], []
        for w, b in zip(self.weights, self.biases, strict=True):
            s = 1 / (1 + np.exp(-(w @ activations[-1] + b)))
            activations.append(s)
            derivatives.append(s * (1 - s))
        delta = (activations[-1] - y) * derivatives[-1]
        w_grads, b_grads = [], []
        for layer in range(len(self.weights) - 1, -1, -1):
            w_grads.insert(0, delta @ activations[layer].T)
            b_grads.insert(0, delta)
            if layer:
                delta = self.weights[layer].T @ delta * derivatives[layer - 1]
        return w_grads, b_grads

"""Backpropagation in float64 NumPy, written from the book's equations BP1-BP4."""

from itertools import pairwise

import numpy as np

from nnjax import Layer


def random_params(sizes, seed=0, dtype=np.float32):
    """A dense network with N(0, 1) weights and biases, drawn by NumPy: nothing compiles."""
    rng = np.random.default_rng(seed)
    return tuple(
        Layer(rng.normal(size=(n_out, n_in)).astype(dtype), rng.normal(size=n_out).astype(dtype))
        for n_in, n_out in pairwise(sizes)
    )


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(params, x):
    """Activations of every layer for a batch of examples x of any shape, the inputs first."""
    activations = [np.reshape(x, (len(x), -1))]
    for w, b in params:
        activations.append(sigmoid(activations[-1] @ w.T + b))
    return activations


def cost(params, x, y):
    return np.sum((forward(params, x)[-1] - y) ** 2) / (2 * len(x))


def backprop(params, x, y):
    """The gradient of the quadratic cost of a mini-batch, averaged over it, layer by layer."""
    a = forward(params, x)
    delta = (a[-1] - y) * a[-1] * (1 - a[-1])
    grads = []
    for layer in range(len(params) - 1, -1, -1):
        grads.append((delta.T @ a[layer] / len(x), delta.mean(axis=0)))
        delta = delta @ params[layer][0] * a[layer] * (1 - a[layer])
    return grads[::-1]


def descend(params, x, y, learning_rate):
    """The parameters after one step, w - η ∇C."""
    return [
        (w - learning_rate * dw, b - learning_rate * db)
        for (w, b), (dw, db) in zip(params, backprop(params, x, y), strict=True)
    ]


def epoch(params, images, targets, order, m, learning_rate):
    """The parameters after an epoch of mini-batches of m examples in this order, and the mean cost."""
    total = 0.0
    for i in range(0, len(order), m):
        x, y = images[order[i : i + m]] / 255, targets[order[i : i + m]]
        total += cost(params, x, y) * len(x)
        params = descend(params, x, y, learning_rate)
    return params, total / len(order)


def as_numpy(params):
    return [(np.array(w, np.float64), np.array(b, np.float64)) for w, b in params]


def distance(params, others):
    """The largest difference between two networks' parameters."""
    return max(
        np.abs(np.asarray(a) - np.asarray(b)).max()
        for layer, other in zip(params, others, strict=True)
        for a, b in zip(layer, other, strict=True)
    )

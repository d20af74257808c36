"""How fast the book's network learns here, beside NumPy doing the same work in the same seconds."""

import time
from typing import Any

import jax
import numpy as np

from nnjax.cli.doctor.backend import Start
from nnjax.cli.doctor.environment import load, of_jax
from nnjax.data import Dataset
from nnjax.nn.dense import init
from nnjax.runtime.environment import cores
from nnjax.training._fit import fit

SIZES, M, ETA = (784, 30, 10), 10, 3.0
IMAGES = 5000  # with 50,000 NumPy shuffles 300 MB, and its time swings by half
SECONDS = 1.5

# `fit`'s time as a share of NumPy's: what these few images took on 2 cores of AMD EPYC with jax 0.10.2, and
# what is far from it.
USUAL, SLOW = 0.4, 0.8


def speed(start: Start) -> tuple[dict[str, Any], list[str]]:
    """Part epochs of `fit` and of NumPy, in turn, on made-up images; the median of their ratios."""
    if start.error or of_jax("disable_jit"):
        return {"left out": "jax does not start" if start.error else "JAX_DISABLE_JIT is on"}, []
    busy = load()
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 256, (IMAGES, SIZES[0])) * (rng.random((IMAGES, SIZES[0])) < 0.2)
    data = Dataset.from_arrays((pixels.astype(np.uint8), rng.integers(0, SIZES[-1], IMAGES)))
    numpy, others, began = _Numpy(data, rng), [], []

    def take_turns(run):
        began.append(time.perf_counter())
        others.append(numpy.epoch())
        return time.perf_counter() - began[0] > SECONDS

    called, params = time.perf_counter(), init(jax.random.key(0), SIZES)
    run = fit(
        jax.random.key(1), params, data, epochs=1000, batch_size=M, learning_rate=ETA, callback=take_turns
    )
    ours = run.history.seconds
    ratios = ours / np.array(others)
    ratio = float(np.median(ratios))
    facts = {
        "ratio_to_numpy": round(ratio, 2),
        "quartiles": [round(float(q), 2) for q in np.quantile(ratios, (0.25, 0.75))],
        "rounds": len(ratios),
        "usual_ratio_on_cpu": USUAL,
        "fit_per_image_us": round(float(np.median(ours)) / IMAGES * 1e6, 1),
        "numpy_per_image_us": round(float(np.median(others)) / IMAGES * 1e6, 1),
        "compiling_s": round(began[0] - called - float(ours[0]), 1),
    }
    if jax.default_backend() != "cpu" or ratio <= SLOW:
        return facts, []
    return facts, [f"fit takes {ratio:.2f} of NumPy's time, where {USUAL} is usual: {_likely_cause(busy)}"]


def _likely_cause(busy: float) -> str:
    if of_jax("enable_x64"):
        return "JAX_ENABLE_X64 is the likely cause"
    if busy > cores():
        return f"other programs are the likely cause, as {busy:.1f} wanted {cores()} cores before"
    return "run it again while nothing else runs, and report it if it stays"


class _Numpy:
    """The same epochs by matrices in float64, as NumPy does them unasked."""

    def __init__(self, data: Dataset, rng: np.random.Generator):
        self.x, self.y, self.rng = data.train.inputs / 255, np.eye(SIZES[-1])[data.train.targets], rng
        n, hidden, out = SIZES
        self.params = [rng.normal(size=shape) for shape in ((hidden, n), hidden, (out, hidden), out)]

    @np.errstate(over="ignore")
    def epoch(self) -> float:
        """Train on every image once, and return the seconds."""
        began = time.perf_counter()
        w1, b1, w2, b2 = self.params
        order = self.rng.permutation(len(self.x))
        images, targets = self.x[order], self.y[order]
        for i in range(0, len(images), M):
            x, y = images[i : i + M], targets[i : i + M]
            a1 = 1 / (1 + np.exp(-(x @ w1.T + b1)))
            a2 = 1 / (1 + np.exp(-(a1 @ w2.T + b2)))
            d2 = (a2 - y) * a2 * (1 - a2)
            d1 = (d2 @ w2) * a1 * (1 - a1)
            for p, grad in ((w1, d1.T @ x), (b1, d1.sum(axis=0)), (w2, d2.T @ a1), (b2, d2.sum(axis=0))):
                p -= ETA / len(x) * grad
        return time.perf_counter() - began

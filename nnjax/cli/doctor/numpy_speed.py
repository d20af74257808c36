"""The speed of `fit` for the book's network, relative to NumPy, measured in alternating epochs."""

import time
from typing import Any

import jax
import numpy as np

from nnjax.cli.doctor.section import Section
from nnjax.cli.doctor.system import jax_setting, load_average
from nnjax.cli.doctor.xla_flags import StartProbe
from nnjax.data import Dataset
from nnjax.nn import init
from nnjax.runtime.limits import cores
from nnjax.training import fit

SIZES = (784, 30, 10)
BATCH_SIZE = 10
LEARNING_RATE = 3.0
NUM_IMAGES = 5000  # with 50,000, NumPy shuffles 300 MB, and its time varies by a factor of two
MIN_MEASURE_S = 1.5

# The time of `fit` divided by that of NumPy. The usual ratio was measured on 2 cores of AMD EPYC.
USUAL_RATIO = 0.4
MAX_RATIO = 0.8


def speed(probe: StartProbe) -> Section:
    """The section of speed: epochs of `fit` and NumPy in turn, on random images. Finding: `fit` is slow."""
    if probe.error:
        return Section({"skipped": "jax does not start"}, [])
    if jax_setting("disable_jit"):
        return Section({"skipped": "JAX_DISABLE_JIT is on"}, [])
    load_before = load_average()
    fit_s, numpy_s, compile_s = _measure()
    ratio = float(np.median(fit_s / numpy_s))
    facts = {
        "ratio_to_numpy": round(ratio, 2),
        "usual_ratio_on_cpu": USUAL_RATIO,
        "epochs": len(fit_s),
        "fit_per_image_us": round(float(np.median(fit_s)) / NUM_IMAGES * 1e6, 1),
        "numpy_per_image_us": round(float(np.median(numpy_s)) / NUM_IMAGES * 1e6, 1),
        "compile_s": round(compile_s, 1),
    }
    findings = []
    if jax.default_backend() == "cpu" and ratio > MAX_RATIO:
        findings.append(
            f"fit takes {ratio:.2f} times as long as NumPy, usually {USUAL_RATIO}: {_advice(load_before)}"
        )
    return Section(facts, findings)


def _measure() -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds of each epoch of `fit` and of NumPy, and seconds of compilation."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 256, (NUM_IMAGES, SIZES[0])) * (rng.random((NUM_IMAGES, SIZES[0])) < 0.2)
    data = Dataset.from_arrays((pixels.astype(np.uint8), rng.integers(0, SIZES[-1], NUM_IMAGES)))
    network = NumpyNetwork(data, rng)
    numpy_s, first_epoch_ends = [], []

    def train_numpy(run: Any) -> bool:
        first_epoch_ends.append(time.perf_counter())
        numpy_s.append(network.train_epoch())
        return time.perf_counter() - first_epoch_ends[0] > MIN_MEASURE_S

    params, start = init(jax.random.key(0), SIZES), time.perf_counter()
    run = fit(
        jax.random.key(1), params, data,
        epochs=1000, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, callback=train_numpy,
    )  # fmt: skip
    fit_s = run.history.seconds
    return fit_s, np.array(numpy_s), first_epoch_ends[0] - start - float(fit_s[0])


def _advice(load_before: float) -> str:
    """What to do about a slow `fit`; `load_before` is the load average before the measurement."""
    if jax_setting("enable_x64"):
        return "unset JAX_ENABLE_X64"
    if load_before > cores():
        return f"stop other programs, because {load_before:.1f} were running on {cores()} cores"
    return "run nnjax doctor again when no other program is running, and report this if it is still slow"


class NumpyNetwork:
    """The book's network and its gradient descent in float64, by matrix products over each mini-batch."""

    def __init__(self, data: Dataset, rng: np.random.Generator):
        self.x, self.y, self.rng = data.train.inputs / 255, np.eye(SIZES[-1])[data.train.targets], rng
        n, hidden, out = SIZES
        self.params = [rng.normal(size=shape) for shape in ((hidden, n), hidden, (out, hidden), out)]

    @np.errstate(over="ignore")
    def train_epoch(self) -> float:
        """Trains on every image once and returns the seconds."""
        start = time.perf_counter()
        w1, b1, w2, b2 = self.params
        order = self.rng.permutation(len(self.x))
        images, targets = self.x[order], self.y[order]
        for i in range(0, len(images), BATCH_SIZE):
            x, y = images[i : i + BATCH_SIZE], targets[i : i + BATCH_SIZE]
            a1 = 1 / (1 + np.exp(-(x @ w1.T + b1)))
            a2 = 1 / (1 + np.exp(-(a1 @ w2.T + b2)))
            d2 = (a2 - y) * a2 * (1 - a2)
            d1 = (d2 @ w2) * a1 * (1 - a1)
            for p, grad in ((w1, d1.T @ x), (b1, d1.sum(axis=0)), (w2, d2.T @ a1), (b2, d2.sum(axis=0))):
                p -= LEARNING_RATE / len(x) * grad
        return time.perf_counter() - start

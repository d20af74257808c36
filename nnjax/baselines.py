"""What a network is measured against: guessing, the ink of a digit, and support vector machines.

Estimators in the manner of scikit-learn, which is why this module is imported by name and not with
`nnjax`. Nielsen, Neural Networks and Deep Learning, chapter 1, names all three.

    from nnjax.baselines import average_darkness

    average_darkness().fit(*data.train).score(*data.test)
"""

import operator
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

from nnjax.data import Dataset, Split


class RandomGuess(ClassifierMixin, BaseEstimator):
    """Any of the labels seen, each as likely, whatever the image; the same seed, the same guesses."""

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, X, y):
        """Note which labels there are: images (n, pixels), labels (n,)."""
        _, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        """A label for each row of X, (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.random.default_rng(self.seed).choice(self.classes_, len(X))

    def __sklearn_tags__(self):
        return _modest(super().__sklearn_tags__(), non_deterministic=True)


class AverageDarkness(ClassifierMixin, BaseEstimator):
    """The label whose images are, on average, most nearly as dark as this one.

    An image's darkness is the sum of its pixels. Of equally near labels the lowest is the answer.
    Trained on MNIST's first 50,000 images it reads 2,225 of the 10,000 test images.

    Attributes:
      classes_: the labels, ascending.
      darkness_: the mean darkness of each label's images, float64; exact before the division for
        whole numbers such as uint8.
    """

    def fit(self, X, y):
        """Measure every label's mean darkness: images (n, pixels), labels (n,)."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        darkness = _darkness(X)
        self.darkness_ = np.array([np.mean(darkness[y == label]) for label in self.classes_])
        return self

    def predict(self, X):
        """The label of the nearest mean darkness for each row of X, (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        nearest = np.argmin(np.abs(_darkness(X)[:, None] - self.darkness_), axis=1)
        return self.classes_[nearest]

    def __sklearn_tags__(self):
        return _modest(super().__sklearn_tags__())


# Called like `svm`.
random_guess = RandomGuess
average_darkness = AverageDarkness


def svm(gamma: Any = "auto", C: float = 1.0) -> Pipeline:
    """A support vector machine on grey from 0 to 1: scikit-learn's `SVC`, its kernel exp(-γ |x - x'|²).

    Args:
      gamma: the kernel's γ. "auto", the default of the book's time, is 1 / pixels; "scale", today's,
        is 1 / (pixels · variance of the grey values).
      C: how dear an image on the wrong side of the margin is.

    uint8 images are scaled to [0, 1], floats used as they are. 50,000 images of MNIST take minutes.
    """
    machine = _SVC(gamma=gamma, C=C, cache_size=1000)
    return Pipeline([("grey", FunctionTransformer(_grey, validate=True)), ("svc", machine)])


class Score(NamedTuple):
    """How many test images an estimator read rightly, and the seconds that it took."""

    correct: int
    fit_seconds: float
    predict_seconds: float


def score(estimators: Iterable[Any], train: Split, test: Split, jobs: int = 1) -> list[Score]:
    """Fit every estimator to `train` and count what it reads rightly of `test`, `jobs` at a time.

    Of several at a time each is a process of its own; the counts are the same.
    """
    train, test = (Split(*map(np.asarray, split)) for split in (train, test))
    scores: Any = Parallel(n_jobs=jobs)(delayed(_score)(e, train, test) for e in estimators)
    return scores


class Tuned(NamedTuple):
    """The C and γ that read most validation images, and how many each pair read: (C, gamma)."""

    C: float
    gamma: float
    validation_correct: np.ndarray


def tune_svm(
    data: Dataset,
    subset: int = 10_000,
    Cs: Sequence[float] = (1.0, 3.0, 10.0),
    gammas: Sequence[float] = (0.01, 0.02, 0.03, 0.05),
    jobs: int = 1,
) -> Tuned:
    """Choose an SVM's C and γ on the validation images; test images are not looked at.

    Args:
      subset: trained on are the first so many training images, or all where there are fewer.
      Cs, gammas: what to try, every pair; of equally good ones the first is chosen.
      jobs: how many to fit at a time.

    Raises:
      ValueError: nothing to try, no images to train or to choose on.

    `svm(tuned.gamma, tuned.C).fit(*data.train)` then trains on all.
    """
    if operator.index(subset) < 1:
        raise ValueError(f"subset must be 1 or more, not {subset}")
    if not len(Cs) or not len(gammas):
        raise ValueError(f"Cs and gammas must each name at least one value, not {Cs!r} and {gammas!r}")
    if not len(data.validation.targets):
        raise ValueError(f"{data.name} has no validation images to choose on")
    train = Split(data.train.inputs[:subset], data.train.targets[:subset])
    scores = score((svm(gamma, C) for C in Cs for gamma in gammas), train, data.validation, jobs)
    correct = np.reshape([s.correct for s in scores], (len(Cs), len(gammas)))
    i, j = map(int, np.unravel_index(np.argmax(correct), correct.shape))
    return Tuned(Cs[i], gammas[j], correct)


class _SVC(SVC):
    """`SVC`, several times faster on many images, and the same to the last bit.

    It compares the labels two by two, image by image: they should lie side by side in memory.
    """

    def fit(self, X, y):
        X, y = check_X_y(X, y, estimator=self)
        order = np.argsort(y, kind="stable")
        return super().fit(X[order], y[order])


def _score(estimator: Any, train: Split, test: Split) -> Score:
    began = time.perf_counter()
    estimator.fit(*train)
    fitted = time.perf_counter()
    correct = int(np.sum(estimator.predict(test.inputs) == test.targets))
    return Score(correct, fitted - began, time.perf_counter() - fitted)


def _grey(images: np.ndarray) -> np.ndarray:
    return images / 255 if images.dtype == np.uint8 else images


def _darkness(images: Any) -> np.ndarray:
    return np.asarray(images).sum(axis=1, dtype=np.float64)


def _modest(tags: Any, non_deterministic: bool = False) -> Any:
    """Tell scikit-learn's checks not to expect much of this estimator."""
    tags.classifier_tags.poor_score = True
    tags.non_deterministic = non_deterministic
    return tags

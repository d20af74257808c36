"""The baselines of the book's chapter 1: random guesses, average darkness and support vector machines.

They are scikit-learn estimators. `import nnjax` does not import this module, because scikit-learn is slow
to import. Nielsen, *Neural Networks and Deep Learning*, chapter 1.

    from nnjax.baselines import average_darkness

    average_darkness().fit(*data.train).score(*data.test)
"""

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
from nnjax.runtime.checks import check_positive_int


class RandomGuess(ClassifierMixin, BaseEstimator):
    """Predicts a random label of the training data, uniformly distributed and independent of the image.

    Args:
      seed: the same seed gives the same predictions.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, X, y):
        """Stores the labels that occur in y, (n,); X is (n, pixels)."""
        _, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        """A random label for each row of X, (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.random.default_rng(self.seed).choice(self.classes_, len(X))

    def __sklearn_tags__(self):
        return _tags_of_weak_estimator(super().__sklearn_tags__(), non_deterministic=True)


class AverageDarkness(ClassifierMixin, BaseEstimator):
    """Predicts the label whose mean darkness is nearest to that of the image.

    The darkness of an image is the sum of its pixels. If labels are equally near, the lowest is predicted.
    After fitting the first 50,000 images of MNIST, its test accuracy is 22.25 % (2,225 of 10,000).

    Attributes:
      classes_: the labels, ascending.
      darkness_: the mean darkness of each label's images, float64; sums of integer pixels are exact.
    """

    def fit(self, X, y):
        """Computes the mean darkness of each label from X, (n, pixels), and y, (n,)."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        darkness = _darkness(X)
        self.darkness_ = np.array([np.mean(darkness[y == label]) for label in self.classes_])
        return self

    def predict(self, X):
        """The label with the nearest mean darkness for each row of X, (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        nearest = np.argmin(np.abs(_darkness(X)[:, None] - self.darkness_), axis=1)
        return self.classes_[nearest]

    def __sklearn_tags__(self):
        return _tags_of_weak_estimator(super().__sklearn_tags__())


# In lower case like `svm`, so that the names of all three baselines have the same style.
random_guess = RandomGuess
average_darkness = AverageDarkness


def svm(gamma: Any = "auto", C: float = 1.0) -> Pipeline:
    """scikit-learn's support vector machine `SVC`, with the kernel exp(-γ |x - x'|²), on gray values.

    uint8 images are scaled to [0, 1]; floats are used as they are. Fitting the 50,000 training images of
    MNIST takes minutes.

    Args:
      gamma: γ of the kernel. "auto", the default in the book's time, is 1 / pixels; "scale", today's
        default, is 1 / (pixels · variance of the gray values).
      C: the penalty of an image on the wrong side of the margin.
    """
    svc = _SVC(gamma=gamma, C=C, cache_size=1000)
    return Pipeline([("gray", FunctionTransformer(_to_gray, validate=True)), ("svc", svc)])


class Score(NamedTuple):
    """The number of correctly predicted test images, and the seconds of fitting and of prediction."""

    correct: int
    fit_seconds: float
    predict_seconds: float


def score(estimators: Iterable[Any], train: Split, test: Split, jobs: int = 1) -> list[Score]:
    """Fits each estimator to `train`, and counts its correct predictions on `test`.

    Args:
      estimators: scikit-learn classifiers.
      train, test: (inputs, targets), with integer labels.
      jobs: number of estimators to fit at a time, each in a separate process.
    """
    train, test = (
        Split(np.reshape(inputs, (len(targets), -1)), np.asarray(targets))
        for inputs, targets in (train, test)
    )
    scores: Any = Parallel(n_jobs=jobs)(delayed(_score)(e, train, test) for e in estimators)
    return scores


class Tuned(NamedTuple):
    """The C and γ with the highest validation accuracy.

    Attributes:
      C, gamma: the best pair.
      validation_correct: the number of correct predictions of each pair, (Cs, gammas).
    """

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
    """Chooses C and γ of a support vector machine by validation accuracy; the test split is not used.

    Args:
      data: a data set with integer labels.
      subset: the number of training images to fit, from the first.
      Cs, gammas: the values to try, in all pairs; of equally good pairs the first is chosen.
      jobs: number of support vector machines to fit at a time.

    Raises:
      ValueError: an empty list of values, a subset below 1, or no validation examples.

    Then fit all training images:

        score([svm(tuned.gamma, tuned.C)], data.train, data.test)
    """
    check_positive_int("subset", subset)
    if not len(Cs) or not len(gammas):
        raise ValueError(f"Cs and gammas must each have at least one value, got {Cs!r} and {gammas!r}")
    if not len(data.validation.targets):
        raise ValueError(f"{data.name} must have validation examples, got none")
    train = Split(data.train.inputs[:subset], data.train.targets[:subset])
    scores = score((svm(gamma, C) for C in Cs for gamma in gammas), train, data.validation, jobs)
    correct = np.reshape([s.correct for s in scores], (len(Cs), len(gammas)))
    i, j = map(int, np.unravel_index(np.argmax(correct), correct.shape))
    return Tuned(Cs[i], gammas[j], correct)


class _SVC(SVC):
    """`SVC`, several times faster on many images, with bit-identical results.

    libsvm trains a machine for each pair of labels, so the images of a label should be adjacent in memory.
    """

    def fit(self, X, y):
        X, y = check_X_y(X, y, estimator=self)
        order = np.argsort(y, kind="stable")
        return super().fit(X[order], y[order])


def _score(estimator: Any, train: Split, test: Split) -> Score:
    start = time.perf_counter()
    estimator.fit(*train)
    fitted = time.perf_counter()
    correct = int(np.sum(estimator.predict(test.inputs) == test.targets))
    return Score(correct, fitted - start, time.perf_counter() - fitted)


def _to_gray(images: np.ndarray) -> np.ndarray:
    return images / 255 if images.dtype == np.uint8 else images


def _darkness(images: Any) -> np.ndarray:
    return np.asarray(images).sum(axis=1, dtype=np.float64)


def _tags_of_weak_estimator(tags: Any, non_deterministic: bool = False) -> Any:
    """Tags for the checks of scikit-learn, which then do not require a high accuracy."""
    tags.classifier_tags.poor_score = True
    tags.non_deterministic = non_deterministic
    return tags

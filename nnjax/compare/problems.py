"""The test problems by name, and the suites, which are lists of problems for a comparison."""

from collections.abc import Mapping
from types import MappingProxyType

from nnjax.compare._image_problems import image_problems
from nnjax.compare._problem import Problem
from nnjax.compare._synthetic_problems import synthetic_problems
from nnjax.data import DatasetUnavailable

__all__ = ["PROBLEMS", "SUITES", "Problem", "is_available", "needs_mnist"]

_IMAGE_PROBLEMS = image_problems()

PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {problem.name: problem for problem in (*synthetic_problems(), *_IMAGE_PROBLEMS)}
)

SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "quick": ("quadratic", "bigram", "teacher", "digits_autoencoder", "digits_rnn"),
    "standard": (
        "quadratic", "logistic", "bigram", "book_mlp", "wide_mlp", "conv", "deep_tanh", "autoencoder", "vae",
        "rows_rnn", "char_transformer", "teacher", "modular_addition",
    ),
})  # fmt: skip


def needs_mnist(problem: Problem) -> bool:
    """Whether a problem is trained on MNIST, which is not part of the package.

    >>> needs_mnist(PROBLEMS["conv"]), needs_mnist(PROBLEMS["bigram"])
    (True, False)
    """
    return problem in _IMAGE_PROBLEMS


def is_available(problem: Problem) -> bool:
    """Whether the data of a problem can be loaded; a data set that is missing is downloaded if possible.

    >>> is_available(PROBLEMS["bigram"])
    True
    """
    try:
        problem.load()
    except DatasetUnavailable:
        return False
    return True

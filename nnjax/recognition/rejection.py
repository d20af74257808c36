"""Which candidates are digits, given all other candidates of the picture.

The detector judges one image. But among many candidates that are certainly no digits, one that looks a little
like a digit is probably none, too; and on a page full of digits, an unusual one is probably a digit. So the
prior probability of a digit is estimated from the picture, by expectation maximization (Saerens, Latinne,
Decaestecker, *Adjusting the outputs of a classifier to new a priori probabilities*, 2002).
"""

import numpy as np
from jaxtyping import Float

from nnjax.recognition.search import Prediction

MIN_CLASSIFIED = 0.01  # a candidate whose probability, not adapted, is smaller is rejected and not classified
MIN_DIGIT_PROBABILITY = 0.5  # a candidate is rejected if its adapted probability is smaller
MAX_NO_DIGIT_PROBABILITY = 0.9  # a candidate is rejected if the network's "no digit" is at least this
PRIOR_COUNT = 0.03  # the estimate begins with this number of digits, and as many other candidates
ITERATIONS = 20
TEMPERATURE = 2.0  # log-odds are divided by it: the detector is too confident on new kinds of pictures
EPSILON = 1e-6  # probabilities are clipped to this and 1 minus this


def adapted_probabilities(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The probability that each candidate is a digit, if digits are as frequent as in this picture.

    Args:
      p: the probabilities if half of the candidates are digits.

    >>> adapted_probabilities(np.array([0.9, 0.4])).round(2)
    array([0.98, 0.93])
    >>> adapted_probabilities(np.array([0.9] + 20 * [0.01])).round(2)[0]
    np.float64(0.01)
    """
    clipped, prior = np.clip(p, EPSILON, 1 - EPSILON), 0.5
    odds = (clipped / (1 - clipped)) ** (1 / TEMPERATURE)
    for _ in range(ITERATIONS):
        adapted = prior * odds / (prior * odds + 1 - prior)
        prior = (PRIOR_COUNT + adapted.sum()) / (2 * PRIOR_COUNT + len(p))
    return adapted


def is_digit(prediction: Prediction) -> bool:
    """Whether a candidate is not rejected."""
    return (
        prediction.digit_probability >= MIN_DIGIT_PROBABILITY and prediction.p[-1] < MAX_NO_DIGIT_PROBABILITY
    )

"""Probabilities of digits, adapted to the frequency of digits in a picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from nnjax.recognition.rejection import MIN_DIGIT_PROBABILITY, TEMPERATURE, adapted_probabilities

probabilities = st.lists(st.floats(0, 1), max_size=40).map(np.array)


@pytest.mark.parametrize("prior", [0.05, 0.3, 0.9])
def test_probabilities_are_those_of_the_prior_of_the_picture(prior):
    """Two normal distributions with the means -2 and 2, for which Bayes' rule has a closed form."""
    rng = np.random.default_rng(0)
    is_digit = rng.random(2000) < prior
    x = rng.normal(np.where(is_digit, 2, -2))
    np.testing.assert_allclose(
        adapted_probabilities(expit(TEMPERATURE * 4 * x)), expit(4 * x + logit(prior)), atol=0.05
    )


@given(probabilities)
def test_the_order_is_kept_and_more_digits_raise_all_probabilities(p):
    adapted = adapted_probabilities(p)
    assert adapted.shape == p.shape
    assert ((adapted >= 0) & (adapted <= 1)).all()
    assert (np.diff(adapted[np.argsort(p)]) >= 0).all()
    more, fewer = (adapted_probabilities(np.append(p, 10 * [extreme]))[: len(p)] for extreme in (1.0, 0.0))
    assert (fewer <= adapted + 1e-6).all()
    assert (adapted <= more + 1e-6).all()


def test_one_doubtful_candidate_among_many_others_is_rejected_and_among_digits_accepted():
    accepted, rejected = 0.6, 0.05
    assert rejected < MIN_DIGIT_PROBABILITY < accepted
    assert adapted_probabilities(np.array([accepted] + 20 * [0.02]))[0] < MIN_DIGIT_PROBABILITY
    assert adapted_probabilities(np.array([rejected] + 20 * [0.98]))[0] > MIN_DIGIT_PROBABILITY
    assert adapted_probabilities(np.array([accepted]))[0] > MIN_DIGIT_PROBABILITY

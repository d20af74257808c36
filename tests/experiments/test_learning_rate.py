import numpy as np

from experiments.learning_rate import EXPERIMENT, RATES


def test_rates_between_are_better_than_the_extremes(quick_record):
    record = quick_record(EXPERIMENT)
    final = dict(zip(RATES, np.array(record["test_correct"])[..., -1].mean(axis=1), strict=True))
    assert len(final) == 11
    assert (
        max(final[0.001], final[100.0])
        < 0.3 * record["test_examples"]
        < 0.7 * record["test_examples"]
        < final[3.0]
    )


def test_claims_follow_the_record(quick_record):
    record = quick_record(EXPERIMENT)
    slow, *_, fast, choice = EXPERIMENT.claims(record)
    assert slow.book == "9.31 % → 25.69 %"
    assert fast.holds
    assert choice.holds
    turned = record | {name: np.array(record[name])[::-1] for name in ("test_correct", "validation_correct")}
    assert not EXPERIMENT.claims(turned)[2].holds
    assert not EXPERIMENT.claims(turned)[-1].holds

from itertools import pairwise

import numpy as np
import pytest

from experiments.valley import EXPERIMENT, VARIANTS


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


def test_the_bowls_paths_have_their_closed_form(record):
    t = np.arange(26)
    for r in record["bowl"]:
        eta, path = r["learning_rate"], np.array(r["path"])
        np.testing.assert_allclose(path[:, 0], -4 * (1 - eta) ** t, rtol=1e-12)
        np.testing.assert_allclose(path[:, 1], (1 - 10 * eta) ** t, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(r["cost"], path[:, 0] ** 2 / 2 + 5 * path[:, 1] ** 2, rtol=1e-12)


def test_only_beyond_2_over_b_the_walls_are_climbed(record):
    climbs = {r["learning_rate"]: abs(r["path"][-1][1]) > abs(r["path"][0][1]) for r in record["bowl"]}
    assert climbs == {0.01: False, 0.15: False, 0.205: True}
    assert all(up == (eta > 2 / 10) for eta, up in climbs.items())


def test_a_steps_decrease_has_its_closed_form(record):
    # C(v) - C(v - ηg) = η|g|² - η²/2 g·Hg, with H = diag(1, 10) and g = Hv
    h, g = np.array([1.0, 10.0]), np.array([-4.0, 10.0])
    expected = 1 - np.array(record["small"]) / 2 * (g @ (h * g)) / (g @ g)
    np.testing.assert_allclose(record["ratio"], expected, rtol=1e-9)


def rosenbrock(v):
    return (1 - v[0]) ** 2 + 10 * (v[1] - v[0] ** 2) ** 2


def gradient(v, h=1e-6):
    return np.array([(rosenbrock(v + d) - rosenbrock(v - d)) / (2 * h) for d in h * np.eye(2)])


def test_every_variant_goes_its_own_way_from_the_same_start(record):
    paths = {r["name"]: np.array(r["path"]) for r in record["variants"]}
    assert set(paths) == set(VARIANTS)
    for r in record["variants"]:
        assert np.shape(r["path"]) == (61, 2)
        assert r["path"][0] == [-1.2, 1.0]
        np.testing.assert_allclose(r["cost"], [rosenbrock(v) for v in r["path"]], rtol=1e-9)
        assert r["cost"][-1] < r["cost"][0] == max(r["cost"])
    assert len({path[-1].tobytes() for path in paths.values()}) == len(paths)


def test_their_first_and_later_steps_follow_their_rules(record):
    runs = {r["name"]: (r["learning_rate"], np.array(r["path"])) for r in record["variants"]}
    eta, path = runs["sgd"]
    grads = np.array([gradient(v) for v in path[:-1]])
    np.testing.assert_allclose(np.diff(path, axis=0), -eta * grads, atol=1e-8)
    eta, path = runs["momentum"]
    velocity = np.zeros(2)
    for v, after in pairwise(path):
        velocity = 0.9 * velocity + gradient(v)
        np.testing.assert_allclose(after, v - eta * velocity, atol=1e-7)
    eta, path = runs["lion"]
    np.testing.assert_allclose(np.abs(np.diff(path[:30], axis=0)), eta, rtol=0.01)
    eta, path = runs["adam"]
    np.testing.assert_allclose(path[1] - path[0], -eta * np.sign(gradient(path[0])), rtol=1e-6)


def test_no_learning_rate_was_chosen_at_the_edge_of_those_tried(record):
    tried = record["settings"]["curved"]["tried"]
    assert all(tried[0] < r["learning_rate"] < tried[-1] for r in record["variants"])


def test_a_claim_fails_where_the_ball_does_not_do_it(record):
    assert all(c.holds for c in EXPERIMENT.claims(record))
    backwards = [{**r, "cost": r["cost"][::-1]} for r in record["bowl"]]
    told = EXPERIMENT.claims({**record, "bowl": backwards, "ratio": record["ratio"][::-1]})
    assert [c.holds for c in told] == [False, False, False, True]

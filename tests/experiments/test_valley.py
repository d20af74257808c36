from itertools import pairwise

import numpy as np
import pytest

from experiments.valley import EXPERIMENT, VARIANTS


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


def test_the_paths_in_the_bowl_have_a_closed_form(record):
    t = np.arange(26)
    for r in record["bowl"]:
        eta, path = r["learning_rate"], np.array(r["path"])
        np.testing.assert_allclose(path[:, 0], -4 * (1 - eta) ** t, rtol=1e-12)
        np.testing.assert_allclose(path[:, 1], (1 - 10 * eta) ** t, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(r["cost"], path[:, 0] ** 2 / 2 + 5 * path[:, 1] ** 2, rtol=1e-12)


def test_the_cost_rises_only_if_eta_exceeds_2_over_b(record):
    climbs = {r["learning_rate"]: abs(r["path"][-1][1]) > abs(r["path"][0][1]) for r in record["bowl"]}
    assert climbs == {0.01: False, 0.15: False, 0.205: True}
    assert all(up == (eta > 2 / 10) for eta, up in climbs.items())


def test_the_decrease_in_one_step_has_a_closed_form(record):
    # C(v) - C(v - ηg) = η|g|² - η²/2 g·Hg, with H = diag(1, 10) and g = Hv
    h, g = np.array([1.0, 10.0]), np.array([-4.0, 10.0])
    expected = 1 - np.array(record["small_rates"]) / 2 * (g @ (h * g)) / (g @ g)
    np.testing.assert_allclose(record["ratio"], expected, rtol=1e-9)


def rosenbrock(v):
    return (1 - v[0]) ** 2 + 10 * (v[1] - v[0] ** 2) ** 2


def gradient(v, h=1e-6):
    return np.array([(rosenbrock(v + d) - rosenbrock(v - d)) / (2 * h) for d in h * np.eye(2)])


def test_every_variant_has_another_path_from_the_same_start(record):
    paths = {r["name"]: np.array(r["path"]) for r in record["variants"]}
    assert set(paths) == set(VARIANTS)
    for r in record["variants"]:
        assert np.shape(r["path"]) == (61, 2)
        assert r["path"][0] == [-1.2, 1.0]
        np.testing.assert_allclose(r["cost"], [rosenbrock(v) for v in r["path"]], rtol=1e-9)
        assert r["cost"][-1] < r["cost"][0] == max(r["cost"])
    assert len({path[-1].tobytes() for path in paths.values()}) == len(paths)


def test_the_steps_follow_the_rules_of_the_variants(record):
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


def test_no_selected_learning_rate_is_at_the_edge_of_the_candidates(record):
    candidates = record["settings"]["curved"]["candidates"]
    assert all(candidates[0] < r["learning_rate"] < candidates[-1] for r in record["variants"])


def test_claims_are_not_supported_if_the_paths_contradict_them(record):
    assert all(c.supported for c in EXPERIMENT.claims(record))
    backwards = [{**r, "cost": r["cost"][::-1]} for r in record["bowl"]]
    claims = EXPERIMENT.claims({**record, "bowl": backwards, "ratio": record["ratio"][::-1]})
    assert [c.supported for c in claims] == [False, False, False, True]

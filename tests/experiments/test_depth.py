from copy import deepcopy
from dataclasses import replace

import jax
import numpy as np
import pytest

import nnjax
import reference
from experiments.depth import EXPERIMENT, QUICK_DEPTHS, bias_gradients
from experiments.depth_configs import CONFIGS, MODERN, QUICK


def gradient_norms(params, objective, images, labels):
    watch = bias_gradients(objective, images, labels)
    return jax.jit(lambda params: watch.update((), params, (), ())[1])(params)


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def test_gradients_are_those_of_backpropagation(digits):
    images, labels = (part[:50] for part in digits.train)
    params = nnjax.init(jax.random.key(3), (64, 12, 11, 10))
    x, y = images.astype(float) / 255, np.eye(10)[labels]
    grads = reference.backprop(reference.as_numpy(params), x, y)
    sizes = gradient_norms(params, nnjax.Objective(), images, labels)
    np.testing.assert_allclose(sizes, [np.linalg.norm(b) for _, b in grads], rtol=1e-4)


def test_the_output_gradient_of_the_modern_network_is_softmax_minus_target(digits):
    images, labels = (part[:50] for part in digits.train)
    params = nnjax.init(jax.random.key(3), (64, 12, 10), nnjax.he)
    a = np.maximum(images.reshape(-1, 64) / 255 @ np.array(params[0].w).T, 0)
    z = np.exp(a @ np.array(params[1].w).T)
    p = z / z.sum(axis=1, keepdims=True)
    *_, last = gradient_norms(params, CONFIGS["modern"].objective(digits), images, labels)
    assert float(last) == pytest.approx(np.linalg.norm(np.mean(p - np.eye(10)[labels], axis=0)), rel=1e-4)


def test_every_configuration_is_trained_at_every_depth(record):
    expected = [(name, depth) for name in QUICK for depth in QUICK_DEPTHS]
    assert [(r["config"], r["depth"]) for r in record["runs"]] == expected
    for run in record["runs"]:
        assert np.shape(run["test_correct"]) == (2, 3)
        assert np.shape(run["gradients"]) == (2, run["depth"] + 1)
        assert run["learning_rate"] in CONFIGS[run["config"]].rates


@pytest.mark.parametrize(("name", "shrinks"), [("sigmoid, N(0, 1/n_in)", True), ("modern", False)])
def test_sigmoid_layers_shrink_the_gradient_and_modern_ones_do_not(digits, name, shrinks):
    config = replace(CONFIGS[name].config, hidden=(30,) * 3)
    images, labels = (part[:200] for part in digits.train)
    params = config.init_fn(digits)(jax.random.key(0))
    first, _, last, _ = gradient_norms(params, config.objective(digits), images, labels)
    assert (first / last < 0.1) if shrinks else (first / last > 0.5)


def test_claims_follow_the_record(record):
    for run in record["runs"]:
        run["gradients"] = np.ones((2, run["depth"] + 1)).tolist()
        run["test_correct"] = np.full((2, 3), 290 if run["config"] in MODERN else 30).tolist()
    supported = {claim.statement: claim.supported for claim in EXPERIMENT.claims(record)}
    modern = [name in MODERN for name in QUICK]
    assert [supported[s] for s in supported if "before training" in s] == modern
    assert [supported[s] for s in supported if "can be trained" in s] == modern
    assert [supported[s] for s in supported if "as accurate as one" in s] == [True]
    assert [supported[s] for s in supported if "better than shallow" in s] == [False]


@pytest.mark.parametrize(("lost", "expected"), [(1, True), (3, False)])
def test_depth_may_cost_two_tenths_of_a_point(record, lost, expected):
    record["num_test"] = 1000
    for run in record["runs"]:
        lower = run["depth"] > 1 and run["config"] in MODERN
        run["test_correct"] = np.full((2, 3), 900 - lost * lower).tolist()
    claims = [claim for claim in EXPERIMENT.claims(record) if "as accurate as one" in claim.statement]
    assert [claim.supported for claim in claims] == [expected]


def test_depth_helps_only_if_every_seed_gains(record):
    def last_claim():
        claims = [c for c in EXPERIMENT.claims(record) if "better than shallow" in c.statement]
        return claims[-1].supported

    runs = {r["depth"]: r for r in record["runs"] if r["config"] == MODERN[-1]}
    runs[1]["test_correct"] = [[0, 280], [0, 281]]
    runs[2]["test_correct"] = [[0, 282], [0, 283]]
    assert last_claim() is True
    runs[2]["test_correct"] = [[0, 290], [0, 281]]
    assert last_claim() is False
    runs[5] = runs[2] | {"depth": 5, "test_correct": [[0, 282], [0, 283]]}
    record["runs"].append(runs[5])
    for depth, correct in ((2, 100), (5, 101)):
        runs[depth]["validation_correct"] = [[0, correct]] * 2
    assert last_claim() is True

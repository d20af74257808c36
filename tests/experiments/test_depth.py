from copy import deepcopy

import jax
import numpy as np
import pytest

import nnjax
import reference
from experiments.depth import EXPERIMENT, MENDED, QUICK_DEPTHS, WAYS, Normalised, gradient_sizes


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def test_gradients_are_those_of_backpropagation(digits):
    images, labels = (part[:50] for part in digits.train)
    params = nnjax.init(jax.random.key(3), (64, 12, 11, 10))
    x, y = images.astype(float) / 255, np.eye(10)[labels]
    grads = reference.backprop(reference.as_numpy(params), x, y)
    sizes = gradient_sizes(params, nnjax.Objective(), images, labels)
    np.testing.assert_allclose(sizes, [np.linalg.norm(b) for _, b in grads], rtol=1e-4)


def test_the_output_gradient_of_the_mended_network_is_softmax_less_target(digits):
    images, labels = (part[:50] for part in digits.train)
    params = nnjax.init(jax.random.key(3), (64, 12, 10), nnjax.he)
    a = np.maximum(images / 255 @ np.array(params[0].w).T, 0)
    z = np.exp(a @ np.array(params[1].w).T)
    p = z / z.sum(axis=1, keepdims=True)
    *_, last = gradient_sizes(params, WAYS["mended"]["objective"], images, labels)
    assert float(last) == pytest.approx(np.linalg.norm(np.mean(p - np.eye(10)[labels], axis=0)), rel=1e-4)


@pytest.mark.parametrize("links", [False, True])
def test_normalised_layers_are_numpys(links):
    params = nnjax.init(jax.random.key(3), (20, 12, 12, 12, 10))
    x = np.random.default_rng(0).normal(size=20)
    a = None
    for w, b in params[:-1]:
        z = np.array(w) @ (x if a is None else a) + np.array(b)
        told = np.tanh((z - z.mean()) / z.std())
        a = told + (a if links and a is not None else 0)
    last = params[-1]
    ours = Normalised(nnjax.tanh, nnjax.identity, links)(params, np.float32(x))
    np.testing.assert_allclose(ours, np.array(last.w) @ a + np.array(last.b), atol=2e-4)


def test_every_way_is_trained_at_every_depth(record):
    assert [(r["way"], r["depth"]) for r in record["runs"]] == [(w, d) for w in WAYS for d in QUICK_DEPTHS]
    for run in record["runs"]:
        assert np.shape(run["test_correct"]) == (2, 5)
        assert np.shape(run["gradients"]) == (2, run["depth"] + 1)
        assert run["learning_rate"] in WAYS[run["way"]]["learning_rate"]


def test_sigmoid_layers_lose_the_gradient_and_mended_ones_keep_it(record):
    first_to_last = {
        r["way"]: np.median([g[0] / g[-2] for g in r["gradients"]]) for r in record["runs"] if r["depth"] == 3
    }
    assert first_to_last["sigmoid, N(0, 1/n_in)"] < 0.1 < 0.5 < first_to_last["mended"]
    assert min(np.min(r["test_correct"]) for r in record["runs"] if r["way"] == "mended") > 148


def test_claims_follow_the_record(record):
    for run in record["runs"]:
        run["gradients"] = np.ones((2, run["depth"] + 1)).tolist()
        run["test_correct"] = np.full((2, 5), 290 if run["way"] in MENDED else 30).tolist()
    told = {claim.says: claim.holds for claim in EXPERIMENT.claims(record)}
    learn = [way in MENDED for way in WAYS]
    assert [told[s] for s in told if "before training" in s] == learn
    assert [told[s] for s in told if "can be trained" in s] == learn
    assert [told[s] for s in told if "as well as one" in s] == [True] * 3
    assert [told[s] for s in told if "better than shallow" in s] == [False] * 3


def test_one_way_s_depth_is_judged_by_its_own_networks(record):
    record["test_examples"] = 1000
    for run in record["runs"]:
        fewer = 3 if run["depth"] > 1 and run["way"] == "normalised" else run["depth"] > 1
        run["test_correct"] = np.full((2, 5), 900 - fewer).tolist()
    told = [claim.holds for claim in EXPERIMENT.claims(record) if "as well as one" in claim.says]
    assert told == [True, False, True]


def test_depth_pays_only_where_every_seed_gains(record):
    def told():
        return [claim.holds for claim in EXPERIMENT.claims(record) if "better than shallow" in claim.says]

    linked = {r["depth"]: r for r in record["runs"] if r["way"] == MENDED[-1]}
    linked[1]["test_correct"] = [[0, 280], [0, 281]]
    linked[3]["test_correct"] = [[0, 282], [0, 283]]
    assert told()[-1] is True
    linked[3]["test_correct"] = [[0, 290], [0, 281]]
    assert told()[-1] is False
    record["runs"].append(linked[3] | {"depth": 5, "test_correct": [[0, 282], [0, 283]]})
    for depth, right in ((3, 100), (5, 101)):
        run = next(r for r in record["runs"] if (r["way"], r["depth"]) == (MENDED[-1], depth))
        run["validation_correct"] = [[0, right]] * 2
    assert told()[-1] is True

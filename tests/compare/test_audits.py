"""The audits of the comparison, and what they are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import binomtest

import nnjax
from nnjax.compare._problem_data import quadratic_deep
from nnjax.compare._shipped import shipped_audits
from nnjax.compare.baselines import _deepobs, _weakened, audits
from nnjax.compare.baselines._weakened import skipping, weakened_task
from nnjax.compare.protocol import BUDGETS
from nnjax.compare.runner import Runner


def test_skipping_zeroes_the_wanted_share_of_updates_and_leaves_the_others():
    optimizer, update = skipping(0.3), jnp.array([1.0, -2.0])
    _, stacked = jax.lax.scan(
        lambda state, _: optimizer.update(update, state)[::-1], optimizer.init(update), None, 4000
    )
    kept = np.asarray(stacked)
    is_zero = (kept == 0).all(axis=1)
    assert ((kept == np.asarray(update)).all(axis=1) | is_zero).all()
    assert float(is_zero.mean()) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 4000) ** 0.5)


def test_a_weakened_adamw_that_skips_nothing_is_adamw():
    task = weakened_task(nnjax.problems["bigram"], BUDGETS["standard"], 0.0)
    params, grads = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    settings = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.2}
    for optimizer in (optax.adamw(**settings), task.tunable.factory(**settings)):
        with jax.numpy_dtype_promotion("standard"):  # as in training
            updates, _ = optimizer.update(grads, optimizer.init(params), params)
        np.testing.assert_allclose(updates, -0.1 * grads / (jnp.abs(grads) + 1e-3) - 0.02 * params, rtol=1e-6)


def test_the_losses_of_deepobs_are_those_of_numpy(monkeypatch):
    monkeypatch.setattr(_deepobs, "SEEDS", range(1))
    data = nnjax.problems["quadratic"].load()
    order = np.asarray(jax.random.permutation(jax.random.key(0), jnp.arange(1000)))[:896].reshape(7, 128)
    train, test = (np.asarray(split.inputs, np.float64) for split in (data.train, data.test))
    hessian = np.asarray(quadratic_deep().hessian, np.float64)
    params, trace = np.ones(100), np.zeros(100)
    for step in range(700):
        grads = hessian @ (params - train[order[step % 7]].mean(axis=0))
        trace = 0.99 * trace + grads
        params = params - 0.0025118864315 * trace
    d = params - test
    expected = np.mean(np.sum(d @ hessian * d, axis=1)) / 2
    assert _deepobs.test_losses("momentum") == pytest.approx([expected], rel=1e-4)


def test_the_recorded_audits_passed():
    recorded = {audit["key"]: audit for audit in shipped_audits()}
    checks = {f"initial-pass-{budget}" for budget in BUDGETS}
    assert {"equal", "power", "deepobs", "inclusion"} | checks == set(recorded)
    # Inclusion is a finding about a budget, which the report shows.
    must_pass = {key: audit["result"] for key, audit in recorded.items() if key != "inclusion"}
    assert set(must_pass.values()) == {"passed"}, must_pass


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_recorded_audits_of_the_shipped_runs_are_those_of_today(budget, request):
    if budget == "standard":
        request.getfixturevalue("with_mnist")
    recorded = {audit["key"]: audit for audit in shipped_audits()}
    computed = {f"initial-pass-{budget}": audits.initial_pass(BUDGETS[budget])}
    if budget == "standard":
        computed["inclusion"] = audits.inclusion()
    for key, audit in computed.items():
        assert {name: recorded[key][name] for name in audit} == audit


def test_the_recorded_audit_of_equal_optimizers_allows_a_false_positive_rate_of_5_percent():
    audit = next(audit for audit in shipped_audits() if audit["key"] == "equal")
    assert audit["repetitions"] >= 20
    assert binomtest(audit["false"], audit["repetitions"]).proportion_ci().low <= 0.05


def test_power_needs_a_share_that_is_bad_enough(monkeypatch):
    monkeypatch.setattr(_weakened, "_mean_log_metric", lambda runner, task: 0.0)
    with pytest.raises(ValueError, match="a share must make bigram 10 % worse, got none of"):
        _weakened.choose_share(Runner(), nnjax.problems["bigram"], BUDGETS["quick"])

"""The test problems: their definitions by independent NumPy, frozen data, metrics and errors."""

import hashlib
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import linalg, optimize, special

import nnjax
from nnjax.compare import Problem, problems
from nnjax.compare import _image_problems as image_problems
from nnjax.compare import _problem_data as streams
from nnjax.data import DatasetUnavailable
from nnjax.nn.metrics import evaluate_examples

KEY = jax.random.key(0)
BUILT_IN = [name for name, problem in nnjax.problems.items() if not problems.needs_mnist(problem)]

# SHA-256 sums of the integers of each data set. They change only with the version of a problem.
FROZEN = {
    "bigram": "0e7fcd46c5ac2c0180b2a4f90dec244aa1cce0bd97a0f751316d6ec894b876fc",
    "char_transformer": "83112b6d2f17fc7a36316a04ad99fb3e6ff899ba032eeeed9e54f778d2c549b7",
    "modular_addition": "536225531c277f94df5308191e9a63659bef2b79acba33e2c38312cc38e479e5",
    "digits_autoencoder": "1f20bbc6633af92205d3ef45cd31f04bbf1d1184d37ecf5253b3dd7001eba16b",
    "digits_rnn": "a31c0bb6c2e9db41df9beed1fd6c3792f8cc267fd709293765e1e00282a5856a",
}


def problem(name="mine", **changes):
    """A small problem of a user."""
    fields = {
        "load": lambda: nnjax.load("digits"), "init": lambda key: nnjax.init(key, (64, 5, 10)),
        "objective": nnjax.Objective(), "batch_size": 10, "steps": 100, "separates_by": "nothing",
    }  # fmt: skip
    return Problem(name, **fields | changes)


def initial_cost(name, split):
    """The mean cost of a split at the initial parameters, and these parameters."""
    of = nnjax.problems[name]
    params, examples = of.init(KEY), getattr(of.load(), split)
    results = evaluate_examples(params, *map(jnp.asarray, examples), of.objective.inference())
    return float(jnp.mean(results["cost"])), params


# --- the mapping ---


def test_every_problem_has_its_name_and_every_suite_has_problems():
    assert all(problem.name == name for name, problem in nnjax.problems.items())
    assert len(problems.SUITES["quick"]) == 5
    assert len(problems.SUITES["standard"]) == 13
    assert {name for suite in problems.SUITES.values() for name in suite} == set(nnjax.problems)
    assert set(problems.SUITES["quick"]) <= set(BUILT_IN)
    with pytest.raises(TypeError):
        nnjax.problems["mine"] = problem()


@pytest.mark.parametrize("name", nnjax.problems)
def test_the_last_row_of_every_problem_is_as_long_as_the_others(name):
    of = nnjax.problems[name]
    assert of.steps % of.evaluate_every == 0
    assert of.target_accuracy is not None or 20 <= of.steps // of.evaluate_every <= 40


@pytest.mark.parametrize("name", FROZEN)
def test_integer_data_are_frozen(name):
    assert nnjax.problems[name].identity()["data"] == FROZEN[name]


def test_identity_has_only_texts_and_ignores_floats():
    identity = nnjax.problems["teacher"].identity()
    assert identity == {
        "name": "teacher", "version": "1", "data": hashlib.sha256().hexdigest(), "batch_size": "64",
        "steps": "1520",
    }  # fmt: skip
    of = problem()
    labels = of.load().train.targets.copy()
    labels[0] += 1
    changed = replace(of.load(), train=of.load().train._replace(targets=labels))
    assert problem(load=lambda: changed).identity()["data"] != of.identity()["data"]


# --- definitions ---


def test_the_quadratic_is_that_of_deepobs():
    """353.4468 is the first test loss that DeepOBS publishes for quadratic_deep."""
    cost, theta = initial_cost("quadratic", "test")
    assert cost == pytest.approx(353.4468, abs=1e-3)
    np.testing.assert_array_equal(theta, np.ones(100))
    eigenvalues = linalg.eigvalsh(streams.quadratic_deep().hessian.astype(float))
    assert np.sum(eigenvalues < 1.001) == 90
    assert np.sum((eigenvalues > 29.9) & (eigenvalues < 60.1)) == 10
    of = nnjax.problems["quadratic"]
    assert (of.batch_size, of.steps, of.drop_remainder) == (128, 7 * 100, True)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_floor_of_the_quadratic_is_its_minimum(split):
    """The minimum of ½ θᵀHθ − gᵀθ + c is c − ½ gᵀH⁻¹g."""
    of = nnjax.problems["quadratic"]
    data, hessian = of.load(), streams.quadratic_deep().hessian.astype(float)
    x = getattr(data, split).inputs.astype(float)
    g, c = np.mean(x @ hessian, axis=0), np.mean(np.sum(x @ hessian * x, axis=1)) / 2
    minimum = c - g @ linalg.solve(hessian, g) / 2
    assert of.floor(data, split) == pytest.approx(minimum, rel=1e-6)


def test_the_floor_of_bigram_is_the_entropy_rate_of_its_source():
    """The rate is Σ π_i H(P_i), with the left eigenvector π of the transition matrix P."""
    walk = streams.closed_walk(4096)
    assert len(walk) > 4096
    assert walk[0] == walk[-1]
    counts = np.zeros((64, 64))
    for a, b in pairwise(walk):
        counts[a, b] += 1
    visited = counts.sum(axis=1) > 0
    p = counts[visited][:, visited] / counts[visited].sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(p.T)
    pi = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    pi /= pi.sum()
    rate = np.sum(pi[:, None] * special.entr(p))
    of = nnjax.problems["bigram"]
    assert of.floor(of.load(), "validation") == pytest.approx(rate, rel=1e-9)
    assert initial_cost("bigram", "validation")[0] == pytest.approx(np.log(64), rel=1e-6)
    q = special.log_softmax(np.random.default_rng(0).normal(size=(64, 64)), axis=1)
    costs = np.array([-np.mean(q[walk[:-1], walk[1:]])])
    q = q[visited][:, visited]
    divergence = np.sum(pi[:, None] * special.rel_entr(p, np.exp(q)))
    assert of.curve(of.load(), "validation", costs)[0] == pytest.approx(divergence, rel=1e-9)


def test_the_probabilities_of_the_text_are_those_of_its_rule():
    """A slow loop computes the probability of every symbol from the text alone."""
    text = streams.text_with_memory(20, 33, seed=5)
    table = streams.successors(streams.SPARSE_WEIGHTS, seed=2)
    for window, log_probability in zip(text.windows, text.log_probability, strict=True):
        followed, expected = {}, 0.0
        for last, following in pairwise(window):
            drawn = np.mean(table[last] == following)
            if last in followed:
                drawn = drawn / 8 + 7 / 8 * (followed[last] == following)
            expected += np.log(drawn)
            followed[last] = following
        assert log_probability == pytest.approx(expected, rel=1e-12)
    assert len(text.windows) == 20
    of = nnjax.problems["char_transformer"]
    assert 0.5 < of.floor(of.load(), "test") < np.log(64)


def test_a_text_is_copied_in_seven_of_eight_cases():
    windows = streams.text_with_memory(2000, 33, seed=0).windows
    copied, total = 0, 0
    for window in windows:
        followed = {}
        for last, following in pairwise(window):
            if last in followed:
                copied, total = copied + (followed[last] == following), total + 1
            followed[last] = following
    assert 7 / 8 < copied / total < 7 / 8 + 0.05  # a fresh symbol can equal the copied one


def test_modular_addition_has_all_pairs_once_with_their_sums():
    data = nnjax.problems["modular_addition"].load()
    inputs = np.concatenate([data.train.inputs, data.validation.inputs])
    labels = np.concatenate([data.train.targets, data.validation.targets])
    assert np.all(np.sort(inputs, axis=1)[:, -2:] == 255)
    x, y = inputs[:, :31].argmax(axis=1), inputs[:, 31:].argmax(axis=1)
    assert set(zip(x.tolist(), y.tolist(), strict=True)) == {(a, b) for a in range(31) for b in range(31)}
    np.testing.assert_array_equal(labels, (x + y) % 31)


def test_the_teacher_has_heavy_tailed_noise_in_training_and_none_in_evaluation():
    data = nnjax.problems["teacher"].load()
    assert len(data.train.targets) == 64 * nnjax.problems["teacher"].steps
    weights = np.random.RandomState(0)
    w1, w2 = weights.normal(size=(16, 20)) / np.sqrt(20), weights.normal(size=(1, 16)) / 4

    def teacher(x):
        return np.tanh(x @ w1.T) @ w2.T

    for split in (data.validation, data.test):
        np.testing.assert_allclose(split.targets, teacher(split.inputs.astype(float)), atol=1e-5)
    noise = np.sort(np.abs(data.train.targets - teacher(data.train.inputs.astype(float))).ravel())
    # |t| of 2 degrees of freedom has the median 0.8165 and the 99 % quantile 9.925.
    assert np.quantile(noise, 0.5) == pytest.approx(0.5 * 0.8165, rel=0.02)
    assert np.quantile(noise, 0.99) == pytest.approx(0.5 * 9.925, rel=0.1)


def test_the_entropy_of_pixels_is_the_smallest_cross_entropy():
    of = nnjax.problems["digits_autoencoder"]
    data = of.load()
    x = data.validation.targets.reshape(1200, -1).astype(float) / 255
    clipped = np.clip(x, 1e-12, 1 - 1e-12)
    expected = np.mean(np.sum(-x * np.log(clipped) - (1 - x) * np.log(1 - clipped), axis=1))
    assert of.floor(data, "validation") == pytest.approx(expected, rel=1e-8)
    logits = jnp.asarray(special.logit(clipped), jnp.float32)
    cost = jnp.mean(jax.vmap(of.objective.cost)(logits, jnp.asarray(x, jnp.float32)))
    assert float(cost) == pytest.approx(expected, rel=1e-4)


def test_mean_pool_rounds_the_means_of_four_pixels():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 4), dtype=np.uint8)
    pooled = streams.mean_pool(images)
    assert pooled.dtype == np.uint8
    for n, row, column in np.ndindex(pooled.shape):
        block = images[n, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert pooled[n, row, column] == int(np.floor(block.mean() + 0.5))


def test_the_recurrent_matrix_is_orthogonal():
    params = nnjax.problems["digits_rnn"].init(KEY)
    matrix = np.asarray(params.cell.w[:, 8:])
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(32), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", problems.SUITES["quick"])
def test_adam_improves_every_quick_problem(name):
    of = nnjax.problems[name]
    run = of.fit(KEY, optimizer=optax.adam, learning_rate=0.01, steps=6 * of.evaluate_every)
    costs = getattr(run.history, f"{of.report_on}_cost")
    curve = of.curve(of.load(), of.report_on, costs)
    assert np.all(curve > 0)
    assert curve[-1] < 0.9 * of.curve(of.load(), of.report_on, initial_cost(name, of.report_on)[0])
    assert of.metric(of.load(), of.report_on, costs, None, run.history.step) == curve[-1]


# --- problems of a user ---


def test_fit_uses_the_settings_from_the_problem_unless_others_are_passed():
    run = problem(drop_remainder=True, steps=130).fit(KEY, learning_rate=1.0)
    assert run.history.step.tolist() == list(range(5, 131, 5))
    assert len(problem().fit(KEY, learning_rate=1.0, steps=4).history) == 1


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (40, 1), (41, 2), (700, 20), (997, 25), (1520, 38)])
def test_there_are_at_most_forty_evaluations(steps, every):
    assert problem(steps=steps).evaluate_every == every
    assert problem(steps=steps, target_accuracy=0.9).evaluate_every == 10


def test_the_metric_is_the_last_cost_minus_the_floor_of_the_split():
    floors = {"validation": 1.0, "test": 2.0}
    of = problem(floor=lambda data, split: floors[split])
    costs, steps = np.array([[[5.0, 4.0], [3.0, np.nan]]]), np.array([50, 100])
    np.testing.assert_array_equal(of.curve(of.load(), "test", costs), costs - 2)
    np.testing.assert_array_equal(of.metric(of.load(), "test", costs, None, steps), [[2, np.nan]])
    np.testing.assert_array_equal(of.metric(of.load(), "validation", costs, None, steps), [[3, np.nan]])


def test_a_metric_is_named_after_its_split():
    assert problem().metric_name == "test cost"
    assert (
        problem(report_on="validation", floor=lambda data, split: 0.1).metric_name
        == "training cost - minimum"
    )
    assert problem(target_accuracy=0.9).metric_name == "steps to 90 % test accuracy"


def test_a_censored_metric_is_the_first_step_that_reaches_the_target():
    of = problem(target_accuracy=0.5)
    n = len(of.load().validation.targets)
    correct = np.array([[0, n, 0], [0, 0, n], [0, 0, 0], [n // 2, n // 2 + 1, 0], [0, n, n], [-1, -1, n]])
    costs = np.ones(correct.shape)
    costs[4, 1] = np.nan  # an accuracy of outputs that are not finite does not count
    metric = of.metric(of.load(), "validation", costs, correct, np.array([10, 20, 100]))
    assert metric.tolist() == [20, 100, 101, 20, 100, 100]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name must be a non-empty string, got ''"),
        ({"separates_by": 3}, "separates_by must be a non-empty string, got 3"),
        ({"load": "digits"}, "load must be a function, got 'digits'"),
        ({"init": None}, "init must be a function, got None"),
        ({"floor": 0.5}, "floor must be a function or None, got 0.5"),
        ({"objective": nnjax.quadratic}, "objective must be an Objective, got <function quadratic"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"steps": 1.5}, "steps must be a positive integer, got 1.5"),
        ({"version": -1}, "version must be a positive integer, got -1"),
        ({"select_on": "train"}, 'select_on must be "validation" or "test", got \'train\''),
        ({"report_on": None}, 'report_on must be "validation" or "test", got None'),
        ({"has_weight_decay": 1}, "has_weight_decay must be True or False, got 1"),
        ({"drop_remainder": "no"}, "drop_remainder must be True or False, got 'no'"),
        ({"learning_rate_scale": 0}, "learning_rate_scale must be a positive number, got 0"),
        ({"target_accuracy": 95}, "target_accuracy must be None, or greater than 0 and at most 1, got 95"),
        (
            {"target_accuracy": 0.9, "objective": nnjax.Objective(code=None)},
            "objective must have an output code if target_accuracy is set, got code=None",
        ),
    ],
)
def test_wrong_fields_raise(changes, message):
    with pytest.raises(ValueError, match=message):
        problem(**changes)


def test_wrong_data_raise():
    def without_test():
        return replace(
            nnjax.load("digits"), test=nnjax.Split(np.zeros((0, 8, 8), np.uint8), np.zeros(0, int))
        )

    for load, message in (
        (lambda: 3, "load of mine must be a function that returns a Dataset, got 3"),
        (without_test, "report_on of mine must be a split with examples, got 'test' of Dataset"),
    ):
        for use in (problem(load=load).identity, lambda load=load: problem(load=load).fit(KEY)):
            with pytest.raises(ValueError, match=message):
                use()


# --- MNIST ---


def test_a_problem_without_mnist_says_what_to_do(empty_caches, monkeypatch):
    def fail(name):
        raise DatasetUnavailable("no answer")

    monkeypatch.setattr(image_problems, "load", fail)
    of = nnjax.problems["logistic"]
    with pytest.raises(DatasetUnavailable, match="prepare it with `nnjax data prepare mnist`, or"):
        of.load()
    assert not problems.is_available(of)
    assert problems.is_available(nnjax.problems["bigram"])


@pytest.mark.slow
def test_the_minimum_of_logistic_is_that_of_l_bfgs_in_float64(with_mnist):
    data = nnjax.problems["logistic"].load()
    x, y = data.train.inputs.reshape(10_000, 784) / 255, np.eye(10)[data.train.targets]

    def cost(params):
        w, b = params[:7840].reshape(10, 784), params[7840:]
        log_p = special.log_softmax(x @ w.T + b, axis=1)
        delta = (np.exp(log_p) - y) / len(x)
        gradient = np.concatenate([(delta.T @ x + 1e-4 * w).ravel(), delta.sum(axis=0)])
        return -np.sum(y * log_p) / len(x) + 1e-4 / 2 * np.sum(w**2), gradient

    options = {"maxiter": 2000, "maxfun": 3000, "maxcor": 50, "ftol": 1e-15, "gtol": 1e-7}
    minimum = optimize.minimize(cost, np.zeros(7850), jac=True, method="L-BFGS-B", options=options).fun
    assert minimum == pytest.approx(image_problems.LOGISTIC_MINIMUM, abs=1e-9)
    assert initial_cost("logistic", "validation")[0] == pytest.approx(np.log(10), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in nnjax.problems if name not in BUILT_IN])
def test_adam_improves_every_problem_on_mnist(with_mnist, name):
    of = nnjax.problems[name]
    data = of.load()
    run = of.fit(KEY, optimizer=optax.adam, learning_rate=0.003, steps=10 * of.evaluate_every)
    curve = of.curve(data, of.report_on, getattr(run.history, f"{of.report_on}_cost"))
    assert 0 < curve[-1] < 0.9 * of.curve(data, of.report_on, initial_cost(name, of.report_on)[0])
    assert len(data.train.targets) == 10_000

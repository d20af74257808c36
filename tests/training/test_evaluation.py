"""Evaluation after each epoch: costs, counts and metrics of labels, target arrays and tokens."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
import reference

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
TRUE_W = np.array([[1.0, -2.0, 0.5]], np.float32)
Y = X @ TRUE_W.T + np.float32(0.3)
REGRESSION = nnjax.Dataset.from_arrays((X, Y), (X[:20], Y[:20]), (X[:30], Y[:30]))
LINEAR = nnjax.Objective(nnjax.Dense(output=nnjax.identity), code=None)


def absolute_error(output, target):
    return jnp.sum(jnp.abs(output - target))


def test_costs_are_means_over_the_examples_of_a_split(digits):
    params = reference.random_params((64, 7, 10))
    smoothed = nnjax.Objective(code=nnjax.LabelSmoothing(0.3), penalty=lambda params: 100.0)
    for objective in (nnjax.Objective(), smoothed):  # evaluation has no smoothing and no penalty
        run = nnjax.fit(KEY, params, digits, objective=objective, epochs=2, learning_rate=1.0, batch_size=50)
        final = reference.as_numpy(run.params)
        for split, costs in (
            (digits.validation, run.history.validation_cost),
            (digits.test, run.history.test_cost),
        ):
            expected = reference.cost(final, split.inputs / 255, np.eye(10)[split.targets])
            assert costs[-1] == pytest.approx(expected, rel=1e-5)


def test_a_regression_finds_its_coefficients_and_counts_nothing():
    params = nnjax.init(KEY, (3, 1))
    run = nnjax.fit(
        KEY, params, REGRESSION, objective=LINEAR, learning_rate=0.1, epochs=50,
        metrics={"error": absolute_error},
    )  # fmt: skip
    history = run.history
    np.testing.assert_allclose(run.params[0].w, TRUE_W, atol=1e-3)
    assert history.validation_correct is history.test_accuracy is None
    assert history.test_cost[-1] < 1e-6
    outputs = np.asarray(nnjax.outputs(run.params, X[:20], LINEAR))
    assert history.metrics["validation_error"][-1] == pytest.approx(np.abs(outputs - Y[:20]).mean(), rel=1e-4)
    assert set(history.metrics) == {"validation_error", "test_error"}
    assert repr(run).startswith("Run(epochs=50, test_cost=")


def test_a_metric_gets_the_target_of_the_data_set(digits):
    """The accuracy as a metric is the accuracy that is counted."""

    def is_correct(output, target):
        return jnp.argmax(output) == target

    run = nnjax.fit(
        KEY, reference.random_params((64, 7, 10)), digits, epochs=2, learning_rate=3.0, batch_size=50,
        metrics={"accuracy": is_correct},
    )  # fmt: skip
    np.testing.assert_allclose(run.history.metrics["test_accuracy"], run.history.test_accuracy, rtol=1e-6)


def test_epochs_between_evaluations_have_no_results_and_the_last_one_has():
    settings = {"objective": LINEAR, "learning_rate": 0.1, "epochs": 5, "metrics": {"error": absolute_error}}
    params = nnjax.init(KEY, (3, 1))
    every = nnjax.fit(KEY, params, REGRESSION, **settings)
    some = nnjax.fit(KEY, params, REGRESSION, evaluate_every=2, **settings)
    due = [False, True, False, True, True]
    for name in ("validation_cost", "test_cost"):
        np.testing.assert_array_equal(getattr(some.history, name)[due], getattr(every.history, name)[due])
        assert np.isnan(getattr(some.history, name)[~np.array(due)]).all()
    assert np.isnan(some.history.metrics["test_error"]).tolist() == [not is_due for is_due in due]
    np.testing.assert_array_equal(some.history.train_cost, every.history.train_cost)


def test_counts_without_evaluation_are_minus_one_and_their_accuracy_nan(digits):
    config = nnjax.TrainConfig(hidden=(5,), epochs=3, batch_size=100)
    history = config.fit(KEY, digits, evaluate_every=3).history
    assert history.test_correct[:2].tolist() == [-1, -1]
    assert np.isnan(history.test_accuracy).tolist() == [True, True, False]
    grid = config.sweep(KEY, digits, learning_rate=(1.0, 3.0), evaluate_every=3)
    assert grid.test_correct.isel(epoch=0).values.tolist() == [[-1], [-1]]
    assert np.isnan(grid.test_accuracy.isel(epoch=0)).all()
    assert grid.test_accuracy.isel(epoch=2).notnull().all()


@pytest.mark.slow
def test_a_sweep_has_the_results_of_fit():
    axes = {"learning_rate": (0.01, 0.1)}
    settings = {"objective": LINEAR, "epochs": 3, "metrics": {"error": absolute_error}}
    grid = nnjax.sweep(KEY, REGRESSION, hidden=4, **settings, **axes)
    assert "test_correct" not in grid.data
    assert grid.test_accuracy is None
    init_key, fit_key = grid.rng_keys(0)
    params = nnjax.init(init_key, (3, 4, 1))
    run = nnjax.fit(fit_key, params, REGRESSION, learning_rate=0.1, **settings)
    cell = grid.data.sel(learning_rate=0.1, seed=0)
    for name in ("train_cost", "validation_cost", "test_cost"):
        np.testing.assert_allclose(cell[name], getattr(run.history, name), rtol=1e-5)
    np.testing.assert_allclose(cell["test_error"], run.history.metrics["test_error"], rtol=1e-5)


def test_a_run_with_metrics_resumes(tmp_path):
    settings = {"objective": LINEAR, "learning_rate": 0.1, "metrics": {"error": absolute_error}}
    params = nnjax.init(KEY, (3, 1))
    nnjax.fit(KEY, params, REGRESSION, epochs=2, checkpoint=tmp_path, **settings)
    resumed = nnjax.fit(KEY, params, REGRESSION, epochs=4, checkpoint=tmp_path, **settings)
    expected = nnjax.fit(KEY, params, REGRESSION, epochs=4, **settings)
    assert resumed.restored == 2
    for name, column in resumed.history.columns().items():
        if name != "seconds":
            jax.tree.map(np.testing.assert_array_equal, column, expected.history.columns()[name])
    with pytest.raises(ValueError, match=r"evaluate_every was 1 and is 2"):
        nnjax.fit(KEY, params, REGRESSION, epochs=4, checkpoint=tmp_path, evaluate_every=2, **settings)


def test_tokens_predict_the_next_tokens():
    """A table of logits learns the successor of each token."""
    tokens = RNG.integers(0, 5, (200, 6))
    data = nnjax.Dataset.from_arrays((tokens, (tokens + 1) % 5), test=(tokens, (tokens + 1) % 5))

    def mean_cross_entropy(logits, target):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1))

    def accuracy(logits, target):
        return jnp.mean(jnp.argmax(logits, axis=1) == target)

    objective = nnjax.Objective(lambda table, x, key: table[x], mean_cross_entropy, code=None)
    run = nnjax.fit(
        KEY, jnp.zeros((5, 5)), data, objective=objective, learning_rate=5.0, epochs=5,
        metrics={"accuracy": accuracy},
    )  # fmt: skip
    assert run.history.metrics["test_accuracy"][-1] == 1
    assert run.history.test_cost[-1] < 0.1
    assert run.history.validation_cost is None


def test_an_autoencoder_gets_its_uint8_input_as_a_scaled_target():
    images = RNG.integers(0, 256, (40, 2, 2), dtype=np.uint8)
    data = nnjax.Dataset.from_arrays((images, images), test=(images, images))
    objective = nnjax.Objective(lambda params, x, key: x + params, code=None)
    run = nnjax.fit(KEY, jnp.zeros((2, 2)), data, objective=objective, learning_rate=0.1, epochs=1)
    np.testing.assert_allclose(run.history.test_cost, [0], atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": replace(LINEAR, code=nnjax.one_hot)}, "code must be None for targets without classes"),
        (
            {"params": nnjax.init(KEY, (3, 2))},
            r"the shape of the output, \(2,\), got \(1,\)",
        ),
        (
            {"objective": replace(LINEAR, cost=lambda a, y: a - y)},
            "cost must return a number for each",
        ),
        ({"objective": replace(LINEAR, cost=lambda a, y: a @ jnp.ones(7))}, "cost must accept an output"),
        ({"metrics": {"a": lambda a, y: a}}, "metric a must return a number for each example, got"),
        ({"metrics": {"a": lambda a: a}}, "metric a must accept an output of shape"),
        ({"metrics": absolute_error}, "metrics must be a mapping from names to functions"),
        ({"evaluate_every": 0}, "evaluate_every must be a positive integer, got 0"),
    ],
)
def test_wrong_arguments_raise_before_anything_compiles(changes, message, compilations):
    settings = {"key": KEY, "params": nnjax.init(KEY, (3, 1)), "data": REGRESSION, "objective": LINEAR}
    compilations.clear()
    with pytest.raises(ValueError, match=message):
        nnjax.fit(**settings | {"learning_rate": 0.1} | changes)
    assert not compilations


def test_the_configuration_of_a_regression_has_linear_outputs():
    config = nnjax.TrainConfig(hidden=(5,), epochs=20, learning_rate=0.1)
    assert config.objective(REGRESSION) == LINEAR
    run = config.fit(KEY, REGRESSION)
    assert run.history.test_cost[-1] < run.history.test_cost[0] / 2

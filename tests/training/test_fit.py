import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
import reference
from nnjax.optim import make_optimizer
from nnjax.training import step

KEY = jax.random.key(1)
BOOK = nnjax.init(jax.random.key(0), (64, 30, 10))
RELU = nnjax.Objective(forward=nnjax.Dense(nnjax.relu, nnjax.identity))
# A batch size without a smaller last mini-batch, which would compile a second step.
M = 14


def fit(data, params=BOOK, **changes):
    return nnjax.fit(KEY, params, data, **({"epochs": 3, "learning_rate": 3.0} | changes))


def test_history_counts_what_numpy_counts(digits):
    runs = []
    run = fit(digits, epochs=4, callback=lambda run: runs.append(run) and None)
    assert [len(r.history) for r in runs] == [1, 2, 3, 4]
    for e, earlier in enumerate(runs):
        for split, counts in (
            (digits.validation, run.history.validation_correct),
            (digits.test, run.history.test_correct),
        ):
            outputs = reference.forward(reference.as_numpy(earlier.params), split.inputs / 255)[-1]
            assert counts[e] == np.sum(outputs.argmax(1) == split.targets)
    assert np.all(np.diff(run.history.train_cost) < 0)
    assert np.all(run.history.seconds > 0)
    assert run.history.diverged_at == -1
    assert int(run.state.step) == run.history.step[-1] == 4 * 121
    np.testing.assert_allclose(run.history.test_accuracy, run.history.test_correct / 296)
    np.testing.assert_allclose(run.history.validation_accuracy, run.history.validation_correct / 297)


def test_the_same_key_gives_the_same_bits_and_another_key_another_network(digits):
    first, again = fit(digits), fit(digits)
    assert reference.distance(first.params, again.params) == 0
    np.testing.assert_array_equal(first.history.train_cost, again.history.train_cost)
    other = nnjax.fit(jax.random.key(2), BOOK, digits, epochs=3, learning_rate=3.0)
    assert reference.distance(first.params, other.params) > 0


def test_the_first_epochs_do_not_depend_on_later_ones(digits):
    params = []
    fit(digits, epochs=4, callback=lambda run: params.append(run.params) and None)
    assert reference.distance(fit(digits, epochs=2).params, params[1]) == 0


def test_the_callers_params_do_not_change_and_a_callback_stops_training(digits):
    before = reference.as_numpy(BOOK)
    run = fit(digits, epochs=9, callback=lambda run: len(run.history) == 2)
    assert len(run.history) == 2
    assert reference.distance(BOOK, before) == 0


def test_divergence_is_recorded_and_does_not_raise(digits):
    run = fit(digits, objective=RELU, batch_size=M)
    assert run.history.diverged_at == 0
    assert len(run.history) == 3
    assert len(fit(digits, objective=RELU, batch_size=M, stop_on_nan=True).history) == 1


def test_any_pytree_and_any_objective_train(digits):
    """A linear softmax model in a dict, with a penalty."""

    def forward(params, x, key):
        return params["w"] @ x.ravel() + params["b"]

    def l2(rate, params):
        return rate * jnp.sum(params["w"] ** 2)

    objective = nnjax.Objective(forward, nnjax.softmax_cross_entropy, penalty=jax.tree_util.Partial(l2, 1e-4))
    params = {"w": jnp.zeros((10, 64)), "b": jnp.zeros(10)}
    run = fit(
        digits, params, objective=objective, optimizer=optax.adam, learning_rate=0.01, epochs=10, batch_size=M
    )
    assert run.history.test_correct[-1] > 0.93 * 296


@pytest.mark.slow
@pytest.mark.parametrize("code", [nnjax.binary, nnjax.is_digit(9)])
def test_other_output_codes_learn(code, digits):
    params = reference.random_params((64, 30, code.num_outputs(10)))
    run = fit(digits, params, objective=nnjax.Objective(code=code), epochs=30)
    chance = 0.9 if code == nnjax.is_digit(9) else 0.1
    assert run.history.test_accuracy[-1] > chance + (1 - chance) / 2


def test_ready_transformations_and_target_vectors_train_the_same_network(digits):
    inputs, targets = (
        digits.train.inputs / np.float32(255),
        np.eye(10, dtype=np.float32)[digits.train.targets],
    )
    data = nnjax.Dataset.from_arrays((inputs, targets), num_classes=10)
    run = nnjax.fit(KEY, BOOK, data, optimizer=optax.sgd(3.0), epochs=3)
    assert reference.distance(run.params, fit(digits).params) < 1e-5
    assert run.history.validation_correct is run.history.validation_accuracy is None
    assert repr(run) == "Run(epochs=3)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"batch_size": 1205}, "batch_size must be at most 1204, .* got 1205"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer, got 2.5"),
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"epochs": "3"}, "epochs must be a positive integer, got '3'"),
        ({"learning_rate": -3.0}, "learning_rate must be non-negative, got -3"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite, got nan"),
        ({"params": reference.random_params((784, 10))}, "the first of sizes must be 64, .* got 784"),
        ({"params": reference.random_params((64, 9))}, "output layer must have at least 10 .* got 9"),
        ({"learningrate": 3.0}, "did you mean 'learning_rate'"),
        ({"callback": "print"}, "callback must be a function of the Run, got 'print'"),
        ({"key": 1}, r"key must be a jax\.random\.key, such as jax\.random\.key\(0\), got 1"),
        ({"data": (1, 2)}, r"data must be a Dataset, got tuple: use nnjax\.load or Dataset\.from_arrays"),
    ],
)
def test_wrong_arguments_raise_before_anything_compiles(changes, message, digits, compilations):
    arguments = {"key": KEY, "params": BOOK, "data": digits, "learning_rate": 3.0} | changes
    with pytest.raises(ValueError, match=message):
        nnjax.fit(**arguments)
    assert not compilations


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (np.eye(2)[[0, 1, 0, 1]], [5, 5, 5, 5], "at least 6 neurons"),
        (np.eye(7)[[0, 1, 0, 1]], [0, 1, 0, 1], "7 neurons for the targets"),
    ],
)
def test_every_split_must_fit_the_output_layer(train, test, message):
    images = np.zeros((4, 3), np.uint8)
    data = nnjax.Dataset.from_arrays((images, train), test=(images, test), num_classes=6)
    with pytest.raises(ValueError, match=message):
        fit(data, reference.random_params((3, 2)), batch_size=2)


def test_the_repr_of_a_run_has_its_accuracy(digits):
    run = fit(digits)
    assert repr(run) == f"Run(epochs=3, test_accuracy={run.history.test_correct[-1] / 296:.4f})"


def test_weakly_typed_params_compile_once(digits, compilations):
    params = {"w": jnp.full((10, 64), 0.0), "b": 0.0}
    objective = nnjax.Objective(
        forward=lambda params, x, key: nnjax.sigmoid(params["w"] @ x.ravel() + params["b"])
    )
    run = fit(digits, params, objective=objective, epochs=3, batch_size=M)
    assert sum("train_epoch" in name for name in compilations) == 1
    assert run.params["b"].dtype == jnp.float32


def test_locate_nan_names_the_first_step_that_is_not_finite(digits):
    """In a loop over the steps, that leaf is not finite in that step, and everything is before."""
    lecun = tuple(nnjax.Layer(np.asarray(w) / w.shape[1] ** 0.5, b) for w, b in BOOK)
    settings = {"params": lecun, "objective": RELU, "learning_rate": 5.0, "batch_size": M}
    run = fit(digits, locate_nan=True, **settings)
    assert fit(digits, **settings).divergence is None
    assert run.divergence.epoch == run.history.diverged_at == 0
    assert run.divergence.step > 0
    order_key, steps_key = jax.random.split(jax.random.fold_in(KEY, 0))
    order = np.asarray(jax.random.permutation(order_key, len(digits.train.targets)))
    optimizer = make_optimizer(optax.sgd, {"learning_rate": 5.0})
    params, opt_state, bad_paths, train_step = lecun, optimizer.init(lecun), [], jax.jit(step.train_step)
    for i in range(run.divergence.step + 1):
        x, y = (np.asarray(part)[order[M * i : M * (i + 1)]] for part in digits.train)
        key = jax.random.fold_in(steps_key, i)
        params, opt_state, cost, *_ = train_step(params, opt_state, x, y, key, RELU, optimizer)
        leaves = jax.tree.leaves_with_path({"params": params, "cost": cost})
        paths = [jax.tree_util.keystr(path) for path, leaf in leaves if not np.isfinite(leaf).all()]
        bad_paths.append([re.sub(r"^\['(\w+)'\]", r"\1", path) for path in paths])
    assert bad_paths[:-1] == [[]] * run.divergence.step
    assert run.divergence.path in bad_paths[-1]

import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import estimator_checks_generator

import nnjax
from nnjax.baselines import average_darkness, random_guess, score, svm, tune_svm
from nnjax.data import Dataset, Split


@pytest.fixture
def digits(digits):
    """The digits as rows of pixels, as scikit-learn takes them."""
    splits = ((s.inputs.reshape(-1, 64), s.targets) for s in (digits.train, digits.validation, digits.test))
    return Dataset.from_arrays(*splits, name="digits")


# The steps of a pipeline are its parameters, and fitting a pipeline fits them.
PIPELINE_FAILURES = dict.fromkeys(
    ["check_estimators_overwrite_params", "check_dont_overwrite_parameters"], "a pipeline fits its steps"
)


def _checks():
    """Scikit-learn's checks of each estimator, under names that are the same in every process."""
    for estimator in (random_guess(), average_darkness(), svm()):
        failures = PIPELINE_FAILURES if hasattr(estimator, "steps") else {}
        for parameter in estimator_checks_generator(estimator, expected_failed_checks=failures, mark="xfail"):
            (_, check), marks = getattr(parameter, "values", parameter), getattr(parameter, "marks", ())
            name = f"{type(estimator).__name__}-{check.func.__name__}"
            yield pytest.param(estimator, check, marks=marks, id=name)


@pytest.mark.parametrize(("estimator", "check"), list(_checks()))
def test_the_estimators_pass_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


# --- average darkness ---


def test_average_darkness_has_the_accuracy_of_the_book(mnist):
    assert score([average_darkness()], mnist.train, mnist.test)[0].correct == 2225
    both = (np.concatenate(arrays) for arrays in zip(mnist.train, mnist.validation, strict=True))
    assert score([average_darkness()], Split(*both), mnist.test)[0].correct == 2230


def test_darkness_by_hand():
    """The images of label 3 sum to 10 and 20, that of label 7 to 300, which is beyond uint8."""
    X = np.array([[10, 0], [15, 5], [200, 100]], np.uint8)
    model = average_darkness().fit(X, [3, 3, 7])
    np.testing.assert_array_equal(model.darkness_, [15, 300])
    # 157 is nearer to 15, 158 to 300.
    np.testing.assert_array_equal(model.predict(np.array([[100, 57], [100, 58]], np.uint8)), [3, 7])


def test_if_labels_are_equally_near_the_lowest_is_predicted():
    model = average_darkness().fit(np.array([[30], [10]]), [0, 5])
    assert model.predict(np.array([[20]])) == [0]


images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.just(5)))


@given(images, st.data())
def test_the_prediction_is_the_label_with_the_nearest_mean(X, data):
    y = data.draw(hnp.arrays(np.int32, len(X), elements=st.integers(0, 3)))
    model = average_darkness().fit(X, y)
    sums = [sum(map(int, row)) for row in X]
    means = {c: np.mean([s for s, label in zip(sums, y, strict=True) if label == c]) for c in sorted(set(y))}
    expected = [min(means, key=lambda c, s=s: abs(s - means[c])) for s in sums]
    np.testing.assert_array_equal(model.predict(X), expected)


# --- random guess ---


def test_guesses_depend_on_the_seed_alone(digits):
    first, again, other = (random_guess(s).fit(*digits.train).predict(digits.test.inputs) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.2


def test_guesses_are_uniform(digits):
    X = np.zeros((100_000, 64), np.uint8)
    counts = np.bincount(random_guess().fit(*digits.train).predict(X), minlength=10)
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(100_000 * 0.09)


@given(images, st.integers(0, 2**32), st.data())
def test_only_labels_that_were_seen_are_guessed(X, seed, data):
    y = data.draw(hnp.arrays(np.int32, len(X), elements=st.sampled_from([2, 4, 9])))
    assert set(random_guess(seed).fit(X, y).predict(X)) <= set(y)


# --- support vector machines ---


@pytest.mark.parametrize("gamma", ["auto", "scale", 0.03])
def test_svm_is_that_of_scikit_learn_on_gray_values_from_0_to_1(digits, gamma):
    ours = svm(gamma, C=2.0).fit(*digits.train)
    theirs = SVC(gamma=gamma, C=2.0).fit(digits.train.inputs / 255, digits.train.targets)
    np.testing.assert_array_equal(
        ours.decision_function(digits.test.inputs), theirs.decision_function(digits.test.inputs / 255)
    )
    floats = svm(gamma, C=2.0).fit(digits.train.inputs / 255, digits.train.targets)
    np.testing.assert_array_equal(ours.predict(digits.test.inputs), floats.predict(digits.test.inputs / 255))


def test_gamma_auto_is_one_over_the_number_of_pixels(digits):
    named, number = (svm(gamma).fit(*digits.train) for gamma in ("auto", 1 / 64))
    np.testing.assert_array_equal(named.predict(digits.test.inputs), number.predict(digits.test.inputs))


def test_tuning_uses_the_first_training_images_and_the_validation_split_only(digits):
    data = Dataset.from_arrays(digits.train, digits.validation, name="without test images")
    tuned = tune_svm(data, subset=300, Cs=(1.0, 10.0), gammas=(1e-6, 0.05))
    first = Split(*(a[:300] for a in digits.train))
    for i, C in enumerate((1.0, 10.0)):
        for j, gamma in enumerate((1e-6, 0.05)):
            expected = score([svm(gamma, C)], first, digits.validation)[0].correct
            assert tuned.validation_correct[i, j] == expected
    assert tuned.gamma == 0.05
    assert tuned.validation_correct.max() == tuned.validation_correct[(1.0, 10.0).index(tuned.C), 1]


def test_the_first_of_equally_good_settings_is_chosen(digits):
    """With such a small C all settings have the same accuracy."""
    tuned = tune_svm(digits, subset=200, Cs=(1e-9, 1e-10), gammas=(0.02, 0.02001))
    assert len(set(tuned.validation_correct.flat)) == 1
    assert (tuned.C, tuned.gamma) == (1e-9, 0.02)


@pytest.mark.slow
def test_several_jobs_give_the_same_counts(digits):
    estimators = [average_darkness(), random_guess(), svm()]
    alone = score(estimators, digits.train, digits.test)
    together = score(estimators, digits.train, digits.test, jobs=2)
    assert [s.correct for s in alone] == [s.correct for s in together]
    assert all(min(s.fit_seconds, s.predict_seconds) > 0 for s in alone + together)


# --- wrong arguments ---


@pytest.mark.parametrize("make", [random_guess, average_darkness, svm])
@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (np.zeros((4, 2, 2)), [0, 1, 0, 1], "dim 3"),
        (np.zeros(4), [0, 1, 0, 1], "1D array"),
        (np.zeros((4, 2)), [0, 1], "inconsistent"),
        (np.zeros((0, 2)), [], "0 sample"),
        (np.full((2, 2), np.nan), [0, 1], "NaN"),
    ],
)
def test_wrong_shapes_raise(make, X, y, words):
    with pytest.raises(ValueError, match=words):
        make().fit(X, y)


@pytest.mark.parametrize("make", [random_guess, average_darkness, svm])
def test_images_of_another_size_raise(make, digits):
    with pytest.raises(ValueError, match="63 features"):
        make().fit(*digits.train).predict(digits.test.inputs[:, :63])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"subset": 0}, "subset must be a positive integer, got 0"),
        ({"Cs": ()}, "at least one"),
        ({"gammas": ()}, "at least one"),
    ],
)
def test_tuning_without_values_raises(digits, settings, words):
    with pytest.raises(ValueError, match=words):
        tune_svm(digits, **settings)


def test_tuning_without_validation_examples_raises(digits):
    with pytest.raises(ValueError, match="mine must have validation examples, got none"):
        tune_svm(Dataset.from_arrays(digits.train, name="mine"))


# --- the command ---


@pytest.fixture
def command(run, capsys):
    """Runs `nnjax baselines --json`; returns its exit code, its results by method, and its messages."""

    def command(*arguments):
        code, printed = run("baselines", "--json", *arguments), capsys.readouterr()
        return code, json.loads(printed.out)["methods"] if code == 0 else {}, printed.err

    return command


def result(correct):
    return {"accuracy": pytest.approx(correct / 296), "correct": correct}


def test_the_command_compares_the_network_of_the_book_with_the_baselines(command, digits):
    code, methods, messages = command("--dataset", "digits", "--epochs", 1, "--seed", 1)
    assert code == 0
    guess, dark = score([random_guess(1), average_darkness()], digits.train, digits.test)
    assert methods["random guess"] == result(guess.correct)
    assert methods["average darkness"] == result(dark.correct)
    correct = methods["network [64, 30, 10]"]["correct"]
    assert methods.keys() == {"random guess", "average darkness", "network [64, 30, 10]"}
    assert f"test: {correct / 2.96:.2f} % ({correct} of 296)" in messages


@pytest.mark.slow
def test_the_command_compares_a_saved_model_with_support_vector_machines(command, digits):
    params = nnjax.init(jax.random.key(0), (64, 7, 10))
    nnjax.save_model("m.st", params, nnjax.Objective(), digits)
    code, methods, _ = command("--model", "m.st", "--svm")
    assert code == 0
    assert methods["network [64, 7, 10]"] == result(int(nnjax.count_correct(params, *digits.test)))
    expected = score([svm("auto"), svm("scale")], digits.train, digits.test)
    assert [methods[f"SVM, gamma={g}"] for g in ("auto", "scale")] == [result(s.correct) for s in expected]


def test_the_command_needs_a_model_that_predicts_labels(command, digits):
    nine = nnjax.Objective(code=nnjax.is_digit(9))
    nnjax.save_model("m.st", nnjax.init(jax.random.key(0), (64, 1)), nine, digits)
    code, _, messages = command("--model", "m.st")
    assert code == 2
    assert "m.st must predict all labels" in " ".join(messages.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "none.st"], "none.st"),
        (["--dataset", "minst"], "did you mean"),
        (["--dataset", "digits", "--seed", -1], "seed"),
    ],
)
def test_a_wrong_option_prints_one_message(command, options, message):
    code, _, messages = command(*options)
    assert code == 2
    assert message in messages
    assert "Traceback" not in messages


def test_the_command_needs_labels(command, tmp_path):
    x = np.ones((20, 3), np.float32)
    np.savez(tmp_path / "line.npz", train_inputs=x, train_targets=x, test_inputs=x, test_targets=x)
    code, _, messages = command("--dataset", tmp_path / "line.npz")
    assert code == 2
    assert "the data set must have labels to classify" in " ".join(messages.split())

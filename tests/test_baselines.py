import subprocess
import sys

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

# Of every pipeline: fitting it fits its steps, which are its parameters.
OF_PIPELINES = dict.fromkeys(
    ["check_estimators_overwrite_params", "check_dont_overwrite_parameters"], "a pipeline fits its steps"
)


def _checks():
    """Scikit-learn's checks of each estimator, under names that are the same in every process."""
    for estimator in (random_guess(), average_darkness(), svm()):
        expected = OF_PIPELINES if hasattr(estimator, "steps") else {}
        for found in estimator_checks_generator(estimator, expected_failed_checks=expected, mark="xfail"):
            (_, check), marks = getattr(found, "values", found), getattr(found, "marks", ())
            name = f"{type(estimator).__name__}-{check.func.__name__}"
            yield pytest.param(estimator, check, marks=marks, id=name)


@pytest.mark.parametrize(("estimator", "check"), list(_checks()))
def test_scikit_learn_takes_them_for_its_own(estimator, check):
    check(estimator)


# --- average darkness ---


def test_darkness_reads_exactly_what_the_book_says(mnist):
    assert score([average_darkness()], mnist.train, mnist.test)[0].correct == 2225
    both = (np.concatenate(arrays) for arrays in zip(mnist.train, mnist.validation, strict=True))
    assert score([average_darkness()], Split(*both), mnist.test)[0].correct == 2230


def test_darkness_by_hand():
    """Label 3's images sum to 10 and 20, label 7's to 300: beyond what uint8 holds."""
    X = np.array([[10, 0], [15, 5], [200, 100]], np.uint8)
    model = average_darkness().fit(X, [3, 3, 7])
    np.testing.assert_array_equal(model.darkness_, [15, 300])
    # 157 is nearer to 15, 158 to 300.
    np.testing.assert_array_equal(model.predict(np.array([[100, 57], [100, 58]], np.uint8)), [3, 7])


def test_of_equally_near_labels_the_lowest_wins():
    model = average_darkness().fit(np.array([[30], [10]]), [0, 5])
    assert model.predict(np.array([[20]])) == [0]


images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.just(5)))


@given(images, st.data())
def test_darkness_is_the_nearest_class_mean(X, data):
    y = data.draw(hnp.arrays(np.int32, len(X), elements=st.integers(0, 3)))
    model = average_darkness().fit(X, y)
    sums = [sum(map(int, row)) for row in X]
    means = {c: np.mean([s for s, label in zip(sums, y, strict=True) if label == c]) for c in sorted(set(y))}
    expected = [min(means, key=lambda c, s=s: abs(s - means[c])) for s in sums]
    np.testing.assert_array_equal(model.predict(X), expected)


# --- random guess ---


def test_guesses_repeat_and_differ_by_seed(digits):
    first, again, other = (random_guess(s).fit(*digits.train).predict(digits.test.inputs) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.2


def test_every_label_is_guessed_as_often(digits):
    X = np.zeros((100_000, 64), np.uint8)
    counts = np.bincount(random_guess().fit(*digits.train).predict(X), minlength=10)
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(100_000 * 0.09)


@given(images, st.integers(0, 2**32), st.data())
def test_only_labels_seen_are_guessed(X, seed, data):
    y = data.draw(hnp.arrays(np.int32, len(X), elements=st.sampled_from([2, 4, 9])))
    assert set(random_guess(seed).fit(X, y).predict(X)) <= set(y)


# --- support vector machines ---


@pytest.mark.parametrize("gamma", ["auto", "scale", 0.03])
def test_svm_is_scikit_learns_on_grey_from_0_to_1(digits, gamma):
    ours = svm(gamma, C=2.0).fit(*digits.train)
    theirs = SVC(gamma=gamma, C=2.0).fit(digits.train.inputs / 255, digits.train.targets)
    np.testing.assert_array_equal(
        ours.decision_function(digits.test.inputs), theirs.decision_function(digits.test.inputs / 255)
    )
    floats = svm(gamma, C=2.0).fit(digits.train.inputs / 255, digits.train.targets)
    np.testing.assert_array_equal(ours.predict(digits.test.inputs), floats.predict(digits.test.inputs / 255))


def test_auto_is_one_over_the_pixels(digits):
    named, number = (svm(gamma).fit(*digits.train) for gamma in ("auto", 1 / 64))
    np.testing.assert_array_equal(named.predict(digits.test.inputs), number.predict(digits.test.inputs))


def test_tuning_looks_at_the_first_training_images_and_at_validation_alone(digits):
    hidden = Dataset.from_arrays(digits.train, digits.validation, name="without test images")
    tuned = tune_svm(hidden, subset=300, Cs=(1.0, 10.0), gammas=(1e-6, 0.05))
    first = Split(*(a[:300] for a in digits.train))
    for i, C in enumerate((1.0, 10.0)):
        for j, gamma in enumerate((1e-6, 0.05)):
            expected = score([svm(gamma, C)], first, digits.validation)[0].correct
            assert tuned.validation_correct[i, j] == expected
    assert tuned.gamma == 0.05
    assert tuned.validation_correct.max() == tuned.validation_correct[(1.0, 10.0).index(tuned.C), 1]


def test_of_equally_good_settings_the_first_is_chosen(digits):
    """So small a C leaves every machine the same."""
    tuned = tune_svm(digits, subset=200, Cs=(1e-9, 1e-10), gammas=(0.02, 0.02001))
    assert len(set(tuned.validation_correct.flat)) == 1
    assert (tuned.C, tuned.gamma) == (1e-9, 0.02)


def test_several_at_a_time_count_the_same(digits):
    estimators = [average_darkness(), random_guess(), svm()]
    alone = score(estimators, digits.train, digits.test)
    together = score(estimators, digits.train, digits.test, jobs=2)
    assert [s.correct for s in alone] == [s.correct for s in together]
    assert all(min(s.fit_seconds, s.predict_seconds) > 0 for s in alone + together)


# --- bad input ---


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
def test_wrong_shapes_are_named(make, X, y, words):
    with pytest.raises(ValueError, match=words):
        make().fit(X, y)


@pytest.mark.parametrize("make", [random_guess, average_darkness, svm])
def test_images_of_another_size_are_refused(make, digits):
    with pytest.raises(ValueError, match="63 features"):
        make().fit(*digits.train).predict(digits.test.inputs[:, :63])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"subset": 0}, "subset must be 1 or more"),
        ({"Cs": ()}, "at least one"),
        ({"gammas": ()}, "at least one"),
    ],
)
def test_tuning_needs_something_to_try(digits, settings, words):
    with pytest.raises(ValueError, match=words):
        tune_svm(digits, **settings)


def test_tuning_needs_validation_images(digits):
    with pytest.raises(ValueError, match="mine has no validation images"):
        tune_svm(Dataset.from_arrays(digits.train, name="mine"))


# --- the command ---


@pytest.fixture
def command(run, capsys):
    return lambda *arguments: (run("baselines", *arguments), capsys.readouterr())


def rows(printed):
    cells = ([cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines())
    return {row[0]: row[1:] for row in cells if row}


def test_the_command_trains_the_chapters_network_beside_the_baselines(command, digits):
    code, told = command("--dataset", "digits", "--epochs", 3, "--seed", 1)
    assert code == 0
    table = rows(told.out)
    guess, dark = score([random_guess(1), average_darkness()], digits.train, digits.test)
    assert table["random guess"] == [str(guess.correct), f"{guess.correct / 296:.2%}"]
    assert table["average darkness"] == [str(dark.correct), f"{dark.correct / 296:.2%}"]
    right = int(table["network [64, 30, 10]"][0])
    assert f"test: {right} of 296 right" in told.out
    assert "left out, since they take minutes: --svm" in told.out
    assert "SVM" not in told.out


def test_the_command_takes_a_model_and_fits_svms_when_asked(command, digits):
    params = nnjax.init(jax.random.key(0), (64, 7, 10))
    nnjax.save_model("m.st", params, nnjax.Objective(), digits)
    code, told = command("--model", "m.st", "--svm")
    assert code == 0
    table = rows(told.out)
    assert int(table["network [64, 7, 10]"][0]) == int(nnjax.count_correct(params, *digits.test))
    expected = score([svm("auto"), svm("scale")], digits.train, digits.test)
    assert [int(table[f"SVM, gamma={g}"][0]) for g in ("auto", "scale")] == [s.correct for s in expected]
    assert "left out" not in told.out


def test_the_command_refuses_a_model_that_does_not_tell_labels(command, digits):
    nine = nnjax.Objective(code=nnjax.is_digit(9))
    nnjax.save_model("m.st", nnjax.init(jax.random.key(0), (64, 1)), nine, digits)
    code, told = command("--model", "m.st")
    assert code == 2
    assert "does not say which label it is" in " ".join(told.err.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--model", "none.st"], "none.st"), (["--dataset", "minst"], "did you mean"), (["--seed", -1], "seed")],
)
def test_the_commands_errors_are_one_message(command, options, words):
    code, told = command(*options) if "--dataset" in options else command("--dataset", "digits", *options)
    assert code == 2
    assert words in told.err
    assert "Traceback" not in told.err


def test_the_command_line_starts_without_scikit_learn():
    code = "import sys, nnjax.cli; print('sklearn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"

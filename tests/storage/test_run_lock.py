"""A directory belongs to one training: other settings raise an error, another machine triggers a warning."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.data import Split
from nnjax.storage.run_lock import lock_run_dir
from runs import KEY, assert_same_run, every_epoch, interrupt, train

ENVIRONMENT = importlib.import_module("nnjax.runtime.environment")  # whose function has the same name


@pytest.fixture(scope="module")
def params():
    return nnjax.init(jax.random.key(0), (64, 5, 10))


def l2(factor, params):
    return factor * jnp.sum(params[0].w ** 2)


@pytest.fixture
def start(params, digits, tmp_path):
    """Starts or resumes a run of one epoch whose settings have floats in every place."""
    splits = {
        name: Split(getattr(digits, name).inputs / np.float32(255), getattr(digits, name).targets)
        for name in ("train", "validation", "test")
    }

    def start(key=KEY, params=params, penalty=0.1, learning_rate=3.3, **changed_splits):
        data = nnjax.Dataset.from_arrays(**splits | changed_splits)
        objective = nnjax.Objective(penalty=jax.tree_util.Partial(l2, penalty))
        settings = {"objective": objective, "learning_rate": learning_rate, "batch_size": 43, "epochs": 1}
        return nnjax.fit(key, params, data, checkpoint=tmp_path, **settings)

    start.splits = splits
    return start


# --- other settings ---


def test_other_settings_raise_an_error_that_lists_the_differences(params, digits, tmp_path):
    train(params, digits, checkpoint=tmp_path)
    for changes, message in (
        (
            {"learning_rate": 1.0},
            r"\(learning_rate was 3\.0 and is 1\.0\): use the same settings",
        ),
        ({"batch_size": 86}, "batch_size was 43 and is 86"),
        ({"optimizer": nnjax.momentum}, "optimizer was <function sgd> and is <function momentum>"),
        ({"epochs": 2}, "epochs must be at least 3, .* got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            train(params, digits, checkpoint=tmp_path, **changes)
    with (
        jax.default_matmul_precision("float32"),
        pytest.raises(ValueError, match="matmul_precision was None"),
    ):
        train(params, digits, checkpoint=tmp_path)


def test_other_data_parameters_keys_and_numbers_raise(start, params):
    start()
    start()  # with other objects of equal content
    inputs, labels = start.splits["test"]
    for message, changes in {
        "key was": {"key": jax.random.key(8)},
        "different initial parameters": {"params": jax.tree.map(lambda x: x + 1e-6, params)},
        "different test float data": {"test": Split(inputs, (labels + 1) % 10)},
        "objective.penalty was": {"penalty": 0.2},
    }.items():
        with pytest.raises(ValueError, match=message):
            start(**changes)


def test_another_function_raises_even_if_it_changes_only_the_evaluation(params, digits, tmp_path):
    """Otherwise a history would contain counts of two kinds."""

    def objective(sign):
        def forward(params, x, key):
            output = nnjax.feedforward(params, x)
            return output if key is not None else sign * output

        return nnjax.Objective(forward=forward)

    train(params, digits, objective=objective(1), checkpoint=tmp_path)
    train(params, digits, objective=objective(1), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="the code of a function has changed"):
        train(params, digits, objective=objective(-1), checkpoint=tmp_path)


def test_with_a_schedule_more_epochs_raise_and_the_error_says_why(params, digits, tmp_path):
    settings = {"schedule": "cosine", "checkpoint": tmp_path}
    train(params, digits, epochs=1, **settings)
    train(params, digits, epochs=1, **settings)
    message = (
        r"num_steps was 28\.0 and is 56\.0, and the learning-rate schedule depends on the number of training"
    )
    with pytest.raises(ValueError, match=message):
        train(params, digits, epochs=2, **settings)
    message = "schedule was <function cosine> and is <function constant>"
    with pytest.raises(ValueError, match=message) as error:
        train(params, digits, epochs=1, checkpoint=tmp_path)
    assert "depends on" not in str(error.value)


def test_differences_are_shown_by_the_users_names(tmp_path):
    def lock(rate, epochs=1, num_steps="None"):
        settings = {"learning_rate": str(rate), "num_steps": num_steps}
        return lock_run_dir(tmp_path, settings, {"--rate": str(rate), "--epochs": str(epochs)})

    with lock(3.0, 1, "28.0"):
        (tmp_path / "1").mkdir()
    message = r"other settings \(--rate was 3.0 and is 2.0\)"
    with pytest.raises(ValueError, match=message), lock(2.0, 1, "28.0"):
        pass
    message = (
        r"\(--epochs was 1 and is 2; num_steps was 28.0 and is 56.0, and the learning-rate schedule depends"
    )
    with pytest.raises(ValueError, match=message), lock(3.0, 2, "56.0"):
        pass
    with pytest.raises(ValueError, match=r"\(num_steps was 28.0 and is None\)"), lock(3.0):
        pass


# --- another machine ---


def next_float(x):
    """`x` with another last bit, as if another processor had computed it."""
    return np.nextafter(x, np.inf, dtype=np.asarray(x).dtype)


@pytest.fixture
def move(monkeypatch):
    """Simulates a processor with the same name and other vector instructions."""
    return lambda: monkeypatch.setattr(ENVIRONMENT, "vector_extensions", lambda: "X86_V4")


WARNING = r"another machine or other versions \(vector_extensions was .* and is X86_V4\): training resumes"


def test_on_another_machine_a_run_resumes_with_a_warning(params, digits, tmp_path, move):
    interrupt(2, params, digits, tmp_path)
    move()
    with pytest.warns(UserWarning, match=WARNING) as caught:
        resumed = train(params, digits, checkpoint=tmp_path)
    assert "impossible to compare" not in str(caught[0].message)
    assert_same_run(resumed, train(params, digits))


def test_the_last_bit_of_a_float_may_differ_on_another_machine(start, params, move):
    start()
    inputs, labels = start.splits["train"]
    changes = {
        "learning_rate": float(next_float(3.3)),
        "penalty": float(next_float(0.1)),
        "params": jax.tree.map(next_float, params),
        "train": Split(next_float(inputs), labels),
    }
    for change in changes.items():
        with pytest.raises(ValueError, match="other settings"):
            start(**dict([change]))
    move()
    with pytest.warns(UserWarning, match=WARNING) as caught:
        start(**changes)
    uncertain = str(caught[0].message).partition("impossible to compare: ")[2].split(", ")
    digests = {"initial parameters", "numbers of the objective", "train float data"}
    assert {"learning_rate", "objective.penalty"} | digests <= set(uncertain)
    for change, message in (
        ({"learning_rate": 3.301}, r"\(learning_rate was 3\.3 and is 3\.301\)"),
        ({"key": jax.random.key(8)}, "key was"),
    ):
        with pytest.raises(ValueError, match=message):
            start(**changes | change)


def test_a_sweep_resumes_on_another_machine_but_not_to_more_epochs_with_a_schedule(digits, tmp_path, move):
    def sweep(*rates, epochs=1):
        settings = {"hidden": 5, "learning_rate": rates, "batch_size": 43, "schedule": "linear"}
        return nnjax.sweep(KEY, digits, epochs=epochs, checkpoint=tmp_path, **settings)

    sweep(0.3, 3.0)
    with pytest.raises(ValueError, match=r"num_steps was 28 and is 56, and the .* schedule depends"):
        sweep(0.3, 3.0, epochs=2)
    almost = float(next_float(np.float32(0.3)))
    with pytest.raises(ValueError, match="learning_rate was"):
        sweep(almost, 3.0)
    move()
    with pytest.warns(UserWarning, match=WARNING) as caught:
        sweep(almost, 3.0)
    assert ["networks" in str(warning.message) for warning in caught] == [False, True]


def test_another_version_triggers_a_warning_and_the_program_is_not_compared(params, digits, tmp_path):
    train(params, digits, epochs=1, checkpoint=tmp_path)
    path = tmp_path / "settings.json"
    record = json.loads(path.read_text())
    record["machine"]["jax"] = "0.1.0"
    record["settings"]["program"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.warns(UserWarning, match=rf"other versions \(jax was 0.1.0 and is {jax.__version__}\)"):
        train(params, digits, epochs=1, checkpoint=tmp_path)


# --- the directory ---


def test_a_directory_with_other_files_is_not_changed(tmp_path):
    (tmp_path / "2024").mkdir()
    message = r"numbered files but no settings\.json"
    with pytest.raises(ValueError, match=message), lock_run_dir(tmp_path, {}, {}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["2024"]


def test_a_second_training_in_a_directory_raises(params, digits, tmp_path):
    with lock_run_dir(tmp_path, {}, {}), pytest.raises(ValueError, match="another training is running in"):
        train(params, digits, checkpoint=every_epoch(tmp_path))
    assert not any(path.name.isdigit() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 2}', '{"format": 2, "settings": 3, "machine": {}}', "[" * 100_000]
)
def test_a_damaged_settings_file_raises(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings.json is damaged"), lock_run_dir(tmp_path, {}, {}):
        pass


@pytest.mark.parametrize(
    ("version", "shown"), [({}, "1"), ({"format": 3}, "3"), ({"format": "a" * 99}, r"\.\.\.")]
)
def test_a_directory_of_another_format_raises_an_error_that_names_it(tmp_path, version, shown):
    """Format 1 does not state its number."""
    (tmp_path / "5").mkdir()
    record = version | {"named": {}, "settings": {"batch_size": "10"}, "environment": {"jax": "0.10.2"}}
    (tmp_path / "settings.json").write_text(json.dumps(record))
    message = rf"settings.json must have format 2, got format {shown}: use another directory"
    with pytest.raises(ValueError, match=message), lock_run_dir(tmp_path, {"batch_size": "10"}, {}):
        pass

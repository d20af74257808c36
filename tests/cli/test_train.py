"""`nnjax train`, in this process and on the embedded digits."""

import json
import os
import re
import shlex
import signal
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.cli import _settings, train
from nnjax.compare.plots import STYLES
from nnjax.config import configs
from nnjax.data import _sources
from nnjax.storage import model_dir
from nnjax.training import _fit

TRAIN = ["train", "--dataset", "digits", "--epochs", 1, "--batch-size", 100]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(run, tmp_path, monkeypatch):
    """With an empty model folder below it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def record(path="r.json"):
    return json.loads(Path(path).read_text())


def models():
    return sorted(model_dir().glob("*")) if model_dir().exists() else []


def test_model_record_and_output_agree(run, capsys, digits):
    assert run(*TRAIN, "--epochs", 2, "--save", "m.st", "--record", "r.json") == 0
    printed, saved, model = capsys.readouterr().out, record(), nnjax.load_model("m.st")
    correct = saved["history"]["test_correct"]
    assert correct[-1] == int(nnjax.count_correct(model.params, *digits.test, model.objective))
    count = int(nnjax.count_correct(model.params, *digits.validation, model.objective))
    assert model.validation_accuracy == count / len(digits.validation.targets)
    assert f"test: {100 * correct[-1] / 296:.2f} % ({correct[-1]} of 296)\n" in printed
    for epoch, (cost, count) in enumerate(zip(saved["history"]["train_cost"], correct, strict=True), 1):
        assert f"epoch {epoch:3} / 2  cost {cost:.4f}  test {100 * count / 296:.2f} %\n" in printed
    config = nnjax.TrainConfig(epochs=2, batch_size=100, learning_rate=3.0).to_json()  # the rate is explicit
    assert (saved["config"], saved["dataset"], saved["seed"]) == (config, "digits", 0)
    assert saved["environment"]["versions"]["jax"] == jax.__version__
    assert saved["model"] == "m.st"
    assert model.settings == {"config": config, "dataset": "digits", "seed": 0, "epochs": 2}
    assert model.layout is not None
    assert models() == []


def test_the_command_trains_as_its_configuration_does(run, digits):
    """Also the configuration in a record, with changes by flags."""
    config = nnjax.TrainConfig(epochs=1, batch_size=100, learning_rate=1.0)
    assert run(*TRAIN, "--learning-rate", 1, "--seed", 3, "--save", "a.st", "--record", "r.json") == 0
    expected = config.fit(jax.random.key(3), digits).params
    assert run("train", "--config", "r.json", "--save", "b.st") == 0
    for path in ("a.st", "b.st"):
        for saved, trained in zip(nnjax.load_model(path).params, expected, strict=True):
            np.testing.assert_array_equal(saved.w, trained.w)
    assert run("train", "--config", "r.json", "--seed", 4, "--no-save", "--record", "r.json") == 0
    assert (record()["seed"], record()["config"]) == (4, config.to_json())


@pytest.mark.parametrize(
    ("flags", "sizes"),
    [
        (["--hidden", "none", "--optimizer", "adam", "--schedule", "cosine"], (64, 10)),
        pytest.param(
            ["--hidden", 30, 20, "--output-code", "binary"], (64, 30, 20, 4), marks=pytest.mark.slow
        ),
        pytest.param(
            ["--output-code", "is_digit(9)", "--ema-decay", 0.9], (64, 30, 1), marks=pytest.mark.slow
        ),
        pytest.param(
            ["--cost", "softmax_cross_entropy", "--dropout", 0.5], (64, 30, 10), marks=pytest.mark.slow
        ),
    ],
)
def test_flags_shape_the_network(run, flags, sizes):
    assert run(*TRAIN, *flags, "--save", "m.st") == 0
    assert nnjax.load_model("m.st").sizes == sizes


def test_json_goes_to_standard_output_and_messages_to_standard_error(run, capsys):
    assert run(*TRAIN, "--json", "--record", "r.json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == record()
    assert "epoch   1 / 1" in err
    assert record()["model"] == str(models()[0])
    assert run(*TRAIN, "--no-save") == 0
    assert "epoch   1 / 1" in capsys.readouterr().out


def test_plot_is_a_picture(run, monkeypatch):
    from PIL import Image, ImageColor

    assert run(*TRAIN, "--plot", "p.png", "--no-save") == 0
    with Image.open("p.png") as picture:
        colors = picture.convert("RGB").getcolors(10**6)
    assert {color for _, color in colors} >= {ImageColor.getrgb(style["color"]) for style in STYLES[:3]}


def test_plot_without_matplotlib_is_rejected_before_training(run, uninstall, monkeypatch, capsys):
    uninstall("matplotlib")
    monkeypatch.setattr(train, "load_dataset", lambda *_: pytest.fail("loaded the data"))
    assert run(*TRAIN, "--plot", "p.png") == 2
    assert "pip install 'nnjax[compare]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--hidden", 0], "each number in hidden must be a positive integer, got 0"),
        (["--hidden", -5], "each number in hidden must be a positive integer, got -5"),
        (["--hidden", 2.5], "Error parsing --hidden: must be integers such as 30 or 20x30, got '2.5'"),
        (["--epochs", 0], "epochs must be a positive integer, got 0"),
        (["--batch-size", 0], "batch_size must be a positive integer, got 0"),
        (["--learning-rate", -1], "learning_rate must be non-negative, got -1"),
        (["--learning-rate", "nan"], "learning_rate must be non-negative, got nan"),
        (["--learning-rate", "high"], "Error parsing --learning-rate: must be a number, got 'high'"),
        (["--seed", -1], "seed must be an integer from 0 to 4294967295, got -1"),
        (["--seed", 2**64], "seed must be an integer from 0"),
        (["--optimizer", "adm"], "did you mean 'adam'"),
        (["--cost", "quadratc"], "did you mean 'quadratic'"),
        (["--activation", "sigmod"], "did you mean 'sigmoid'"),
        (["--output-code", "onehot"], "did you mean 'one_hot'"),
        (["--initial-weights", "lecum"], "did you mean 'lecun'"),
        (["--schedule", "cosin"], "did you mean 'cosine'"),
        (["--augment", "shift=1"], "augment must be one of translate"),
        (["--augment", "translate"], "Error parsing --augment: must be name=value pairs, got 'translate'"),
        (["--hyperparameters", "momentum:1"], "Error parsing --hyperparameters: must be name=value pairs"),
        (["--config", "best-gpu"], "did you mean 'best-cpu'"),
        (["--epoch", 3], "Number of times that every training example is used. (default: 30)"),
        (["--no-such-flag", "book"], "Unrecognized options: --no-such-flag"),
        (["--save", "."], "it is a"),
        (["--save", "none/m.st"], "No such file"),
        (["--record", "/proc/nnjax.json"], "cannot write"),
        (["--save", "m", "--record", "m"], "--save and --record must name different files, got m twice"),
        (["--plot", "m.txt"], "--plot must end in one of"),
        (["--save", "m", "--no-save"], "--save must not be used with --no-save"),
        (["--checkpoint-dir", "."], "--checkpoint-dir must not be the current directory, got ."),
        (["--checkpoint-every-epochs", 2], "--checkpoint-every-epochs must be used with --checkpoint-dir"),
        (["--checkpoint-every-seconds", 2], "--checkpoint-every-seconds must be used with --checkpoint-dir"),
        (
            ["--checkpoint-dir", "c", "--checkpoint-every-seconds", -1],
            "--checkpoint-every-seconds must be at least 0, got -1",
        ),
        (
            ["--checkpoint-dir", "c", "--checkpoint-every-epochs", 0],
            "--checkpoint-every-epochs must be a positive integer, got 0",
        ),
        (["--process-id", 1, "--num-processes", 2], "--num-processes, --process-id must be used with"),
    ],
)
def test_wrong_flags_are_rejected_before_data_is_loaded(run, flags, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(train, "load_dataset", lambda *_: pytest.fail("loaded the data"))
    assert run(*TRAIN, *flags) == 2
    err = capsys.readouterr().err
    assert words in " ".join(re.sub("[│─]|-{3,}", " ", err).split())
    assert "Traceback" not in err
    assert not os.listdir()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--batch-size", 1205], "batch_size must be at most 1204"),
        (["--dataset", "minst"], "did you mean 'mnist'"),
        (["--hidden", 10**20], "the configuration does not fit digits: "),
        (["--config", "best-cpu"], "the configuration does not fit digits: "),
        (["--optimizer", "adam", "--hyperparameters", "b3=1"], "hyper-parameter must be one of"),
        (["--cost", "softmax_cross_entropy", "--output-code", "binary"], "sigmoid_cross_entropy"),
        (["--epochs", 10**13], "the computation failed on this machine"),
        (["--distributed", "--heartbeat", 0, "--coordinator-address", "localhost:1"], "heartbeat must be"),
    ],
)
def test_settings_that_do_not_fit_are_rejected_before_training(run, flags, words, capsys, monkeypatch):
    monkeypatch.setattr(_fit, "run_epochs", lambda *_: pytest.fail("trained"))
    assert run(*TRAIN, *flags) == 2
    err = capsys.readouterr().err
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert not os.listdir()


def test_auto_uses_the_digits_with_a_warning_if_mnist_is_not_available(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(_sources, "is_reachable", lambda url: False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(*TRAIN, "--dataset", "auto", "--data-dir", tmp_path, "--record", "r.json") == 0
    assert "8x8 digits" in " ".join(capsys.readouterr().err.split())
    assert record()["dataset"] == "digits"


# Divergence


def test_divergence_is_reported(run, capsys):
    flags = ["--hidden", "none", "--cost", "softmax_cross_entropy", "--learning-rate", 1e38]
    assert run(*TRAIN, *flags, "--record", "r.json", "--save", "m.st") == 4
    out = capsys.readouterr().out
    assert re.search(
        r"diverged in epoch 1, step \d+: (cost|params\[0\]\.[wb]) is not finite; there is no model", out
    )
    assert "smaller learning rate" in out
    assert record()["history"]["diverged_at"] == 0
    assert None in record()["history"]["train_cost"]
    assert record()["divergence"]["epoch"] == 0
    assert not os.path.exists("m.st")


def test_the_last_finite_model_of_a_diverged_training_is_saved(run, capsys, monkeypatch):
    """Finite for two epochs, then infinite: the model is that of the second."""
    advance, states = _fit._Trainer.advance, []

    def exploding(*arguments):
        state, cost, watched = advance(*arguments)
        states.append(state.step)
        if len(states) == 3:
            state = state._replace(params=jax.tree.map(lambda x: x * jnp.inf, state.params))
        return jax.tree.map(jnp.copy, state), cost, watched

    monkeypatch.setattr(_fit._Trainer, "advance", exploding)
    assert run(*TRAIN, "--epochs", 9, "--save", "m.st", "--record", "r.json") == 4
    out = capsys.readouterr().out
    assert "diverged in epoch 3" in out
    assert "the model is that of epoch 2" in out
    assert record()["history"]["diverged_at"] == 2
    model = nnjax.load_model("m.st")
    assert model.settings["epochs"] == 2
    assert np.isfinite(model.params[0].w).all()


# The model directory


def test_models_are_saved_in_the_model_dir_by_their_settings(run):
    assert run(*TRAIN) == 0
    assert run(*TRAIN, "--seed", 1) == 0
    assert len(models()) == 2
    assert run(*TRAIN) == 0  # the same settings, the same file
    assert run("train", "--dataset", "digits", "--batch-size", 100, "--epochs", 1, "--hidden", 30) == 0
    assert len(models()) == 2
    assert all(path.name.startswith("digits-30-") for path in models())


def test_no_save_saves_no_model(run):
    assert run(*TRAIN, "--no-save") == 0
    assert models() == []


def test_a_model_dir_that_cannot_be_written_is_a_warning(run, tmp_path, capsys):
    (tmp_path / "share").write_text("a file")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(*TRAIN, "--record", "r.json") == 0
    assert "the model is not saved: cannot write into" in " ".join(capsys.readouterr().err.split())
    assert record()["model"] is None


def test_everything_else_is_written_if_the_model_cannot_be(run, monkeypatch, capsys):
    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train, "save_model", full)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(*TRAIN) == 0
    assert "the model is not saved: [Errno 28]" in capsys.readouterr().err
    assert run(*TRAIN, "--save", "m.st", "--record", "r.json", "--plot", "p.png") == 2
    out, err = capsys.readouterr()
    assert "[Errno 28] No space left" in err
    assert "test: " in out
    assert len(record()["history"]["test_correct"]) == 1
    assert Path("p.png").stat().st_size > 0


# Interruption and resuming


@pytest.fixture
def signal_after(monkeypatch):
    """Does something when so many epochs are done and printed."""
    show = train.Display.show

    def interrupt(epochs, action):
        def showing(display, run):
            show(display, run)
            if len(run.history) == epochs:
                action()

        monkeypatch.setattr(train.Display, "show", showing)

    return interrupt


def test_a_signal_ends_training_after_the_epoch_and_the_printed_command_resumes_it(
    run, signal_after, monkeypatch, capfd
):
    command = [*TRAIN, "--epochs", 3, "--record", "r.json", "--no-save"]
    assert run(*command) == 0
    uninterrupted = record()["history"]
    capfd.readouterr()
    signal_after(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run(*command, "--checkpoint-dir", "c") == 128 + signal.SIGTERM
    out = capfd.readouterr()
    assert "stopping after this epoch" in out.err
    assert "interrupted after 2 of 3 epochs" in out.out
    assert len(record()["history"]["train_cost"]) == 2
    [resume] = re.findall("resume with: nnjax (.*)", out.out)
    signal_after(9, pytest.fail)
    assert run(*shlex.split(resume)) == 0
    assert "resuming after epoch 2 from " in capfd.readouterr().out
    for column in ("train_cost", "test_correct"):
        assert record()["history"][column] == uninterrupted[column]


def test_without_checkpoints_the_model_is_saved_and_the_message_names_the_flag(run, capsys, signal_after):
    signal_after(1, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run(*TRAIN, "--epochs", 3) == 130
    assert "interrupted after 1 of 3 epochs; use --checkpoint-dir to resume interrupted trainings" in (
        capsys.readouterr().out
    )
    assert len(models()) == 1


def test_an_interrupted_training_does_not_replace_the_model_of_a_complete_one(run, signal_after):
    assert run(*TRAIN, "--epochs", 2) == 0
    (complete,) = models()
    content = complete.read_bytes()
    signal_after(1, lambda: signal.raise_signal(signal.SIGINT))
    assert run(*TRAIN, "--epochs", 2) == 130
    assert complete.read_bytes() == content
    assert len(models()) == 2


def test_output_to_a_closed_pipe_ends_training_with_everything_saved(run, signal_after):
    def broken_pipe():
        raise BrokenPipeError

    signal_after(2, broken_pipe)
    assert run(*TRAIN, "--epochs", 5, "--save", "m.st", "--record", "r.json", "--checkpoint-dir", "c") == 130
    assert len(record()["history"]["train_cost"]) == 2
    assert nnjax.load_model("m.st").settings["epochs"] == 2
    assert "2" in os.listdir("c")


def test_output_that_cannot_be_written_does_not_end_training(run, signal_after, capsys):
    def full():
        raise OSError(28, "No space left on device")

    signal_after(1, full)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(*TRAIN, "--epochs", 2, "--save", "m.st") == 0
    assert "training continues, but its output cannot be printed" in capsys.readouterr().err
    assert nnjax.load_model("m.st").settings["epochs"] == 2


def test_ctrl_c_before_training_reports_that_nothing_was_trained(run, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "load_dataset", interrupted)
    assert run(*TRAIN, "--save", "m.st") == 130
    assert "nothing was trained" in capsys.readouterr().err
    assert not os.listdir()


def test_resuming_with_other_settings_is_rejected_with_the_names_of_the_flags(run, capsys):
    assert run(*TRAIN, "--no-save", "--checkpoint-dir", "c") == 0
    assert run(*TRAIN, "--no-save", "--checkpoint-dir", "c", "--learning-rate", 1, "--seed", 1) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "--learning-rate was 3.0 and is 1.0; --seed was 0 and is 1" in err


def test_more_epochs_resume_only_if_the_schedule_is_constant(run, capsys):
    train_with = [*TRAIN, "--no-save", "--epochs"]
    assert run(*train_with, 2, "--checkpoint-dir", "constant") == 0
    assert run(*train_with, 3, "--checkpoint-dir", "constant") == 0
    assert "resuming after epoch 2 from " in capsys.readouterr().out
    assert run(*train_with, 1, "--checkpoint-dir", "cosine", "--schedule", "cosine") == 0
    assert run(*train_with, 1, "--checkpoint-dir", "cosine", "--schedule", "cosine") == 0
    assert run(*train_with, 2, "--checkpoint-dir", "cosine", "--schedule", "cosine") == 2
    assert "--epochs was 1 and is 2" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_convolutional_configuration_is_trained_evaluated_compared_and_drawn(run, capsys, monkeypatch):
    small = replace(configs["best-cpu"], channels=(2,), hidden=(4,))
    monkeypatch.setattr(_settings, "configs", {**configs, "best-cpu": small})
    assert run("train", "--dataset", "digits", "--config", "best-cpu", "--epochs", 2, "--save", "m.st") == 0
    assert "training [64, 2, 4, 10]" in capsys.readouterr().out
    assert nnjax.load_model("m.st").settings["config"]["channels"] == [2]
    assert run("evaluate", "m.st") == 0
    assert run("baselines", "--model", "m.st") == 0
    assert "network [64, 2, 4, 10]" in capsys.readouterr().out
    assert run("draw", "m.st", "--output", "page.html", "--no-open") == 0


def test_an_output_that_cannot_be_written_does_not_hide_the_other(run, capsys, monkeypatch):
    def full(path, record):
        raise OSError("No space left on device")

    monkeypatch.setattr("nnjax.cli.train.write_record", full)
    assert run(*TRAIN, "--no-save", "--record", "r.json", "--plot", "f.png") == 2
    printed = capsys.readouterr()
    assert "figure in f.png" in printed.out
    assert "record in" not in printed.out
    assert "No space left on device" in printed.err

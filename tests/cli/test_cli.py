"""The `nnjax` command, in this process where that will do and in its own where it must."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

import nnjax
from nnjax.cli import train
from nnjax.training import _fit

TRAIN = ["train", "--dataset", "digits", "--epochs", "2"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(run):
    """Also the tests that start processes of their own."""


def record():
    return json.loads(Path("r.json").read_text())


def test_train_then_evaluate(run, capsys, digits):
    assert run("train", "--dataset", "digits", "--epochs", 20, "--save", "m.st", "--json", "r.json") == 0
    printed = capsys.readouterr().out
    saved, model = record(), nnjax.load_model("m.st")
    right = saved["history"]["test_correct"][-1]
    assert right == int(nnjax.count_correct(model.params, *digits.test, model.objective)) > 0.9 * 296
    assert f"{right} of 296 right" in printed
    assert saved["settings"]["dataset"] == "digits"
    assert saved["settings"]["learning_rate"] == 3.0
    assert saved["versions"]["jax"] == jax.__version__
    assert len(saved["history"]["cost"]) == 20
    assert model.settings["seed"] == 0
    assert run("evaluate", "m.st") == 0
    assert f"digits test: {right} of 296 right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        (["--hidden", 30, 20], (64, 30, 20, 10)),
        (["--hidden"], (64, 10)),
        (["--output-code", "binary", "--optimizer", "adam"], (64, 30, 4)),
        (["--output-code", "is_digit(9)", "--activation", "tanh"], (64, 30, 1)),
        (
            ["--cost", "softmax_cross_entropy", "--activation", "relu", "--learning-rate", 0.1],
            (64, 30, 10),
        ),
        (["--cost", "sigmoid_cross_entropy", "--initial-weights", "scaled"], (64, 30, 10)),
    ],
)
def test_options_shape_the_network(run, options, sizes, capsys):
    assert run(*TRAIN, *options, "--save", "m.st") == 0
    assert nnjax.load_model("m.st").sizes == sizes
    assert run("evaluate", "m.st") == 0


def test_the_seed_repeats(run, capsys):
    def cost(*options):
        assert run(*TRAIN, *options, "--json", "r.json") == 0
        return record()["history"]["cost"]

    assert cost() == cost("--seed", 0)
    assert cost() != cost("--seed", 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hidden", 0], "sizes must be positive"),
        (["--hidden", -5], "sizes must be positive"),
        (["--hidden", 2.5], "hidden"),
        (["--batch-size", 0], "batch_size must be from 1 to 1204, the number of training examples"),
        (["--batch-size", 1205], "batch_size must be from 1 to 1204"),
        (["--epochs", 0], "epochs must be 1 or more"),
        (["--learning-rate", -1], "learning_rate must not be negative"),
        (["--learning-rate", "nan"], "learning_rate must be a finite number"),
        (["--seed", -1], "seed must be from 0"),
        (["--seed", 2**64], "seed must be from 0"),
        (["--dataset", "minst"], "did you mean 'mnist'"),
        (["--optimizer", "adm"], "did you mean 'adam'"),
        (["--cost", "quadratc"], "did you mean 'quadratic'"),
        (["--activation", "sigmod"], "did you mean 'sigmoid'"),
        (["--output-code", "onehot"], "did you mean 'one_hot'"),
        (["--initial-weights", "gausian"], "did you mean 'gaussian'"),
        (["--cost", "softmax_cross_entropy", "--output-code", "binary"], "use sigmoid_cross_entropy"),
        (["--save", "."], "it is a folder"),
        (["--save", "none/m.st"], "No such file"),
        (["--json", "/proc/nnjax.json"], "cannot write"),
        (["--save", "m", "--json", "m"], "both name m"),
        (["--hidden", 10**20], "less than 2**31"),
        (["--epochs", 10**13], "this machine cannot do that"),
        (["--epoch", 3], "epoch"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_code_2(run, options, words, capsys, monkeypatch):
    monkeypatch.setattr(train, "fit", _only_checking(train.fit))
    assert run(*TRAIN, *options) == 2
    told = capsys.readouterr().err
    assert words in " ".join(told.split())
    assert "Traceback" not in told
    assert not os.listdir()


def _only_checking(fit):
    def checked(*args, **kwargs):
        fit(*args, **kwargs)
        pytest.fail("bad input reached training")

    return checked


@pytest.mark.parametrize("content", [None, b"", b"no model at all"])
def test_evaluate_refuses_what_is_no_model(run, content, capsys):
    if content is not None:
        Path("m.st").write_bytes(content)
    assert run("evaluate", "m.st") == 2
    assert "model file" in capsys.readouterr().err


def test_evaluate_says_in_its_own_words_what_is_no_model(run, capsys):
    Path("a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    Path("folder").mkdir()
    for path, words in {"a.png": "it does not begin as one", "folder": "it is a folder"}.items():
        assert run("evaluate", path) == 2
        told = capsys.readouterr().err
        assert words in told
        assert len(told.splitlines()) == 1


def test_evaluate_refuses_a_model_for_other_images(run, capsys, digits):
    narrow = (digits.train.inputs[:, :63], digits.train.targets)
    other = nnjax.Dataset.from_arrays(train=narrow, name="digits")
    nnjax.save_model("m.st", nnjax.init(jax.random.key(0), (63, 10)), nnjax.Objective(), other)
    assert run("evaluate", "m.st") == 2
    assert "64 pixels" in capsys.readouterr().err


def test_evaluate_asks_for_a_dataset_where_the_model_was_trained_on_ones_own(run, capsys, digits):
    own = nnjax.Dataset.from_arrays(digits.train, name="mine")
    nnjax.save_model("m.st", nnjax.init(jax.random.key(0), (64, 10)), nnjax.Objective(), own)
    assert run("evaluate", "m.st") == 2
    assert "say --dataset" in capsys.readouterr().err
    assert run("evaluate", "m.st", "--dataset", "digits") == 0


def test_data_where_and_prepare(run, capsys, tmp_path, mnist_dir):
    assert run("data", "where", "mnist", "--data-dir", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "prepared  no" in printed
    assert str(tmp_path / "downloads" / "manual" / "mnist") in printed
    assert run("data", "prepare", "mnist", "--data-dir", mnist_dir) == 0
    assert "train=50000, validation=10000, test=10000" in capsys.readouterr().out
    assert run("data", "where", "mnist", "--data-dir", mnist_dir) == 0
    assert "decoded   yes" in capsys.readouterr().out


def test_auto_without_mnist_says_that_it_takes_the_digits(run, capsys, tmp_path, monkeypatch):
    from nnjax.data import _sources

    monkeypatch.setattr(_sources, "is_reachable", lambda url: False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("train", "--epochs", 1, "--data-dir", tmp_path, "--json", "r.json") == 0
    assert "embedded 8x8 digits" in " ".join(capsys.readouterr().err.split())
    assert record()["settings"]["dataset"] == "digits"


def test_divergence_is_said(run, capsys):
    options = ["--cost", "softmax_cross_entropy", "--activation", "relu", "--learning-rate", 1e30]
    assert run(*TRAIN, *options, "--json", "r.json", "--save", "m.st") == 4
    out = capsys.readouterr().out
    assert re.search(r"diverged in epoch 1, step \d+: params\[\d\]\.[wb] is not finite", out)
    assert "smaller learning rate" in out
    assert record()["history"]["diverged_at"] == 0
    assert None in record()["history"]["cost"]
    assert not os.path.exists("m.st")


def test_the_last_good_model_is_kept_of_what_diverges_later(run, capsys, monkeypatch, digits):
    """Finite for two epochs, then infinite: the model is that of the second."""
    epoch, seen = _fit.epoch, []

    class Exploding:
        lower = epoch.lower

        def __call__(self, state, *arguments):
            state, cost = epoch(state, *arguments)
            seen.append(state.params[1].b)
            if len(seen) == 3:
                state = state._replace(params=jax.tree.map(lambda x: x * jnp.inf, state.params))
            return jax.tree.map(jnp.copy, state), cost

    monkeypatch.setattr(_fit, "train_epoch", Exploding())
    assert run("train", "--dataset", "digits", "--epochs", 9, "--save", "m.st", "--json", "r.json") == 4
    out = capsys.readouterr().out
    assert "diverged in epoch 3" in out
    assert "model in m.st" in out
    assert record()["history"]["diverged_at"] == 2
    model = nnjax.load_model("m.st")
    assert model.settings["epochs"] == 2
    assert np.isfinite(model.params[0].w).all()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--hidden", "30", "20", "--no-keep", "--learning-rate", "0.5", "--data-parallel"],
        ["--output-code", "is_digit(9)", "--checkpoint", "a folder", "--checkpoint-seconds", "2.5"],
    ],
)
def test_the_command_that_goes_on_is_the_one_that_was_given(options):
    given = tyro.cli(train.Train, args=options)
    assert tyro.cli(train.Train, args=shlex.split(given.command())[2:]) == given


def test_a_folder_of_another_training_is_told(run, capsys):
    assert run(*TRAIN, "--checkpoint", "kept") == 0
    assert run(*TRAIN, "--checkpoint", "kept", "--learning-rate", 1) == 2
    assert "(--learning-rate was 3.0 and is 1.0)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--checkpoint", "kept", "--checkpoint-seconds", "-1"],
            "--checkpoint-seconds must be 0 or more, not -1",
        ),
        (
            ["--checkpoint", "kept", "--checkpoint-epochs", "0"],
            "--checkpoint-epochs must be 1 or more, not 0",
        ),
        (["--checkpoint", "."], "--checkpoint must name a folder of its own"),
        (["--process-id", "1", "--processes", "2"], "--processes, --process-id: for several processes"),
        (["--distributed", "--heartbeat", "0", "--coordinator", "localhost:1"], "heartbeat must be 1 second"),
    ],
)
def test_options_that_make_no_sense_are_told_by_their_names(run, capsys, options, told):
    assert run(*TRAIN, *options) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not os.listdir()


def test_what_is_gone_on_with_is_said(run, capsys):
    assert run(*TRAIN, "--checkpoint", "kept") == 0
    capsys.readouterr()
    assert run(*TRAIN, "--epochs", 3, "--checkpoint", "kept") == 0
    assert "going on after epoch 2 from kept" in capsys.readouterr().out


# --- in a process of its own ---


def command(*arguments, **more):
    environment = os.environ | {"XDG_CACHE_HOME": more.pop("cache", "/nonexistent")} | more.pop("env", {})
    return [sys.executable, "-m", "nnjax", *map(str, arguments)], environment


@pytest.mark.parametrize("asked", ["cuda", "nonsense"])
def test_a_platform_that_is_not_there_is_told(asked):
    line, environment = command("train", "--dataset", "digits", env={"JAX_PLATFORMS": asked})
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"jax does not start with JAX_PLATFORMS={asked}" in done.stderr
    assert "Traceback" not in done.stderr


def test_version(run):
    arguments, environment = command("--version")
    out = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == f"nnjax {nnjax.__version__}"


@pytest.mark.parametrize("arguments", [[], ["tran"], ["train", "--no-such"], ["evaluate"]])
def test_wrong_usage_ends_with_2(run, arguments):
    arguments, environment = command(*arguments)
    out = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert out.returncode == 2
    assert "Traceback" not in out.stderr


@pytest.fixture
def endless(tmp_path):
    """A training that ends only when it is ended: the process, after its third epoch."""
    arguments, environment = command(
        "train", "--dataset", "digits", "--epochs", 100_000, "--save", "m.st", "--json", "r.json",
        "--checkpoint", "kept", cache=str(tmp_path),
    )  # fmt: skip
    pipe = subprocess.PIPE
    # A shell's background job ignores Ctrl-C, and what it starts would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(arguments, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        signal.signal(signal.SIGINT, before)
        for line in process.stdout:
            if line.startswith("epoch   3"):
                break
        yield process
        process.kill()


def assert_kept():
    epochs = len(record()["history"]["cost"])
    assert 3 <= epochs < 100_000
    assert nnjax.load_model("m.st").sizes == (64, 30, 10)


def test_ctrl_c_ends_cleanly_with_what_was_reached(endless):
    endless.send_signal(signal.SIGINT)
    out, err = endless.communicate(timeout=60)
    assert endless.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted after" in out
    assert_kept()


@pytest.mark.slow
def test_sigterm_ends_after_the_epoch_and_says_how_to_go_on(endless):
    endless.send_signal(signal.SIGTERM)
    out, err = endless.communicate(timeout=60)
    assert endless.returncode == 128 + signal.SIGTERM, err
    assert "ending after this epoch" in err
    assert_kept()
    reached = len(record()["history"]["cost"])
    [again] = re.findall("to go on: (.*)", out)
    words = shlex.split(again)
    assert words[:4] == [Path(sys.executable).name, "-m", "nnjax", "train"]
    assert reached in {int(path.name) for path in Path("kept").iterdir() if path.name.isdigit()}
    words[words.index("--epochs") + 1] = str(reached + 1)
    arguments, environment = command(*words[3:])
    again = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert len(record()["history"]["cost"]) == reached + 1
    # What was reached before is shown once more, and then what is new.
    assert [int(n) for n in re.findall(r"^epoch +(\d+)", again.stdout, re.M)] == [reached, reached + 1]


def test_a_reader_that_leaves_ends_training_with_what_was_reached(endless):
    endless.stdout.close()
    assert endless.wait(timeout=60) == 130
    assert "Traceback" not in endless.stderr.read()
    assert_kept()


def test_ctrl_c_before_training_says_that_nothing_was_trained(run, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "load", interrupted)
    assert run(*TRAIN, "--save", "m.st") == 130
    assert "nothing was trained" in capsys.readouterr().err
    assert not os.listdir()


@pytest.mark.slow
def test_a_second_start_compiles_nothing(run, tmp_path):
    """Every compiled program of the second start comes from the cache of the first."""
    code = (
        "import sys, jax; from nnjax.cli import main; events = [];"
        "jax.monitoring.register_event_listener(lambda event, **_: events.append(event));"
        "main(sys.argv[1:]);"
        "print(*(sum(e.endswith(kind) for e in events) for kind in ('cache_misses', 'cache_hits')))"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    counts = []
    for _ in range(2):
        out = subprocess.run(
            [sys.executable, "-c", code, *TRAIN],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        counts.append([int(n) for n in out.stdout.splitlines()[-1].split()])
    assert counts[0][0] > 5
    assert counts[1][0] == 0
    assert counts[1][1] >= counts[0][0]


@pytest.mark.slow
def test_the_terminal_shows_a_bar(tmp_path):
    """On a terminal: a progress bar with cost, right answers, epochs a second and time left."""
    import pty

    arguments, environment = command(*TRAIN, env={"TERM": "xterm", "COLUMNS": "120"}, cache=str(tmp_path))
    leader, follower = pty.openpty()
    process = subprocess.Popen(arguments, env=environment, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.wait() == 0
    text = shown.decode()
    for word in ("━", "2/2", "cost 0.", "/ 296", "epochs/s", "0:00:0"):
        assert word in text, word
    assert "epoch   1 / 2" in text

"""The `nnjax` command as a process: signals, pipes, platforms, compilation cache and terminal."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nnjax

TRAIN = ["train", "--dataset", "digits", "--epochs", "2"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _in_an_empty_directory(run):
    pass


def command(*arguments, cache="/nonexistent", **variables):
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)} | variables
    return {"args": [sys.executable, "-m", "nnjax", *map(str, arguments)], "env": environment, "text": True}


def trained_epochs():
    """The epochs in the record, which the saved model agrees with."""
    epochs = len(json.loads(Path("r.json").read_text())["history"]["train_cost"])
    assert nnjax.load_model("m.st").settings["epochs"] == epochs
    return epochs


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_an_unavailable_platform_is_an_error(platform):
    out = subprocess.run(
        **command("train", "--dataset", "digits", JAX_PLATFORMS=platform), capture_output=True, check=False
    )
    assert out.returncode == 2
    assert f"jax cannot start with JAX_PLATFORMS={platform}" in out.stderr
    assert "Traceback" not in out.stderr


def test_version():
    out = subprocess.run(**command("--version"), capture_output=True, check=True)
    assert out.stdout.strip() == f"nnjax {nnjax.__version__}"


@pytest.mark.parametrize("arguments", [[], ["tran"], ["train", "--no-such"], ["evaluate"]])
def test_wrong_usage_ends_with_exit_code_2(arguments):
    out = subprocess.run(**command(*arguments), capture_output=True, check=False)
    assert out.returncode == 2
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize("arguments", [["train", "--help"], ["data", "path", "--json"], [*TRAIN, "--json"]])
def test_a_closed_pipe_ends_the_command_quietly(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(**command(*arguments), stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert not re.search("error|Error|Traceback|Exception", err)


@pytest.fixture
def endless(tmp_path):
    """A training that does not end by itself: the process, after its third epoch."""
    flags = ["--epochs", 100_000, "--save", "m.st", "--record", "r.json", "--checkpoint-dir", "c"]
    # A shell's background job ignores Ctrl-C, and what it starts would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        **command(*TRAIN[:-2], *flags, cache=tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        signal.signal(signal.SIGINT, before)
        for line in process.stdout:
            if line.startswith("epoch   3"):
                break
        yield process
        process.kill()


def test_ctrl_c_ends_training_with_everything_saved(endless):
    endless.send_signal(signal.SIGINT)
    out, err = endless.communicate(timeout=120)
    assert endless.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted after" in out
    assert trained_epochs() >= 3


def test_sigterm_ends_training_after_the_epoch_and_the_printed_command_resumes_it(endless):
    endless.send_signal(signal.SIGTERM)
    out, err = endless.communicate(timeout=120)
    assert endless.returncode == 128 + signal.SIGTERM, err
    assert "stopping after this epoch" in err
    epochs = trained_epochs()
    assert epochs >= 3
    [resume] = re.findall("resume with: (.*)", out)
    words = shlex.split(resume)
    assert words[:4] == [Path(sys.executable).name, "-m", "nnjax", "train"]
    assert str(epochs) in os.listdir("c")
    words[words.index("--epochs") + 1] = str(epochs + 1)
    again = subprocess.run(**command(*words[3:]), capture_output=True, check=True)
    assert trained_epochs() == epochs + 1
    # The last restored epoch is printed once more, and then the new one.
    assert [int(n) for n in re.findall(r"^epoch +(\d+)", again.stdout, re.M)] == [epochs, epochs + 1]


def test_a_closed_pipe_ends_training_with_everything_saved(endless):
    endless.stdout.close()
    assert endless.wait(timeout=120) == 130
    assert not re.search("error|Error|Traceback|Exception", endless.stderr.read())
    assert trained_epochs() >= 3


def test_a_second_start_compiles_nothing(tmp_path):
    """Every compiled program of the second start comes from the cache of the first."""
    code = (
        "import sys, jax; from nnjax.cli import main; events = [];"
        "jax.monitoring.register_event_listener(lambda event, **_: events.append(event));"
        "main(sys.argv[1:]);"
        "print(*(sum(e.endswith(kind) for e in events) for kind in ('cache_misses', 'cache_hits')))"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # that of the tests
    counts = []
    for _ in range(2):
        out = subprocess.run(
            [sys.executable, "-c", code, *TRAIN], env=environment, capture_output=True, text=True, check=True
        )
        counts.append([int(n) for n in out.stdout.splitlines()[-1].split()])
    assert counts[0][0] > 5
    assert counts[1][0] == 0
    assert counts[1][1] >= counts[0][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (TRAIN, ("━", "2/2", "cost 0.", " %", "epochs/s", "0:00:0", "epoch   1 / 2")),
        (
            ["sweep", *TRAIN[1:], "--hidden", "5", "7"],
            ("━", "0 of 2 networks, epoch 2 / 2", "100 %", "best on validation"),
        ),
    ],
)
def test_a_terminal_shows_a_progress_bar(tmp_path, arguments, words):
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        **command(*arguments, cache=tmp_path, TERM="xterm", COLUMNS="120"), stdout=follower, stderr=follower
    )
    os.close(follower)
    shown, start = b"", time.monotonic()
    while time.monotonic() - start < 120:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.wait() == 0
    for word in words:
        assert word in shown.decode(), word

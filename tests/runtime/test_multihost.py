"""Several processes train together, are killed, and go on in another number."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import joined
import numpy as np
import pytest

import nnjax
from reference import distance

pytestmark = pytest.mark.slow
HEARTBEAT = 10


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def started(processes, folder, epochs, *wrong, command=None, each=lambda i: []):
    """Processes that train together; at the end none is left."""
    port, pipe = free_port(), subprocess.PIPE
    running = []
    for i in range(processes):
        if command:
            own = ["--coordinator", f"127.0.0.1:{port}", "--processes", processes, "--process-id", i]
            arguments = ["-m", "nnjax", *command, *own, *each(i)]
        else:
            arguments = [Path(joined.__file__), port, processes, i, folder, epochs, *wrong]
        arguments = [sys.executable, *map(str, arguments)]
        running.append(subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)))
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def ended(running):
    told = [process.communicate(timeout=180) for process in running]
    assert [process.returncode for process in running] == [0] * len(running), told
    return told


def result(folder):
    with np.load(folder / "result.npz", allow_pickle=False) as found:
        return list(found.values())


def assert_as_one(folder, epochs):
    """Equal to one process but for rounding, after some hundreds of steps."""
    expected = joined.hyperparams(joined.trained(None, epochs))
    found = result(folder)
    assert all(a.dtype == b.dtype for a, b in zip(found, expected, strict=True))
    assert distance(found[:-1], expected[:-1]) < 1e-9
    np.testing.assert_array_equal(found[-1], expected[-1])


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_train_as_one_does(processes, tmp_path, x64):
    with started(processes, tmp_path, 2) as running:
        ended(running)
    assert_as_one(tmp_path, 2)


@pytest.mark.parametrize("victim", [0, 1])
def test_where_one_is_killed_the_others_end_and_all_go_on_in_another_number(victim, tmp_path, x64):
    endless = 100_000
    with started(3, tmp_path, endless) as running:
        for line in running[0].stdout:
            if line == "2\n":
                break
        running[victim].kill()
        since = time.monotonic()
        codes = [process.wait(timeout=60) for process in running]
        assert time.monotonic() - since < HEARTBEAT + 15
    assert all(code != 0 for code in codes)
    reached = max(int(path.name) for path in (tmp_path / "kept").iterdir() if path.name.isdigit())
    assert reached >= 1
    with started(2, tmp_path, reached + 2) as running:
        told = ended(running)
    # The newest may be half written: that of the epoch before is gone on from, then.
    assert int(told[0][0].split("is : 1\n")[1].split()[0]) in (reached, reached - 1)
    assert_as_one(tmp_path, reached + 2)


def test_where_one_raises_the_others_end_too(tmp_path):
    endless = 100_000
    with started(2, tmp_path, endless, 1) as running:
        for line in running[1].stdout:
            if line == "2\n":
                break
        since = time.monotonic()
        codes = [process.wait(timeout=120) for process in running]
        assert time.monotonic() - since < 2 * HEARTBEAT + 30
        assert all(code != 0 for code in codes)
        assert "this process alone is wrong" in running[1].stderr.read()


def test_the_command_trains_with_several_processes(tmp_path):
    options = [
        "--dataset",
        "digits",
        "--epochs",
        2,
        "--save",
        tmp_path / "m.st",
        "--json",
        tmp_path / "r.json",
    ]
    with started(2, tmp_path, 2, command=["train", *options, "--distributed"]) as running:
        told = ended(running)
    assert "epoch   2 / 2" in told[0][0]
    assert "epoch" not in told[1][0]  # one speaks, and writes
    alone = [sys.executable, "-m", "nnjax", "train", *map(str, options[:4]), "--save", tmp_path / "alone.st"]
    subprocess.run(alone, check=True, stdout=subprocess.PIPE)
    models = [nnjax.load_model(tmp_path / name) for name in ("m.st", "alone.st")]
    assert distance(models[0].params, models[1].params) < 1e-3


def told_and_ended(running, within):
    since = time.monotonic()
    told = [" ".join(process.communicate(timeout=within)[1].split()) for process in running]
    assert time.monotonic() - since < within
    assert [process.returncode for process in running] == [2] * len(running), told
    return told


def test_processes_that_were_started_otherwise_are_told(tmp_path):
    """Each would train, and with other seeds to garbage."""
    command = ["train", "--dataset", "digits", "--distributed", "--no-keep"]
    with started(2, tmp_path, 2, command=command, each=lambda i: ["--seed", i, "--hidden", 5 + i]) as running:
        for told in told_and_ended(running, 60):
            assert "--hidden is 5 in process 0 and 6 in process 1; --seed is 0 in process 0 and 1" in told
            assert "Traceback" not in told


def test_where_the_first_cannot_keep_the_training_all_are_told(tmp_path):
    (tmp_path / "7").mkdir()
    command = ["train", "--dataset", "digits", "--distributed", "--no-keep", "--checkpoint", tmp_path]
    with started(2, tmp_path, 2, command=command) as running:
        first, other = told_and_ended(running, 60)
    assert "holds numbered files" in first
    assert "process 0 cannot go on" in other


def test_the_folder_of_the_first_is_enough_and_a_signal_to_one_ends_all(tmp_path):
    """The others read no checkpoint: what the first has they are sent."""

    def each(i):
        return ["--checkpoint", tmp_path / str(i), "--checkpoint-epochs", 1]

    command = ["train", "--dataset", "digits", "--distributed", "--no-keep", "--epochs", 100_000]
    with started(2, tmp_path, 2, command=command, each=each) as running:
        for line in running[0].stdout:
            if line.startswith("epoch   2 "):
                break
        running[1].terminate()
        codes = [process.wait(timeout=60) for process in running]
    assert codes[1] == 143
    assert codes[0] == 130  # no signal reached it
    assert not (tmp_path / "1").exists()
    reached = max(int(path.name) for path in (tmp_path / "0").iterdir() if path.name.isdigit())
    command[-1] = reached + 1
    with started(2, tmp_path, 2, command=command, each=each) as running:
        told = ended(running)
    assert f"going on after epoch {reached} from" in told[0][0]


def test_processes_that_do_not_come_together_are_told(tmp_path):
    command = [sys.executable, "-m", "nnjax", "train", "--dataset", "digits", "--distributed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "say --coordinator HOST:PORT --processes N" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr

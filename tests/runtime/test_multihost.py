"""Several processes train together; if one fails, all end, and another number of processes can resume."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import multihost_worker
import nnjax
from nnjax.runtime import multihost
from reference import distance

HEARTBEAT_S = 10
TIMEOUT_S = 300  # generous, for busy machines
MANY_EPOCHS = 100_000  # more than a test waits for


# --- in one process ---


@pytest.mark.parametrize("address", ["127.0.0.1", ":1234", "host:port", "host:", "::::"])
def test_a_coordinator_address_without_host_or_port_raises(address):
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        multihost.connect(address, 2, 0, 10)


@pytest.mark.parametrize("text", ["", "two", "-1"])
def test_an_environment_variable_that_is_not_a_number_raises(monkeypatch, text):
    monkeypatch.setenv("JAX_NUM_PROCESSES", text)
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES must be a non-negative integer"):
        multihost.connect("127.0.0.1:1", None, 0, 10)


@pytest.fixture
def other_process(monkeypatch):
    """Simulates a process 1 that sends the message of process 0 (the test), changed by a function."""

    def install(change):
        def allgather_str(text):
            message = json.loads(text)
            change(message)
            return [text, json.dumps(message)]

        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(multihost, "allgather_str", allgather_str)

    return install


def test_processes_with_other_settings_raise(other_process):
    other_process(lambda message: message["settings"].update(seed="1"))
    with pytest.raises(ValueError, match="same settings, got seed is 0 in process 0 and 1 in process 1"):
        multihost.check_consistent({"seed": 0, "epochs": 3})


def test_the_last_bit_of_a_float_raises_only_if_the_processes_run_on_the_same_machine(other_process):
    settings = {"initial parameters": "0" * 64, "learning_rate": 0.1}
    changed = {"initial parameters": "1" * 64, "learning_rate": "0.10000000000000002"}
    other_process(lambda message: message["settings"].update(changed))
    with pytest.raises(ValueError, match=r"different initial parameters; learning_rate is 0\.1 in process 0"):
        multihost.check_consistent(settings)

    def move(message):
        message["settings"].update(changed)
        message["machine"]["vector_extensions"] = "X86_V4"

    other_process(move)
    with pytest.warns(UserWarning, match=r"X86_V4 in process 1\), .*: initial parameters, learning_rate"):
        multihost.check_consistent(settings)
    changed["learning_rate"] = "0.2"
    with pytest.raises(ValueError, match=r"learning_rate is 0\.1 in process 0 and 0\.2 in process 1"):
        multihost.check_consistent(settings)


# --- in several processes ---


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def running(num_processes, arguments):
    """Processes that run together; at the end none is left.

    Args:
      num_processes: their number.
      arguments: from the port and the number of a process, its command line after `python`.
    """
    port, pipe, processes = free_port(), subprocess.PIPE, []
    for i in range(num_processes):
        command = [sys.executable, *map(str, arguments(port, i))]
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def workers(num_processes, directory, epochs, *failing):
    worker = Path(multihost_worker.__file__)
    return running(
        num_processes, lambda port, i: [worker, port, num_processes, i, directory, epochs, *failing]
    )


def commands(directory, *options, each=lambda i: []):
    """Two processes of `nnjax train`; `each` makes the options that only process i gets."""

    def arguments(port, i):
        address = ["--coordinator-address", f"127.0.0.1:{port}", "--num-processes", 2, "--process-id", i]
        command = ["-m", "nnjax", "train", "--dataset", "digits", "--distributed"]
        return [*command, *options, *address, *each(i)]

    return running(2, arguments)


def outputs(processes, returncode=0):
    """Standard output and standard error of each process, after all have ended with `returncode`."""
    texts = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    assert [process.returncode for process in processes] == [returncode] * len(processes), texts
    return texts


def wait_for_epoch(process, line="2\n"):
    for printed in process.stdout:
        if printed.startswith(line):
            return
    raise AssertionError(process.stderr.read())


def saved_epochs(directory):
    return max(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def assert_equal_to_one_process(directory, epochs):
    """Parameters equal to rounding, after some hundreds of steps, and equal counts."""
    expected = multihost_worker.results(multihost_worker.train(None, epochs))
    with np.load(directory / "result.npz", allow_pickle=False) as file:
        arrays = list(file.values())
    assert all(a.dtype == b.dtype for a, b in zip(arrays, expected, strict=True))
    assert distance(arrays[:-1], expected[:-1]) < 1e-9
    np.testing.assert_array_equal(arrays[-1], expected[-1])


def kill_one(num_processes, victim, directory):
    """Kills one of several training processes, and asserts that all end."""
    with workers(num_processes, directory, MANY_EPOCHS) as processes:
        wait_for_epoch(processes[0])
        processes[victim].kill()
        start = time.monotonic()
        codes = [process.wait(timeout=TIMEOUT_S) for process in processes]
        assert time.monotonic() - start < HEARTBEAT_S + 15
    assert all(code != 0 for code in codes)


@pytest.mark.slow
def test_if_process_0_is_killed_all_end_and_another_number_resumes(tmp_path, x64):
    kill_one(3, 0, tmp_path)
    epochs = saved_epochs(tmp_path / "checkpoints")
    assert epochs >= 1
    with workers(2, tmp_path, epochs + 2) as processes:
        printed = outputs(processes)[0][0]
    reported = [int(line) for line in printed.splitlines() if line.isdigit()]
    # If the latest checkpoint is incomplete, training resumes from the one before.
    assert reported[0] in (epochs, epochs - 1)
    assert_equal_to_one_process(tmp_path, epochs + 2)


@pytest.mark.slow
def test_if_another_process_is_killed_all_end(tmp_path):
    kill_one(2, 1, tmp_path)


@pytest.mark.slow
def test_if_a_process_raises_all_end(tmp_path):
    with workers(2, tmp_path, MANY_EPOCHS, 1) as processes:
        wait_for_epoch(processes[1])
        start = time.monotonic()
        codes = [process.wait(timeout=TIMEOUT_S) for process in processes]
        assert time.monotonic() - start < 2 * HEARTBEAT_S + 30
        assert all(code != 0 for code in codes)
        assert "this process alone fails" in processes[1].stderr.read()


@pytest.mark.slow
def test_the_command_trains_with_several_processes(tmp_path):
    together, alone = tmp_path / "together.safetensors", tmp_path / "alone.safetensors"
    with commands(tmp_path, "--epochs", 2, "--save", together, "--record", tmp_path / "r.json") as processes:
        first, second = outputs(processes)
    assert "epoch   2 / 2" in first[0]
    assert "epoch" not in second[0]  # only process 0 prints and writes
    assert json.loads((tmp_path / "r.json").read_text())["history"]
    command = [
        sys.executable,
        "-m",
        "nnjax",
        "train",
        "--dataset",
        "digits",
        "--epochs",
        "2",
        "--save",
        alone,
    ]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    models = [nnjax.load_model(path) for path in (together, alone)]
    assert distance(models[0].params, models[1].params) < 1e-3


@pytest.mark.slow
def test_processes_with_other_flags_raise(tmp_path):
    with commands(tmp_path, "--no-save", each=lambda i: ["--seed", i, "--hidden", 5 + i]) as processes:
        for _, error in outputs(processes, returncode=2):
            message = " ".join(error.split())
            assert "--hidden is 5 in process 0 and 6 in process 1" in message
            assert "--seed is 0 in process 0 and 1 in process 1" in message
            assert "Traceback" not in message


@pytest.mark.slow
def test_if_process_0_cannot_save_the_training_all_end(tmp_path):
    (tmp_path / "7").mkdir()
    with commands(tmp_path, "--no-save", "--checkpoint-dir", tmp_path) as processes:
        first, second = (" ".join(e.split()) for _, e in outputs(processes, returncode=2))
    assert "has numbered files but no settings.json" in first
    assert "process 0 failed" in second


@pytest.mark.slow
def test_only_process_0_needs_the_directory_and_a_signal_to_one_process_ends_all(tmp_path):
    def start(epochs):
        def each(i):
            return ["--checkpoint-dir", tmp_path / str(i), "--checkpoint-every-epochs", 1]

        return commands(tmp_path, "--no-save", "--epochs", epochs, each=each)

    with start(MANY_EPOCHS) as processes:
        wait_for_epoch(processes[0], "epoch   2 ")
        processes[1].terminate()
        codes = [process.wait(timeout=TIMEOUT_S) for process in processes]
    assert codes[1] == 143
    assert codes[0] == 130  # it got no signal
    assert not (tmp_path / "1").exists()
    epochs = saved_epochs(tmp_path / "0")
    with start(epochs + 1) as processes:
        first, _ = outputs(processes)
    assert f"resuming after epoch {epochs} from" in first[0]


@pytest.mark.slow
def test_a_process_without_the_others_raises():
    command = [sys.executable, "-m", "nnjax", "train", "--dataset", "digits", "--distributed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2
    assert "--coordinator-address HOST:PORT --num-processes N" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr

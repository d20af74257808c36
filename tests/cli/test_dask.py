"""Dask clusters of real processes on this machine: equal results, workers and drivers that die."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import nnjax
from documents import ROOT
from nnjax.cli import _dask, main

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)
SETTINGS = {"hidden": 4, "learning_rate": (0.3, 0.5, 1.0, 2.0), "seeds": 2, "epochs": 2, "threads": 1,
            "max_networks_per_program": 1}  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="needs dask")
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with cluster.get_client() as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture(scope="module")
def expected(digits):
    return nnjax.sweep(KEY, digits, **SETTINGS)


def assert_same(grid, expected):
    np.testing.assert_array_equal(grid.train_cost, expected.train_cost)
    np.testing.assert_array_equal(grid.test_correct, expected.test_correct)


def test_a_sweep_on_two_workers_has_the_same_bits(digits, client, expected):
    assert_same(nnjax.sweep(KEY, digits, executor=client, **SETTINGS), expected)


def test_a_function_of_this_file_can_be_sent(digits, client):
    nnjax.sweep(
        KEY, digits, executor=client, metrics={"one": lambda output, target: output.max()}, **SETTINGS
    )


def kill_workers(client, sent, count):
    processes = list(client.run(os.getpid).values())
    for process in processes[:count]:
        os.kill(process, sent)


def test_workers_that_are_killed_are_replaced(digits, client, expected):
    killed = []

    def kill(progress):
        if not killed:
            killed.append(True)
            kill_workers(client, signal.SIGKILL, 2)

    assert_same(nnjax.sweep(KEY, digits, executor=client, callback=kill, **SETTINGS), expected)
    assert killed


def test_a_worker_that_does_not_answer_is_started_again(digits, client, expected):
    client.wait_for_workers(2, timeout=60)
    kill_workers(client, signal.SIGSTOP, 1)
    grid = nnjax.sweep(KEY, digits, executor=client, unit_timeout_s=20, **SETTINGS)
    assert_same(grid, expected)


DRIVER = """
import sys, jax, nnjax
from distributed import Client
jax.config.update("jax_num_cpu_devices", 8)  # as the tests, so that a checkpoint is that of this machine
settings = {"hidden": 4, "learning_rate": (0.3, 0.5, 1.0, 2.0), "seeds": 2, "epochs": 2, "threads": 1,
            "max_networks_per_program": 1}
if __name__ == "__main__":
    with Client(sys.argv[1]) as client:
        nnjax.sweep(jax.random.key(0), nnjax.load("digits"), executor=client, checkpoint=sys.argv[2],
                    callback=lambda progress: print(progress.networks, flush=True), **settings)
"""


def test_a_sweep_continues_after_its_driver_was_killed(digits, cluster, client, expected, tmp_path):
    script, store = tmp_path / "driver.py", tmp_path / "store"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), cluster.scheduler_address, str(store)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline()  # a unit has finished
        driver.kill()
    stored = {path: path.stat().st_mtime_ns for path in (store / "units").iterdir()}
    assert 1 <= len(stored) < 8
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 8
    assert all(path.stat().st_mtime_ns == written for path, written in stored.items())
    grid = nnjax.sweep(KEY, digits, executor=client, checkpoint=store, **SETTINGS)
    assert_same(grid, expected)


def test_a_cluster_without_workers_is_named(monkeypatch, capsys):
    distributed = pytest.importorskip("distributed", reason="needs dask")
    monkeypatch.setattr(_dask, "WORKER_TIMEOUT_S", 1)
    with distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        assert main(["sweep", "--dataset", "digits", "--dask", address]) == 2
    message = f"must have a worker, got none within 1 s: start one with `dask worker {address}`"
    assert message in capsys.readouterr().err


MINE = """
import optax

def mine(learning_rate):
    return optax.sgd(learning_rate, momentum=0.5)
"""


def test_a_comparison_on_two_workers_has_the_same_results(cluster, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    records = []
    for flags in ((), ("--dask", cluster.scheduler_address)):
        out, store = tmp_path / f"report{len(records)}", tmp_path / f"store{len(records)}"
        arguments = f"--problems quadratic --studies 2 --trials 2 --out {out} --store {store} --json".split()
        assert main(["compare", f"{tmp_path}/mine.py:mine", *arguments, *flags]) == 0
        records.append(json.loads(capsys.readouterr().out))
    assert records[0] == records[1]


def test_a_sweep_command_on_two_workers(cluster, capsys):
    arguments = [
        "sweep",
        "--dataset",
        "digits",
        "--learning-rate",
        "0.5",
        "1",
        "--epochs",
        "1",
        "--json",
        "--dask",
    ]
    assert main([*arguments, cluster.scheduler_address]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 2


def test_a_wrong_address_is_an_error(capsys):
    start = time.monotonic()
    assert main(["sweep", "--dataset", "digits", "--dask", "tcp://127.0.0.1:1"]) == 2
    assert "--dask must be the address of a running scheduler" in capsys.readouterr().err
    assert time.monotonic() - start < 60

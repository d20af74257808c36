"""`nnjax compare`."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

# An optimizer, a space and a problem in the file of a user.
MINE = """
import jax, jax.numpy as jnp, numpy as np, optax, nnjax

def slow(learning_rate=0.1):
    return optax.sgd(learning_rate)

def slower(learning_rate=0.01):
    return optax.sgd(learning_rate)

def needs_more(learning_rate, rank):
    return optax.sgd(learning_rate)

wrong_name = nnjax.Tunable(slow, {"rate": nnjax.log_uniform(0.01, 1)})

X = np.random.RandomState(0).normal(0, 0.5, (64, 5)).astype(np.float32)
DATA = nnjax.Dataset.from_arrays((X, X), (X, X), name="small")
small = nnjax.Problem(
    "small", lambda: DATA, lambda key: jax.random.normal(key, (5,)),
    nnjax.Objective(lambda theta, x, key: theta, lambda theta, x: jnp.sum((theta - x) ** 2) / 2, code=None),
    batch_size=16, steps=40, separates_by="nothing", report_on="validation",
)
"""
SMALL = ["--problems", "mine.py:small", "--studies", 2, "--trials", 1, "--store", "store"]


@pytest.fixture(autouse=True)
def _files(run):
    Path("mine.py").write_text(MINE)
    Path("broken.py").write_text("def slow(:\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "optimizers must not be empty: give at least one, such as mine.py:my_optimizer or sgd"),
        (["broken.py:slow"], "broken.py, line 1: invalid syntax"),
        (["nowhere.py:slow"], "there is no file nowhere.py"),
        (["nowhere.py:x"], "nowhere.py:x: there is no file"),  # :x: is not an emoji
        (["mine.py:fast"], "mine.py must define fast, got slow, slower, needs_more"),
        (
            ["mine.py:needs_more"],
            "the parameter rank of needs_more must have a default value, or a distribution in",
        ),
        (["mine.py:wrong_name"], "a hyper-parameter in the space of wrong_name must be one of learning_rate"),
        (["mine.py:slow", "sgd", "mine.py:slow"], "optimizers must have different names, got slow twice"),
        (["mine.py:slow", "--against", "adamww"], "against must be one of"),
        (["mine.py:slow", "--against"], "against must name at least one baseline, got none"),
        (["adamww"], "optimizers must be one of"),
        (["mine.py:slow", "--problems"], "problems must have at least one problem or suite, got none"),
        (["mine.py:slow", "--trials", 0], "trials must be a positive integer, got 0"),
        (["mine.py:slow", "--trials", 3], "trials must be a power of two"),
        (["mine.py:slow", "--problems", "mine.py:slow"], "problems must be Problems, or names of"),
        (["mine.py:slow", "--learning-rate", 1, 0.1], "0 < low < high"),
    ],
)
def test_bad_input_is_one_clear_line(run, capsys, arguments, message):
    assert run("compare", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_lists_need_no_training(run, capsys):
    assert run("compare", "--list") == 0
    out = capsys.readouterr().out
    for text in ("schedule_free_adamw", "quadratic", "adam", "the same as adamw"):
        assert text in out
    assert run("compare", "--list", "--json") == 0
    lists = json.loads(capsys.readouterr().out)
    assert set(lists["baselines"]["adamw"]["quick"]) == {"learning_rate", "weight_decay"}
    assert {"b1", "b2", "eps"} <= set(lists["baselines"]["adamw"]["standard"])
    assert lists["suites"]["quick"][0] == "quadratic"


def test_a_dry_run_says_what_would_be_trained(run, capsys):
    assert run("compare", "mine.py:slow", *SMALL, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "slow against adamw on 1 problem, quick budget: 24 runs to train" in out
    assert run("compare", "mine.py:slow", *SMALL, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"runs": 24, "seconds": None, "shipped": 0, "pairs": 2}
    assert not Path("report").exists()


def test_a_comparison_prints_verdicts_and_writes_a_report(run, capsys):
    assert run("compare", "mine.py:slow", *SMALL, "--json") == 0
    out, err = capsys.readouterr()
    (verdict,) = json.loads(out)["verdicts"]
    assert (verdict["problem"], verdict["optimizer"], verdict["baseline"]) == ("small", "slow", "adamw")
    assert verdict["verdict"] in ("undecided", "equivalent")  # two studies cannot show a difference
    assert "report in report/index.html" in err
    assert "2 of 4 units" in err
    assert {"index.html", "runs.parquet", "timings.parquet", "verdicts.csv", "figures"} == {
        path.name for path in Path("report").iterdir()
    }
    assert "mine.py:slow" in Path("report/index.html").read_text()


@pytest.mark.slow
def test_an_optimizer_that_fails_everywhere_has_an_exit_code(run, capsys):
    Path("mine.py").write_text("def mine(learning_rate):\n    return learning_rate.missing\n")
    assert run("compare", "mine.py:mine", "--problems", "quadratic", "--store", "store") == 1
    assert "mine failed on quadratic: AttributeError" in capsys.readouterr().out


def test_a_decided_verdict_needs_no_more_studies(run, capsys):
    """A baseline whose results are shipped is compared without training."""
    assert run("compare", "gauss_newton", "--problems", "digits_rnn", "--json") == 0
    out, err = capsys.readouterr()
    (verdict,) = json.loads(out)["verdicts"]
    assert verdict["verdict"] == "worse"
    assert verdict["studies_needed"] is None
    assert "0 runs to train" in err
    assert "80 % power" not in err


@pytest.mark.slow
def test_the_baseline_can_be_an_optimizer_in_a_file(run, capsys):
    assert run("compare", "mine.py:slow", "--against", "mine.py:slower", "sgd", *SMALL, "--json") == 0
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    assert {(v["optimizer"], v["baseline"]) for v in verdicts} == {("slow", "slower"), ("slow", "sgd")}
    assert "--against mine.py:slower sgd" in Path("report/index.html").read_text()


def start(out: str) -> subprocess.Popen:
    """`nnjax compare` as a process of its own."""
    command = [sys.executable, "-m", "nnjax", "compare", "mine.py:slow", *map(str, SMALL), "--out", out]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})


@pytest.mark.slow
def test_a_killed_comparison_continues_with_identical_results(run):
    whole = start("whole")
    began = time.perf_counter()
    assert whole.wait(timeout=300) == 0
    seconds = time.perf_counter() - began
    for file in Path("store").glob("*.json"):
        file.unlink()
    chance = random.Random(0)
    for _ in range(5):
        process = start("killed")
        time.sleep(chance.uniform(0.2, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start("killed").wait(timeout=300) == 0
    assert Path("killed/runs.parquet").read_bytes() == Path("whole/runs.parquet").read_bytes()
    assert len(pd.read_parquet("killed/runs.parquet")) == 24

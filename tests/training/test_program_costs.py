"""Speed that needs no clock: kernels in a step, bytes that it moves, what the inner loop leaves alone."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

import nnjax
from nnjax.cli import main
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import make_optimizer
from nnjax.sweep import _population
from nnjax.training import step

NETWORKS = 32


@pytest.fixture(scope="module")
def examples():
    return jnp.zeros((1000, 784), jnp.uint8), jnp.zeros(1000, jnp.int32)


def _loops(compiled):
    """The bodies of a compiled program's loops, as text, but those that draw random numbers."""
    text = compiled.as_text()
    names = set(re.findall(r"body=%?([\w.\-]+)", text))
    bodies = {
        name: match.group(0)
        for name in names
        if (match := re.search(rf"^%?{re.escape(name)} \(.*?^}}", text, re.MULTILINE | re.DOTALL))
    }
    assert len(bodies) == len(names)
    return [body for body in bodies.values() if " f32[" in body]


def _kernels(body):
    """What a loop starts for each of its rounds."""
    return len(re.findall(r" (?:fusion|dot|copy|custom-call|call|reduce|convolution)\(", body))


def test_a_step_of_fit_starts_few_kernels_and_moves_few_bytes(examples):
    optimizer = make_optimizer(optax.sgd, {"learning_rate": 3.0})
    state = step.init_state(jax.random.key(1), nnjax.init(jax.random.key(0), (784, 30, 10)), optimizer)
    compiled = step.train_epoch.lower(state, *examples, Objective(), optimizer, 10).compile()
    (step,) = _loops(compiled)
    assert 5 <= _kernels(step) <= 20  # 18 with jax 0.10
    # A loop's body is counted once: what shuffling moves, and one step. 2.27 MB with jax 0.10.
    assert 0.8e6 < compiled.cost_analysis()["bytes accessed"] <= 2.6e6


def test_the_steps_within_a_block_touch_no_pixel_and_no_first_layer(examples):
    optimizer = make_optimizer(optax.sgd, {"learning_rate": 3.0})
    params = _population.stack(
        [nnjax.init(key, (784, 30, 10)) for key in jax.random.split(jax.random.key(0), NETWORKS)]
    )
    optimizers, objectives = (_population.stack([of] * NETWORKS) for of in (optimizer, Objective()))
    states = _population.init_states(jax.random.key(1), params, optimizers)
    compiled = _population.train_epoch.lower(states, *examples, objectives, optimizers, 10).compile()
    loops = _loops(compiled)
    within = [body for body in loops if "body=" not in body and "784" not in body]
    assert len(within) >= 1
    assert all(5 <= _kernels(body) <= 22 for body in within)  # 20 with jax 0.10


def test_other_numbers_compile_nothing(examples, compilations):
    def trained(rate):
        optimizer = make_optimizer(optax.sgd, {"learning_rate": rate})
        params = nnjax.init(jax.random.key(0), (784, 7, 10))
        state = step.init_state(jax.random.key(1), params, optimizer)
        for _ in range(3):
            state, _ = step.train_epoch(state, *examples, Objective(), optimizer, 50)

    trained(3.0)
    assert sum("epoch" in name for name in compilations) == 1
    trained(0.5)
    assert sum("epoch" in name for name in compilations) == 1


def test_a_start_of_the_command_compiles_few_programs(compilations, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    jax.clear_caches()
    assert main(["train", "--dataset", "digits", "--epochs", "1"]) == 0
    assert 10 <= len(compilations) <= 30  # 26 with jax 0.10

"""Several devices compute the same result as one device, with as little communication as possible."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

import nnjax
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import make_optimizer
from nnjax.runtime import sharding
from nnjax.sweep import _population
from nnjax.training import step
from nnjax.training.epoch import train_epoch
from reference import distance

KEY = jax.random.key(3)


def noisy(params, x, key):
    return nnjax.feedforward(params, x if key is None else x + 0.1 * jax.random.normal(key, x.shape, x.dtype))


NOISY = Objective(forward=noisy)
SGD = make_optimizer(optax.sgd, {"learning_rate": 3.0})


SLOW = pytest.mark.slow


@pytest.fixture(
    params=["explicit", *(pytest.param(name, marks=SLOW) for name in ("auto", "two axes", "three devices"))]
)
def mesh(request):
    if request.param == "three devices":
        return jax.make_mesh((3,), ("data",), devices=jax.devices()[:3])
    shape = {"two axes": ((2, 4), ("hosts", "cards"))}.get(request.param, ((8,), ("data",)))
    kind = AxisType.Auto if request.param == "auto" else AxisType.Explicit
    return jax.make_mesh(*shape, axis_types=(kind,) * len(shape[0]))


@pytest.fixture(scope="module")
def hundred_steps(digits):
    """1,003 digits: 101 mini-batches of 10, the last of 3; neither is a multiple of 8 or of 3."""
    inputs, targets = digits.train
    return nnjax.Dataset.from_arrays((inputs[:1003], targets[:1003]), digits.validation, digits.test)


def double(params):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="sgd"),
        pytest.param({"optimizer": optax.adam, "learning_rate": 0.01}, id="adam", marks=SLOW),
        pytest.param({"optimizer": nnjax.gauss_newton, "batch_size": 100}, id="gauss-newton", marks=SLOW),
        pytest.param({"objective": NOISY}, id="noise", marks=SLOW),
    ],
)
def test_a_mesh_trains_as_one_device_does(hundred_steps, mesh, settings):
    """100 steps in double precision: parameters equal to rounding, and equal counts."""
    params = double(nnjax.init(jax.random.key(0), (64, 30, 10)))
    settings = {"learning_rate": 3.0, "epochs": 1} | settings
    expected = nnjax.fit(KEY, params, hundred_steps, **settings)
    run = nnjax.fit(KEY, params, hundred_steps, mesh=mesh, **settings)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(run.params)} == {mesh.size}
    assert distance(expected.params, params) > 0.1
    assert distance(expected.params, jax.device_get(run.params)) < 1e-11
    assert run.history.train_cost[0] == pytest.approx(expected.history.train_cost[0], abs=1e-12)
    assert run.history.test_correct == expected.history.test_correct
    assert run.history.validation_correct == expected.history.validation_correct


def test_copies_that_pad_a_short_mini_batch_do_not_count(mesh8):
    """Of 3 examples on 8 devices, five hold copies of the third."""
    mesh = sharding.with_auto_axes(mesh8)
    x = jnp.arange(6.0).reshape(3, 2)
    squares = jax.jit(lambda x: sharding.map_examples(jax.vmap(lambda row: jnp.sum(row**2)), mesh, x))(x)
    np.testing.assert_array_equal(squares, [1, 13, 41])


def collectives(compiled):
    """The collective operations of a compiled program, with the shapes that they send."""
    matches = re.findall(r"= (.*?) (all-\w+|collective-\w+|reduce-scatter|send|recv)\(", compiled.as_text())
    return [(operation, re.findall(r"\w+\[[\d,]*\]", shapes)) for shapes, operation in matches]


@pytest.mark.parametrize("batch_size", [10, pytest.param(16, marks=SLOW)])
def test_a_step_sends_the_gradients_and_the_cost_once(digits, mesh8, batch_size):
    mesh = sharding.with_auto_axes(mesh8)
    inputs, targets = (part[:160] for part in digits.train)
    state = step.init_state(KEY, nnjax.init(KEY, (64, 30, 10)), SGD)
    arguments = sharding.device_put_global((state, inputs, targets), sharding.replicated(mesh))
    program = train_epoch.lower(*arguments, Objective(), SGD, batch_size, mesh).compile()
    gradients = ["f32[30,64]", "f32[30]", "f32[10,30]", "f32[10]", "f32[]"]
    assert collectives(program) == [("all-reduce", gradients)]


def test_networks_of_a_sweep_send_nothing(digits, mesh8):
    mesh = sharding.with_auto_axes(mesh8)
    params = _population.stack([nnjax.init(jax.random.key(i), (64, 30, 10)) for i in range(8)])
    objectives, optimizers = _population.stack([Objective()] * 8), _population.stack([SGD] * 8)
    states = _population.place(_population.init_states(KEY, params, optimizers), mesh)
    splits = sharding.device_put_global(tuple(digits.train), sharding.replicated(mesh))
    program = _population.train_epoch.lower(states, *splits, objectives, optimizers, 10, mesh).compile()
    assert collectives(program) == []
    assert "f32[1,30,64]" in program.as_text()  # one network on each device


@pytest.mark.usefixtures("x64")
@SLOW
@pytest.mark.parametrize("shared_batches", [True, False])
def test_a_sweep_on_a_mesh_trains_the_same_networks(hundred_steps, mesh, shared_batches):
    """12 networks on 8 devices and on 3, in programs that pad widths."""
    settings = {
        "hidden": (7, 8), "learning_rate": (0.3, 3.0), "seeds": 3, "epochs": 2, "batch_size": 50,
        "shared_batches": shared_batches,
    }  # fmt: skip
    expected = nnjax.sweep(KEY, hundred_steps, **settings)
    grid = nnjax.sweep(KEY, hundred_steps, mesh=mesh, max_networks_per_program=5, **settings)
    np.testing.assert_array_equal(grid.test_correct, expected.test_correct)
    np.testing.assert_allclose(grid.train_cost, expected.train_cost, rtol=1e-9)
    for h, r, s in itertools.product((7, 8), (0.3, 3.0), range(3)):
        cell = {"hidden": h, "learning_rate": r, "seed": s}
        assert distance(grid.params(**cell), expected.params(**cell)) < 1e-9


@SLOW
def test_a_run_resumes_on_another_number_of_devices(hundred_steps, mesh8, tmp_path, x64):
    params = double(nnjax.init(jax.random.key(0), (64, 30, 10)))
    settings = {"learning_rate": 0.5, "batch_size": 50, "checkpoint": tmp_path}
    nnjax.fit(KEY, params, hundred_steps, epochs=2, mesh=mesh8, **settings)
    few = jax.make_mesh((3,), ("x",), devices=jax.devices()[:3])
    nnjax.fit(KEY, params, hundred_steps, epochs=3, mesh=few, **settings)
    resumed = nnjax.fit(KEY, params, hundred_steps, epochs=4, **settings)
    uninterrupted = nnjax.fit(KEY, params, hundred_steps, epochs=4, **settings | {"checkpoint": None})
    assert distance(resumed.params, uninterrupted.params) < 1e-11
    np.testing.assert_array_equal(resumed.history.test_correct, uninterrupted.history.test_correct)


@pytest.mark.slow
def test_a_sweep_on_a_mesh_resumes_with_identical_results(hundred_steps, mesh8, tmp_path, compilations):
    settings = {"hidden": 4, "learning_rate": (0.3, 3.0), "seeds": 3, "batch_size": 50, "mesh": mesh8}
    nnjax.sweep(KEY, hundred_steps, epochs=1, checkpoint=tmp_path, **settings)
    resumed = nnjax.sweep(KEY, hundred_steps, epochs=2, checkpoint=tmp_path, **settings)
    uninterrupted = nnjax.sweep(KEY, hundred_steps, epochs=2, **settings)
    assert resumed.data.drop_vars("seconds").identical(uninterrupted.data.drop_vars("seconds"))
    assert sum("train_epoch" in name for name in compilations) == 1
    with pytest.raises(ValueError, match="devices was 8 and is 1"):
        nnjax.sweep(KEY, hundred_steps, epochs=2, checkpoint=tmp_path, **settings | {"mesh": None})


@pytest.mark.parametrize("wrong", [8, "data", (8,)])
def test_an_argument_that_is_not_a_mesh_raises(digits, wrong):
    params = nnjax.init(KEY, (64, 30, 10))
    with pytest.raises(ValueError, match=r"mesh must be a Mesh, such as jax.make_mesh"):
        nnjax.fit(KEY, params, digits, learning_rate=3.0, mesh=wrong)
    with pytest.raises(ValueError, match=r"mesh must be a Mesh, such as jax.make_mesh"):
        nnjax.sweep(KEY, digits, learning_rate=3.0, mesh=wrong)

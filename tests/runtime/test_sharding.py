"""Several devices compute what one computes, and send no more than they must."""

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
from nnjax.runtime import multihost, sharding
from nnjax.sweep import _population
from nnjax.training import step
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
    images, labels = digits.train
    splits = tuple(digits.validation), tuple(digits.test)
    return nnjax.Dataset.from_arrays((images[:1003], labels[:1003]), *splits)


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
    """100 steps in double precision: equal but for rounding, and as many right answers."""
    params = double(nnjax.init(jax.random.key(0), (64, 30, 10)))
    settings = {"learning_rate": 3.0, "epochs": 1} | settings
    one = nnjax.fit(KEY, params, hundred_steps, **settings)
    many = nnjax.fit(KEY, params, hundred_steps, mesh=mesh, **settings)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(many.params)} == {mesh.size}
    assert distance(one.params, params) > 0.1
    assert distance(one.params, jax.device_get(many.params)) < 1e-11
    assert many.history.train_cost[0] == pytest.approx(one.history.train_cost[0], abs=1e-12)
    assert many.history.test_correct == one.history.test_correct
    assert many.history.validation_correct == one.history.validation_correct


def test_what_a_short_mini_batch_is_filled_up_with_does_not_count(mesh8):
    """Of 3 examples on 8 devices, five hold copies of the third."""
    spread = sharding.Spread(sharding.with_auto_axes(mesh8))
    x = jnp.arange(6.0).reshape(3, 2)
    squares = jax.jit(lambda x: spread(jax.vmap(lambda row: jnp.sum(row**2)), x))(x)
    np.testing.assert_array_equal(squares, [1, 13, 41])


def collectives(compiled):
    """What a compiled program sends: the operation and the shapes."""
    found = re.findall(r"= (.*?) (all-\w+|collective-\w+|reduce-scatter|send|recv)\(", compiled.as_text())
    return [(operation, re.findall(r"\w+\[[\d,]*\]", shapes)) for shapes, operation in found]


@pytest.mark.parametrize("batch_size", [16, 10])
def test_a_step_sends_the_gradients_and_the_cost_once(digits, mesh8, batch_size):
    mesh = sharding.with_auto_axes(mesh8)
    images, labels = (part[:160] for part in digits.train)
    state = step.init_state(KEY, nnjax.init(KEY, (64, 30, 10)), SGD)
    laid = sharding.device_put_global((state, images, labels), sharding.replicated(mesh))
    program = step.train_epoch.lower(*laid, Objective(), SGD, batch_size, sharding.Spread(mesh)).compile()
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
def test_a_sweep_on_a_mesh_is_whole_and_the_same(hundred_steps, mesh, shared_batches):
    """12 networks on 8 devices and on 3, in programs that pad widths."""
    settings = {
        "hidden": (7, 8), "learning_rate": (0.3, 3.0), "seeds": 3, "epochs": 2, "batch_size": 50,
        "shared_batches": shared_batches,
    }  # fmt: skip
    one = nnjax.sweep(KEY, hundred_steps, **settings)
    many = nnjax.sweep(KEY, hundred_steps, mesh=mesh, max_networks_per_program=5, **settings)
    np.testing.assert_array_equal(many.test_correct, one.test_correct)
    np.testing.assert_allclose(many.cost, one.cost, rtol=1e-9)
    for h, r, s in itertools.product((7, 8), (0.3, 3.0), range(3)):
        cell = {"hidden": h, "learning_rate": r, "seed": s}
        assert distance(many.params(**cell), one.params(**cell)) < 1e-9


@SLOW
def test_training_goes_on_with_another_number_of_devices(hundred_steps, mesh8, tmp_path, x64):
    params = double(nnjax.init(jax.random.key(0), (64, 30, 10)))
    settings = {"learning_rate": 0.5, "batch_size": 50, "checkpoint": tmp_path}
    nnjax.fit(KEY, params, hundred_steps, epochs=2, mesh=mesh8, **settings)
    few = jax.make_mesh((3,), ("x",), devices=jax.devices()[:3])
    nnjax.fit(KEY, params, hundred_steps, epochs=3, mesh=few, **settings)
    on = nnjax.fit(KEY, params, hundred_steps, epochs=4, **settings)
    whole = nnjax.fit(KEY, params, hundred_steps, epochs=4, **settings | {"checkpoint": None})
    assert distance(on.params, whole.params) < 1e-11
    np.testing.assert_array_equal(on.history.test_correct, whole.history.test_correct)


def test_a_sweep_on_a_mesh_goes_on(hundred_steps, mesh8, tmp_path):
    settings = {"hidden": 4, "learning_rate": (0.3, 3.0), "seeds": 3, "batch_size": 50, "mesh": mesh8}
    nnjax.sweep(KEY, hundred_steps, epochs=1, checkpoint=tmp_path, **settings)
    on = nnjax.sweep(KEY, hundred_steps, epochs=2, checkpoint=tmp_path, **settings)
    whole = nnjax.sweep(KEY, hundred_steps, epochs=2, **settings)
    assert on.data.drop_vars("seconds").identical(whole.data.drop_vars("seconds"))
    with pytest.raises(ValueError, match="devices was 8 and is 1"):
        nnjax.sweep(KEY, hundred_steps, epochs=2, checkpoint=tmp_path, **settings | {"mesh": None})


def test_a_sweep_on_a_mesh_compiles_its_epoch_once(digits, mesh8, compilations):
    settings = {"hidden": 11, "learning_rate": 3.0, "batch_size": 100, "epochs": 3, "mesh": mesh8}
    nnjax.sweep(KEY, digits, seeds=8, **settings)
    assert sum("epoch" in name for name in compilations) == 1


@pytest.mark.parametrize("wrong", [8, "data", (8,)])
def test_what_is_no_mesh_is_told(digits, wrong):
    params = nnjax.init(KEY, (64, 30, 10))
    with pytest.raises(ValueError, match=r"mesh must be devices, such as jax.make_mesh"):
        nnjax.fit(KEY, params, digits, learning_rate=3.0, mesh=wrong)
    with pytest.raises(ValueError, match=r"mesh must be devices, such as jax.make_mesh"):
        nnjax.sweep(KEY, digits, learning_rate=3.0, mesh=wrong)


@pytest.mark.parametrize("told", ["127.0.0.1", ":1234", "host:port", "host:", "::::"])
def test_a_coordinator_without_a_port_is_told(told):
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        multihost.connect(told, 2, 0, 10)


@pytest.mark.parametrize("told", ["", "two", "-1"])
def test_an_environment_that_makes_no_sense_is_told(monkeypatch, told):
    monkeypatch.setenv("JAX_NUM_PROCESSES", told)
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES must be a whole number"):
        multihost.connect("127.0.0.1:1", None, 0, 10)

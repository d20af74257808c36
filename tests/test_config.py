"""`TrainConfig`: what it builds, what it rejects, and how it is saved."""

import json
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.config import REGISTRIES, TrainConfig, configs
from nnjax.nn.conv import all_layers
from nnjax.optim import OPTIMIZERS
from nnjax.optim.schedules import cosine

KEY = jax.random.key(1)

CHANGED = TrainConfig(
    hidden=(20, 30),
    activation="tanh",
    initial_weights="lecun",
    cost="softmax_cross_entropy",
    l1=1e-4,
    l2=1e-3,
    dropout=0.5,
    input_dropout=0.1,
    augment={"translate": 2.0},
    label_smoothing=0.1,
    optimizer="adam",
    learning_rate=0.01,
    schedule="cosine",
    hyperparameters={"b1": 0.8, "nesterov": True},
    ema_decay=0.99,
    epochs=2,
    batch_size=50,
)


def test_default_is_the_books_network(digits):
    config = TrainConfig(epochs=1)
    init_key, fit_key = jax.random.split(KEY)
    params = nnjax.init(init_key, (64, 30, 10))
    expected = nnjax.fit(fit_key, params, digits, learning_rate=3.0, epochs=1, batch_size=10)
    run = config.fit(KEY, digits)
    np.testing.assert_array_equal(run.history.train_cost, expected.history.train_cost)
    np.testing.assert_array_equal(run.params[0].w, expected.params[0].w)


@pytest.mark.parametrize("name", configs)
def test_named_configurations_fit_images_of_mnist(name):
    data = nnjax.Dataset.from_arrays((np.zeros((10, 28, 28), np.uint8), np.arange(10)))
    params = jax.eval_shape(configs[name].init_fn(data), KEY)
    forward = configs[name].objective(data).forward
    assert jax.eval_shape(forward, params, jnp.zeros(784), KEY).shape == (10,)


def test_names_and_functions_are_equivalent():
    named = TrainConfig(activation="relu", optimizer="adam", schedule="cosine", initial_weights="he")
    functions = TrainConfig(
        activation=nnjax.relu, optimizer=optax.adam, schedule=cosine, initial_weights=nnjax.he
    )
    assert named == functions


def test_every_field_changes_what_is_trained(digits):
    objective, kwargs = CHANGED.objective(digits), CHANGED.fit_kwargs(digits)
    params = jax.eval_shape(CHANGED.init_fn(digits), KEY)
    assert [layer.w.shape for layer in params] == [(20, 64), (30, 20), (10, 30)]
    dense = objective.forward.forward
    assert (dense.activation, dense.rate, dense.input_rate) == (nnjax.tanh, 0.5, 0.1)
    assert (objective.cost, objective.code.alpha) == (nnjax.softmax_cross_entropy, 0.1)
    two_layers = (nnjax.Layer(jnp.array([[2.0, -1.0]]), jnp.array([9.0])),)
    assert float(objective.penalty(two_layers)) == pytest.approx(1e-4 * 3 + 1e-3 / 2 * 5)
    assert kwargs["hyperparameters"] == {"b1": 0.8, "nesterov": True}
    assert {"learning_rate": 0.01, "ema_decay": 0.99, "batch_size": 50}.items() <= kwargs.items()
    assert (kwargs["optimizer"], kwargs["schedule"], kwargs["epochs"]) == (optax.adam, cosine, 2)


def test_lengths_of_augment_scale_with_the_images(digits):
    forward = TrainConfig(augment={"translate": 7.0, "rotate": 0.3}).objective(digits).forward
    assert (forward.translate, forward.rotate, forward.image_shape) == (2.0, 0.3, (8, 8))
    default = nnjax.Augment(None, (28, 28)).elastic_alpha
    assert forward.elastic_alpha == pytest.approx(default * 8 / 28)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learning_rate_defaults_to_that_of_the_optimizer(name, digits):
    kwargs = TrainConfig(optimizer=name).fit_kwargs(digits)
    assert kwargs.get("learning_rate") == OPTIMIZERS[name].learning_rate
    assert TrainConfig(optimizer=name, learning_rate=0.5).fit_kwargs(digits)["learning_rate"] == 0.5


def test_unknown_optimizer_has_no_default_learning_rate(digits):
    config = TrainConfig(optimizer=optax.adabelief)
    assert config.used_learning_rate() is None
    assert "learning_rate" not in config.fit_kwargs(digits)


@pytest.mark.parametrize("config", [*configs.values(), CHANGED], ids=[*configs, "changed"])
def test_json_round_trip(config):
    saved = json.loads(json.dumps(config.to_json()))
    assert set(saved) == {f.name for f in fields(TrainConfig)}
    assert TrainConfig.from_json(saved) == config


def test_json_of_numpy_numbers_is_plain():
    config = TrainConfig(l2=np.float32(0.5), learning_rate=jnp.float32(0.25))
    assert json.loads(json.dumps(config.to_json())) == TrainConfig(l2=0.5, learning_rate=0.25).to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": jnp.sin}, "activation must be one of sigmoid, tanh"),
        ({"optimizer": optax.adabelief}, "optimizer must be one of sgd"),
        ({"schedule": lambda fraction: fraction}, "schedule must be one of constant"),
        ({"hyperparameters": {"mask": jnp.sin}}, "hyperparameters mask must be a number or a string"),
    ],
)
def test_functions_without_a_registered_name_are_not_saved(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TrainConfig(), **changes).to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 30}, r"hidden must be a sequence of positive integers, such as \(30,\), got 30"),
        ({"hidden": "30"}, "hidden must be a sequence"),
        ({"hidden": (0,)}, "each number in hidden must be a positive integer, got 0"),
        ({"channels": (2.5,)}, "each number in channels must be a positive integer, got 2.5"),
        ({"activation": "sigmod"}, "did you mean 'sigmoid'"),
        ({"cost": None}, "cost must be one of .*, got 'None'"),
        ({"optimizer": 3}, "optimizer must be one of .*, got '3'"),
        ({"l1": -1}, "l1 must be non-negative, got -1"),
        ({"l2": "much"}, "l2 must be a number, got 'much'"),
        ({"l2": float("inf")}, "l2 must be finite, got inf"),
        ({"dropout": 1.5}, "dropout must be between 0 and 1, got 1.5"),
        ({"input_dropout": None}, "input_dropout must be a number, got None"),
        ({"input_dropout": 0.1}, "input_dropout must be 0 without dropout"),
        ({"input_dropout": 0.1, "dropout": 0.5, "channels": (2,)}, "input_dropout must be 0"),
        ({"label_smoothing": 0.1, "output_code": "binary"}, "output_code must be one_hot"),
        ({"learning_rate": float("nan")}, "learning_rate must be non-negative, got nan"),
        ({"learning_rate": True}, "learning_rate must be a number, got True"),
        ({"ema_decay": 2}, "ema_decay must be between 0 and 1, got 2"),
        ({"augment": {"translat": 1}}, "did you mean 'translate'"),
        ({"augment": {"translate": "far"}}, "augment translate must be a number, got 'far'"),
        ({"augment": 3}, "augment must be a mapping"),
        ({"hyperparameters": None}, "hyperparameters must be a mapping"),
        ({"hyperparameters": {"learning_rate": 1.0}}, "hyperparameters must not contain learning_rate"),
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer, got 2.5"),
    ],
)
def test_wrong_fields_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_json(changes)


@pytest.mark.parametrize(
    ("config", "message"),
    [({"epoch": 3}, "did you mean 'epochs'"), ([1], "must be a mapping from fields to values")],
)
def test_wrong_json_is_rejected(config, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_json(config)


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ((9,), {"channels": (2,)}, "channels must be empty for inputs other than images"),
        ((9,), {"augment": {}}, "augment must be None for inputs other than gray images"),
        ((3, 3, 2), {"augment": {}}, r"augment must be None .*, got \(3, 3, 2\)"),
    ],
)
def test_data_that_a_configuration_cannot_use_are_rejected(shape, changes, message):
    data = nnjax.Dataset.from_arrays((np.zeros((2, *shape), np.uint8), np.arange(2)))
    for build in (TrainConfig(**changes).init_fn, TrainConfig(**changes).objective):
        with pytest.raises(ValueError, match=message):
            build(data)


@pytest.mark.slow
def test_a_network_of_a_sweep_is_trained_as_alone(digits):
    config = TrainConfig(
        cost="sigmoid_cross_entropy", initial_weights="lecun", learning_rate=0.5, epochs=1, batch_size=100
    )
    grid = config.sweep(KEY, digits, hidden=(5, 7), seeds=2)
    assert dict(grid.data.sizes) == {"hidden": 2, "seed": 2, "epoch": 1}
    init_key, fit_key = grid.rng_keys(1)
    config = replace(config, hidden=(7,))
    alone = nnjax.fit(fit_key, config.init_fn(digits)(init_key), digits, **config.fit_kwargs(digits))
    np.testing.assert_allclose(grid.params(hidden=7, seed=1)[0].w, alone.params[0].w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "axes", "sizes"),
    [
        ({"hidden": (4, 3)}, {"learning_rate": (1.0, 2.0)}, [64, 4, 3, 10]),
        ({"hidden": (4,), "channels": (2,)}, {"learning_rate": (1.0, 2.0)}, [64, 2, 4, 10]),
    ],
)
def test_networks_of_a_sweep_have_the_layers_of_the_configuration(changes, axes, sizes, monkeypatch):
    data = nnjax.Dataset.from_arrays((np.zeros((10, 28, 28), np.uint8), np.arange(10)))
    monkeypatch.setattr("nnjax.config._train_config.sweep", lambda key, data, **arguments: arguments)
    arguments = TrainConfig(**changes).sweep(KEY, data, **axes)
    params = jax.eval_shape(arguments["init"], KEY)
    assert [layer.b.shape[0] for layer in all_layers(params)] == sizes[1:]
    assert arguments["learning_rate"] == (1.0, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "axes", "dims"),
    [
        ({"hidden": (4, 3)}, {"initial_weights": (nnjax.he, nnjax.lecun)}, ("initial_weights",)),
        ({"hidden": (4, 3), "initial_weights": "he"}, {"hidden": [(4, 3)]}, ("hidden",)),
    ],
)
def test_a_sweep_over_a_part_of_the_model_takes_the_rest_from_the_configuration(changes, axes, dims, digits):
    config = TrainConfig(**changes, epochs=1, batch_size=100)
    grid = config.sweep(KEY, digits, **axes)
    assert grid.test_accuracy.dims == (*dims, "seed", "epoch")
    (label,) = {"he", "4x3"} & set(grid.data[dims[0]].values.tolist())
    init_key, fit_key = grid.rng_keys(0)
    config = replace(config, initial_weights="he")
    alone = nnjax.fit(fit_key, config.init_fn(digits)(init_key), digits, **config.fit_kwargs(digits))
    for layer, expected in zip(grid.params(**{dims[0]: label}), alone.params, strict=True):
        np.testing.assert_allclose(layer.w, expected.w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "axes", "message"),
    [
        (TrainConfig(), {"optimizer": ("sgd", "adam")}, "optimizer must be set with dataclasses.replace"),
        (
            configs["best-cpu"],
            {"hidden": (10, 20)},
            "channels must be .* to sweep hidden",
        ),
    ],
)
def test_axes_that_cannot_be_swept_are_rejected(config, axes, message, digits):
    data = nnjax.Dataset.from_arrays((np.zeros((10, 28, 28), np.uint8), np.arange(10)))
    with pytest.raises(ValueError, match=message):
        config.sweep(KEY, data, **axes)


def test_every_field_that_holds_a_function_has_a_registry():
    functions = {f.name for f in fields(TrainConfig) if callable(getattr(TrainConfig(), f.name))}
    assert functions | {"output_code"} == set(REGISTRIES)

"""Model files: what is saved is loaded again, and a damaged or foreign file raises a ValueError."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from safetensors.numpy import save as save_tensors

import nnjax
import reference
from nnjax.storage.model_file import CONVOLUTION_FIELDS, Calibration, DigitLayout

PARAMS = nnjax.init(jax.random.key(0), (64, 12, 4))
NO_CONVOLUTION = dict.fromkeys(CONVOLUTION_FIELDS)
OBJECTIVE = nnjax.Objective(
    nnjax.Dense(nnjax.tanh, nnjax.identity), nnjax.sigmoid_cross_entropy, nnjax.binary
)
CALIBRATION = Calibration(
    layout=DigitLayout(box=(8, 6), stretched=True),
    temperature=1.25,
)


@pytest.fixture(scope="module")
def model_bytes(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    settings = {"learning_rate": 0.5}
    nnjax.save_model(path, PARAMS, OBJECTIVE, digits, calibration=CALIBRATION, settings=settings)
    return path.read_bytes()


@pytest.fixture
def path(model_bytes, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(model_bytes)
    return tmp_path / "m.safetensors"


def rewrite(path, metadata=None, tensors=None):
    """Changes entries of the metadata, and tensors, in a model file."""
    with safe_open(path, framework="numpy") as file:
        old = json.loads(file.metadata()["nnjax"])
    content = {"nnjax": json.dumps(old | (metadata or {}))}
    save_file(load_file(path) | (tensors or {}), path, content)


# --- round trips ---


def test_a_loaded_model_equals_the_saved_one(path, digits):
    model = nnjax.load_model(path)
    assert reference.distance(model.params, PARAMS) == 0
    assert model.objective == OBJECTIVE
    assert model.code == nnjax.binary
    assert model.sizes == (64, 12, 4)
    assert (model.dataset, model.input_shape, model.num_classes) == ("digits", (8, 8), 10)
    assert model.settings == {"learning_rate": 0.5}
    assert model.versions["jax"] == jax.__version__
    assert (model.layout, model.temperature) == (CALIBRATION.layout, CALIBRATION.temperature)
    outputs = nnjax.outputs(PARAMS, digits.validation.inputs, OBJECTIVE)
    bits = np.array([[int(bit) for bit in f"{digit:04b}"] for digit in range(10)])
    nearest = np.sum((np.asarray(outputs)[:, None] - bits) ** 2, axis=2).argmin(axis=1)
    assert model.validation_accuracy == np.mean(nearest == digits.validation.targets)
    np.testing.assert_allclose(model(digits.validation.inputs[0]), outputs[0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(28, 12), (1,), (4, 4, 3), (6, 4, 1)])
def test_every_input_shape_is_saved(tmp_path, shape):
    inputs = np.arange(8 * np.prod(shape), dtype=np.float32).reshape(8, *shape) % 7
    data = nnjax.Dataset.from_arrays(train=(inputs, np.arange(8) % 2))
    layer = nnjax.Layer(np.ones((2, int(np.prod(shape))), np.float32), np.zeros(2, np.float32))
    nnjax.save_model(tmp_path / "m", (layer,), nnjax.Objective(), data)
    model = nnjax.load_model(tmp_path / "m")
    assert model.input_shape == shape
    assert model.validation_accuracy == 0
    assert (model.layout, model.temperature) == (None, 1)


def test_a_known_validation_accuracy_is_saved(tmp_path, digits):
    nnjax.save_model(tmp_path / "m", PARAMS, OBJECTIVE, digits, validation_accuracy=0.5)
    assert nnjax.load_model(tmp_path / "m").validation_accuracy == 0.5


def test_transposed_weights_are_saved_in_their_order(tmp_path, digits):
    w = np.arange(640, dtype=np.float32).reshape(64, 10).T
    nnjax.save_model(tmp_path / "m", (nnjax.Layer(w, np.zeros(10, np.float32)),), nnjax.Objective(), digits)
    np.testing.assert_array_equal(nnjax.load_model(tmp_path / "m").params[0].w, w)


@pytest.fixture(scope="module")
def convolutional(digits, tmp_path_factory):
    """Parameters and objective of a convolutional network, and the bytes of its model file."""
    net = nnjax.ConvNet((8, 8), kernel_size=3, output=nnjax.identity, dropout=0.5)
    params = net.init(jax.random.key(0), channels=(4,), dense=(12, 10))
    objective = nnjax.Objective(
        nnjax.Augment(net, (8, 8)),
        nnjax.softmax_cross_entropy,
        nnjax.LabelSmoothing(0.1),
        penalty=lambda p: 0.0,
    )
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    nnjax.save_model(path, params, objective, digits)
    return params, objective, path.read_bytes()


def test_a_convolutional_network_is_saved_as_it_is_evaluated(convolutional, tmp_path, digits):
    params, objective, content = convolutional
    (tmp_path / "m").write_bytes(content)
    model = nnjax.load_model(tmp_path / "m")
    assert (model.sizes, model.input_shape) == ((64, 4, 12, 10), (8, 8))
    assert model.objective == nnjax.Objective(
        nnjax.ConvNet((8, 8), kernel_size=3), nnjax.softmax_cross_entropy
    )
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_array_equal(a, b)
    x = jnp.float32(digits.test.inputs[0]) / 255
    loaded, saved = jax.jit(lambda x: (model(x), objective.activations(params, x)))(x)
    np.testing.assert_allclose(loaded, saved, rtol=1e-5)


@pytest.mark.slow
def test_stride_padding_and_pool_are_saved(tmp_path, digits):
    net = nnjax.ConvNet((8, 8), (3, 2), (1, 2), "SAME", (2, 1))
    params = net.init(jax.random.key(0), channels=(4, 2), dense=(10,))
    objective = nnjax.Objective(net, nnjax.softmax_cross_entropy)
    nnjax.save_model(tmp_path / "m", params, objective, digits)
    model = nnjax.load_model(tmp_path / "m")
    assert model.objective == objective
    x = jnp.float32(digits.test.inputs[0]) / 255
    np.testing.assert_allclose(model(x), objective.activations(params, x), rtol=1e-5)


# --- what cannot be saved ---


def test_a_model_that_cannot_be_loaded_again_is_not_saved(tmp_path, digits):
    unregistered = nnjax.Objective(nnjax.Dense(activation=jnp.sin), code=nnjax.binary)
    with_nan = PARAMS[0], PARAMS[1]._replace(b=jnp.full(4, jnp.nan))
    for params, objective, settings, message in (
        ({"w": jnp.ones(3)}, nnjax.Objective(), {}, "must be a dense network .* got dict"),
        (PARAMS, nnjax.Objective(), {}, "must have at least 10 neurons"),
        (PARAMS, unregistered, {}, "only registered functions can be saved"),
        (with_nan, OBJECTIVE, {}, "layer 1 must be finite, got NaN"),
        (PARAMS, OBJECTIVE, {"notes": "a" * 10**6}, "at most 1,000,000 bytes"),
        (PARAMS, OBJECTIVE, {"data": np.ones(2)}, "settings must be JSON values: .*ndarray"),
    ):
        with pytest.raises(ValueError, match=message):
            nnjax.save_model(tmp_path / "m", params, objective, digits, settings=settings)
    with pytest.raises(ValueError, match="validation_accuracy must be between 0 and 1, got nan"):
        nnjax.save_model(tmp_path / "m", PARAMS, OBJECTIVE, digits, validation_accuracy=float("nan"))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_other(path, digits, monkeypatch):
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        nnjax.save_model(path, PARAMS, OBJECTIVE, digits)
    assert path.read_bytes() == before
    assert [f.name for f in path.parent.iterdir()] == [path.name]


# --- damaged files ---


@pytest.mark.parametrize(
    "damage",
    [
        {"metadata": {"sizes": [64, 12, 5]}},
        {"metadata": {"sizes": [64, 12, 4, 4]}},
        {"metadata": {"sizes": "64"}},
        {"metadata": {"activation": "sine"}},
        {"metadata": {"output_code": "is_digit(77)"}},
        {"metadata": {"input_shape": 8}},
        {"metadata": {"input_shape": [9, 9]}},
        {"metadata": {"input_shape": [float("inf"), 1]}},
        {"metadata": {"num_classes": float("inf")}},
        {"metadata": {"num_classes": 0}},
        {"metadata": {"temperature": 0}},
        {"metadata": {"temperature": 10**400}},
        {"metadata": {"validation_accuracy": float("nan")}},
        {"metadata": {"layout": 0}},
        {"metadata": {"layout": {"box": [9, 9], "stretched": True}}},
        {"metadata": {"layout": {"box": [8, 6], "stretched": False}}},
        {"tensors": {"0.w": np.zeros((12, 65), np.float32)}},
        {"tensors": {"1.b": np.zeros(4, np.int32)}},
        {"tensors": {"2.w": np.zeros(4, np.float32)}},
    ],
    ids=lambda damage: "-".join(f"{k}={v}" for change in damage.values() for k, v in change.items())[:40],
)
def test_a_file_that_contradicts_itself_raises(path, damage):
    rewrite(path, **damage)
    with pytest.raises(ValueError, match="not a model file"):
        nnjax.load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": [5]}, "sizes must begin with 45 for inputs of the shape"),
        ({"kernel_size": [2, 2]}, "must be floats of the shape"),
        ({"kernel_size": [9, 9]}, "large enough for a convolution"),
        ({"kernel_size": [3, 0]}, "kernel_size must be a positive integer, got 0"),
        (
            {"kernel_size": [3, 3, 3]},
            r"kernel_size must be a number or a pair \(height, width\), got \[3, 3, 3\]",
        ),
        ({"stride": [9, 1]}, "large enough for a convolution"),
        ({"padding": "FULL"}, "padding must be one of VALID, SAME, got 'FULL'"),
        ({"pool": [1, 10**30]}, "large enough for a convolution"),
        (
            {"pool": None},
            r"kernel_size, stride, padding, pool must be null if channels is empty, and else must not",
        ),
        ({"channels": [], **NO_CONVOLUTION}, "sizes must begin with 64"),
        ({"channels": []}, r"must not be null, got \[3, 3\], \[1, 1\], 'VALID', \[2, 2\] and channels \[\]"),
        ({"channels": [4, 4]}, "large enough for a convolution"),
        ({"channels": [2**30]}, "at most 16,777,216 features"),
        ({"input_shape": [64]}, "large enough for a convolution"),
        ({"input_shape": [8, 8, 2]}, "must be floats of the shape"),
    ],
)
def test_a_convolutional_model_that_contradicts_itself_raises(convolutional, tmp_path, changes, message):
    (tmp_path / "m").write_bytes(convolutional[-1])
    rewrite(tmp_path / "m", changes)
    with pytest.raises(ValueError, match=message):
        nnjax.load_model(tmp_path / "m")


@pytest.mark.parametrize(("version", "shown"), [(4, "4"), (6, "6"), ("a" * 1000, r"\.\.\.")])
def test_a_file_of_another_format_raises_an_error_that_names_it(path, version, shown):
    rewrite(path, {"format": version})
    message = rf"m.safetensors' must have format 5, got format {shown}: train the model again"
    with pytest.raises(ValueError, match=message):
        nnjax.load_model(path)


def test_metadata_nested_deeper_than_python_allows_raises(path):
    deep = "[" * 100_000 + "]" * 100_000
    path.write_bytes(save_tensors({"x": np.ones(3)}, metadata={"nnjax": deep}))
    with pytest.raises(ValueError, match="not a model file"):
        nnjax.load_model(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"PK\x03\x04" + bytes(60)])
def test_another_file_raises(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a model file of nnjax: it is not a safetensors file"):
        nnjax.load_model(path)


def test_a_directory_a_missing_file_and_other_tensors_raise(tmp_path):
    with pytest.raises(ValueError, match="not a model file of nnjax: it is a directory"):
        nnjax.load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model file"):
        nnjax.load_model(tmp_path / "none")
    path = tmp_path / "m.safetensors"
    path.write_bytes(save_tensors({"x": np.ones(3)}))
    with pytest.raises(ValueError, match="not a model file of nnjax: its metadata must be one entry"):
        nnjax.load_model(path)

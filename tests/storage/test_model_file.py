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
from nnjax.runtime.environment import environment
from nnjax.runtime.files import check_writable
from nnjax.storage import write_record

PARAMS = nnjax.init(jax.random.key(0), (64, 12, 4))
OBJECTIVE = nnjax.Objective(
    nnjax.Dense(nnjax.tanh, nnjax.identity), nnjax.sigmoid_cross_entropy, nnjax.binary
)


@pytest.fixture
def path(tmp_path, digits):
    nnjax.save_model(tmp_path / "m.safetensors", PARAMS, OBJECTIVE, digits, {"learning_rate": 0.5})
    return tmp_path / "m.safetensors"


def test_a_model_comes_back_as_it_was_saved(path, digits):
    model = nnjax.load_model(path)
    assert reference.distance(model.params, PARAMS) == 0
    assert model.objective == OBJECTIVE
    assert model.code == nnjax.binary
    assert model.sizes == (64, 12, 4)
    assert (model.dataset, model.input_shape, model.num_classes) == ("digits", (8, 8), 10)
    assert model.settings == {"learning_rate": 0.5}
    assert model.versions["jax"] == jax.__version__
    image = digits.test.inputs[0]
    np.testing.assert_allclose(model(image), nnjax.outputs(PARAMS, image[None], OBJECTIVE)[0], rtol=1e-6)


def test_transposed_weights_are_saved_as_they_are(tmp_path, digits):
    w = np.arange(640, dtype=np.float32).reshape(64, 10).T
    nnjax.save_model(tmp_path / "m", (nnjax.Layer(w, np.zeros(10, np.float32)),), nnjax.Objective(), digits)
    np.testing.assert_array_equal(nnjax.load_model(tmp_path / "m").params[0].w, w)


def test_a_link_stays_a_link_and_devices_stay_devices(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_record(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "target").read_text()) == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no plain file"):
        check_writable(tmp_path / "pipe")


def test_a_convolutional_network_is_saved_as_it_is_evaluated(tmp_path, digits):
    net = nnjax.ConvNet((8, 8), kernel_size=3, output=nnjax.identity, dropout=0.5)
    params = net.init(jax.random.key(0), channels=(4,), dense=(12, 10))
    trained = nnjax.Objective(
        nnjax.Augment(net, (8, 8)),
        nnjax.softmax_cross_entropy,
        nnjax.LabelSmoothing(0.1),
        penalty=lambda p: 0.0,
    )
    nnjax.save_model(tmp_path / "m", params, trained, digits)
    model = nnjax.load_model(tmp_path / "m")
    assert (model.sizes, model.input_shape) == ((64, 4, 12, 10), (8, 8))
    assert model.objective == nnjax.Objective(
        nnjax.ConvNet((8, 8), kernel_size=3), nnjax.softmax_cross_entropy
    )
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_array_equal(a, b)
    x = digits.test.inputs[0]
    np.testing.assert_array_equal(model(x), trained.activations(params, jnp.float32(x) / 255))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"channels": [5]}, "images of the shape"),
        ({"side": 2}, "not floats of"),
        ({"side": 9}, "do not suit"),
        ({"side": 0}, "a number of 0"),
        ({"channels": [], "side": None}, "for 36 inputs"),
        ({"channels": []}, "a side of 3"),
        ({"channels": [4, 4]}, "do not suit"),
        ({"image_shape": [64]}, "do not suit"),
        ({"image_shape": [8, 8, 2]}, "not floats of"),
    ],
)
def test_a_convolutional_model_that_is_not_what_it_says_is_refused(tmp_path, digits, change, told):
    net = nnjax.ConvNet((8, 8), kernel_size=3)
    params = net.init(jax.random.key(0), channels=(4,), dense=(10,))
    nnjax.save_model(tmp_path / "m", params, nnjax.Objective(net, nnjax.softmax_cross_entropy), digits)
    tensors = load_file(tmp_path / "m")
    with safe_open(tmp_path / "m", "numpy") as file:
        meta = json.loads(file.metadata()["nnjax"])
    save_file(tensors, tmp_path / "m", {"nnjax": json.dumps(meta | change)})
    with pytest.raises(ValueError, match=told):
        nnjax.load_model(tmp_path / "m")


def test_what_is_no_dense_network_is_not_saved(tmp_path, digits):
    with pytest.raises(ValueError, match="only dense networks"):
        nnjax.save_model(tmp_path / "m", {"w": jnp.ones(3)}, nnjax.Objective(), digits)
    with pytest.raises(ValueError, match="has 4 neurons"):
        nnjax.save_model(tmp_path / "m", PARAMS, nnjax.Objective(), digits)
    odd = nnjax.Objective(nnjax.Dense(activation=jnp.sin), code=nnjax.binary)
    with pytest.raises(ValueError, match="no name"):
        nnjax.save_model(tmp_path / "m", PARAMS, odd, digits)
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_read_again_is_not_saved(tmp_path, digits):
    lost = (PARAMS[0], PARAMS[1]._replace(b=jnp.full(4, jnp.nan)))
    with pytest.raises(ValueError, match="layer 1 holds NaN"):
        nnjax.save_model(tmp_path / "m", lost, OBJECTIVE, digits)
    with pytest.raises(ValueError, match="at most 1,000,000"):
        nnjax.save_model(tmp_path / "m", PARAMS, OBJECTIVE, digits, {"notes": "a" * 10**6})
    assert not list(tmp_path.iterdir())


def rewrite(path, meta=None, tensors=None):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        old_meta = json.loads(file.metadata()["nnjax"])
        old = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path.write_bytes(
        save_tensors(old | (tensors or {}), metadata={"nnjax": json.dumps(old_meta | (meta or {}))})
    )


@pytest.mark.parametrize(
    "damage",
    [
        {"meta": {"sizes": [64, 12, 5]}},
        {"meta": {"sizes": [64, 12, 4, 4]}},
        {"meta": {"sizes": "64"}},
        {"meta": {"activation": "sine"}},
        {"meta": {"output_code": "is_digit(77)"}},
        {"meta": {"image_shape": 8}},
        {"meta": {"image_shape": [9, 9]}},
        {"meta": {"image_shape": [float("inf"), 1]}},
        {"meta": {"num_classes": float("inf")}},
        {"meta": {"num_classes": 0}},
        {"meta": {"temperature": 0}},
        {"meta": {"temperature": 10**400}},
        {"meta": {"validation": float("nan")}},
        {"meta": {"form": 0}},
        {"meta": {"form": {"box": [9, 9], "stretched": True}}},
        {"meta": {"form": {"box": [8, 6], "stretched": False}}},
        {"tensors": {"likeness.means": np.zeros((9, 64), np.float32)}},
        {"tensors": {"likeness.directions": np.full((15, 64), np.nan, np.float32)}},
        {"tensors": {"likeness.spread": np.zeros((), np.float32)}},
        {"tensors": {"likeness.rest": np.ones((), np.int32)}},
        {"tensors": {"0.w": np.zeros((12, 65), np.float32)}},
        {"tensors": {"1.b": np.zeros(4, np.int32)}},
    ],
)
def test_a_model_file_that_contradicts_itself_is_refused(path, damage):
    rewrite(path, **damage)
    with pytest.raises(ValueError, match="not a model file"):
        nnjax.load_model(path)


def test_metadata_nested_deeper_than_python_goes_is_refused(path):
    deep = "[" * 100_000 + "]" * 100_000
    path.write_bytes(save_tensors({"x": np.ones(3)}, metadata={"nnjax": deep}))
    with pytest.raises(ValueError, match="not a model file"):
        nnjax.load_model(path)


@pytest.mark.parametrize(
    "images",
    [
        np.tri(28, 12, dtype=np.uint8)[None] * np.arange(1, 9, dtype=np.uint8)[:, None, None],
        np.zeros((8, 5, 5), np.uint8),
        np.arange(8, dtype=np.float32).reshape(8, 1),
        np.ones((8, 4, 4, 3), np.uint8),
        np.ones((8, 6, 4, 1), np.uint8),
    ],
    ids=["narrow", "blank", "one number", "colours", "one channel"],
)
def test_what_is_saved_can_be_read(tmp_path, images):
    some = images, np.arange(8) % 2
    data = nnjax.Dataset.from_arrays(train=some, validation=some)
    params = nnjax.init(jax.random.key(0), (data.train.inputs.shape[1], 2))
    nnjax.save_model(tmp_path / "m", params, nnjax.Objective(), data)
    model = nnjax.load_model(tmp_path / "m")
    assert model.input_shape == images.shape[1:]
    assert model.layout is None or model.layout.box <= images.shape[1:3]


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"PK\x03\x04" + bytes(60)])
def test_what_is_no_model_file_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a model file"):
        nnjax.load_model(path)
    with pytest.raises(ValueError, match="not a model file"):
        nnjax.load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model file"):
        nnjax.load_model(tmp_path / "none")


def test_a_plain_safetensors_file_is_no_model(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save_tensors({"x": np.ones(3)}))
    with pytest.raises(ValueError, match="not a model file"):
        nnjax.load_model(path)


def test_records_are_json_that_any_reader_takes(tmp_path):
    record = {
        "a": np.array([1.0, np.nan]),
        "b": np.inf,
        "c": (1, jnp.float32(2)),
        "d": tmp_path,
    } | environment()
    write_record(tmp_path / "r.json", record)
    read = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert read["a"] == [1.0, None]
    assert read["b"] is None
    assert read["c"] == [1, 2.0]
    assert read["versions"]["jax"] == jax.__version__
    assert read["devices"]
    assert read["processor"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(path, digits, monkeypatch):
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        nnjax.save_model(path, PARAMS, OBJECTIVE, digits)
    assert path.read_bytes() == before
    assert [f.name for f in path.parent.iterdir()] == [path.name]


def test_paths_that_cannot_be_written_are_told(tmp_path):
    check_writable(tmp_path / "new")
    assert not list(tmp_path.iterdir())
    for path in (tmp_path, tmp_path / "none" / "m", tmp_path.parent / "\0"):
        with pytest.raises(ValueError, match=r"cannot write|null"):
            check_writable(path)

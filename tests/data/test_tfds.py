"""`load("tfds:NAME")` on data sets that small builders prepare without TensorFlow, and the command line."""

import io
import itertools
import json
import logging
import sys
from dataclasses import replace

import jax
import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

import nnjax
from nnjax.data import _tfds
from nnjax.data._tfds_choices import choose_splits

_count = itertools.count()


def png(array):
    file = io.BytesIO()
    PIL.Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def examples(n, shape, num_classes, seed=0):
    """Images whose brightness depends on their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % num_classes
    noise = rng.integers(0, 56, (n, *shape))
    return (noise + (200 * labels // num_classes).reshape(-1, *[1] * len(shape))).astype(np.uint8), labels


class _Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Subclasses have `features`, `splits` (arrays by feature), and optionally `keys`."""

    VERSION = tfds.core.Version("1.2.0")
    keys = None

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(self.features), supervised_keys=self.keys
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(arrays) for split, arrays in self.splits.items()}

    def _generate_examples(self, arrays):
        for i, values in enumerate(zip(*arrays.values(), strict=True)):
            example = dict(zip(arrays, values, strict=True))
            for key, feature in self.features.items():
                if type(feature) is tfds.features.Image:
                    example[key] = io.BytesIO(png(np.squeeze(example[key])))
            yield i, example


def make(shape=(4, 4, 1), num_classes=5, sizes=None, **attributes):
    """Registers a builder; returns its name, and the arrays of each split."""
    sizes = sizes or {"train": 60}
    splits = {
        split: dict(zip(("image", "label"), examples(n, shape, num_classes, seed), strict=True))
        for seed, (split, n) in enumerate(sizes.items())
    }
    features = {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(num_classes=num_classes),
    }
    name = f"Small{next(_count)}"
    type(name, (_Small,), {"features": features, "splits": splits, "__module__": __name__} | attributes)
    return name.lower(), splits


def sort_examples(split):
    """The examples as rows, sorted because tensorflow-datasets shuffles them."""
    inputs, targets = (np.asarray(array) for array in split)
    return sorted(map(tuple, np.column_stack([targets, inputs.reshape(len(targets), -1)]).tolist()))


def load(name, tmp_path, **keys):
    return nnjax.load(f"tfds:{name}", tmp_path, **keys)


@pytest.mark.parametrize("num_classes", [5, 100])
@pytest.mark.parametrize(
    ("shape", "input_shape"), [((4, 6, 1), (4, 6)), ((6, 4, 3), (6, 4, 3)), ((3, 3, 4), (3, 3, 4))]
)
def test_the_arrays_equal_those_of_the_builder(tmp_path, shape, input_shape, num_classes):
    name, splits = make(shape, num_classes, {"train": 300, "validation": 100, "test": 101})
    data = load(name, tmp_path)
    assert (data.name, data.input_shape, data.num_classes) == (f"tfds:{name}", input_shape, num_classes)
    for split, arrays in splits.items():
        ours = getattr(data, split)
        assert (ours.inputs.dtype, ours.targets.dtype) == (np.uint8, np.int32)
        assert sort_examples(ours) == sort_examples((arrays["image"], arrays["label"]))
    assert data.description == (
        f"tfds:{name}: image_key='image', label_key='label', train='train', validation='validation', "
        "test='test'"
    )
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"train": 60, "test": 10}, ("train[0:50]", "train[50:60]", "test")),
        ({"train": 60, "validation": 10}, ("train[0:50]", "validation", "train[50:60]")),
        ({"train": 60}, ("train[0:40]", "train[40:50]", "train[50:60]")),
        ({"test": 60}, ("test[0:40]", "test[40:50]", "test[50:60]")),
        ({"train": 60, "validation": 9, "test": 10, "extra": 99}, ("train", "validation", "test")),
    ],
)
def test_missing_splits_are_the_last_sixths_of_train(sizes, expected):
    assert tuple(choose_splits("x", sizes).values()) == expected
    assert list(choose_splits("x", sizes)) == ["train", "validation", "test"]


def test_parts_of_train_do_not_overlap(tmp_path):
    name, splits = make(sizes={"train": 66})
    data = load(name, tmp_path)
    assert [len(s.targets) for s in (data.train, data.validation, data.test)] == [44, 11, 11]
    parts = [sort_examples(s) for s in (data.train, data.validation, data.test)]
    assert sorted(itertools.chain(*parts)) == sort_examples(splits["train"].values())


def test_several_splits_without_train_raise(tmp_path):
    name, _ = make(sizes={"train_large": 6, "train_small": 6})
    with pytest.raises(
        ValueError, match="must have a split 'train', or only one split, got train_large, train"
    ):
        load(name, tmp_path)


@pytest.mark.parametrize("suffix", ["/letters", "/letters:1.2.0", ":1.2.0", ""])
def test_names_have_configurations_and_versions(tmp_path, suffix):
    """As in emnist/letters, the largest label is smaller than the number of classes, and 0 does not occur."""
    configs = [tfds.core.BuilderConfig(name=name) for name in ("letters", "digits")]
    images, labels = examples(52, (4, 4, 1), 26)
    features = {
        "image": tfds.features.Image(shape=(4, 4, 1)),
        "label": tfds.features.ClassLabel(num_classes=37),
    }
    splits = {"train": {"image": images, "label": labels + 1}}
    name, _ = make(features=features, splits=splits, BUILDER_CONFIGS=configs)
    data = load(name + suffix, tmp_path)
    assert data.num_classes == 37
    assert min(s.targets.min() for s in (data.train, data.validation, data.test)) == 1
    assert (tmp_path / name / "letters" / "1.2.0" / "dataset_info.json").exists()


def test_prepared_data_need_no_builder(tmp_path, monkeypatch):
    name, _ = make()
    before = load(name, tmp_path)
    registry = tfds.core.registered._DATASET_REGISTRY
    monkeypatch.delitem(registry, name)
    after = load(name, tmp_path)
    np.testing.assert_array_equal(before.train.inputs, after.train.inputs)
    assert after.num_classes == 5


@pytest.mark.parametrize(
    ("name", "input_shape", "num_classes", "keys"),
    [
        ("emnist/letters", (28, 28), 37, ["label"]),
        ("cifar100", (32, 32, 3), 100, ["label", "coarse_label", "id"]),
        ("cifar100:3.0.2", (32, 32, 3), 100, ["label", "coarse_label", "id"]),
    ],
)
def test_data_that_were_prepared_with_tensorflow_are_read(tmp_path, name, input_shape, num_classes, keys):
    real, _, config = name.partition(":")[0].partition("/")
    images, labels = examples(240, input_shape, 20)

    class Prepared(tfds.builder_cls(real), skip_registration=True):
        def _split_generators(self, dl_manager):
            return {
                "train": self._generate_examples(images, labels),
                "test": self._generate_examples(images[:9], labels[:9]),
            }

        def _generate_examples(self, images, labels):
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield i, {"image": io.BytesIO(png(image))} | dict.fromkeys(keys, str(label))

    Prepared.name = real
    builder = Prepared(config=config or None, data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    data = load(name, tmp_path)
    assert (data.input_shape, data.num_classes) == (input_shape, num_classes)
    assert "image_key='image', label_key='label', train='train[0:200]'" in data.description
    both = [np.concatenate(arrays) for arrays in zip(data.train, data.validation, strict=True)]
    assert sort_examples(both) == sort_examples((images, labels))


# --- the decoded cache ---


def test_the_second_load_decodes_nothing(tmp_path, monkeypatch):
    name = two_of_each()
    first = load(name, tmp_path, image_key="a", label_key="b")
    monkeypatch.setattr(_tfds, "_decode", lambda *_: pytest.fail("decoded again"))
    second = load(name, tmp_path, image_key="a", label_key="b")
    jax.tree.map(np.testing.assert_array_equal, first.test, second.test)


def test_the_cache_of_other_keys_is_not_used(tmp_path):
    name = two_of_each()
    for key in ("a", "c", "a"):
        data = load(name, tmp_path, image_key=key, label_key="b")
        splits = (data.train, data.validation, data.test)
        assert sorted(np.concatenate([s.inputs for s in splits]).ravel()) == sorted(ARRAYS[key].ravel())


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(_tfds, "write_cache", full)
    name, _ = make()
    with pytest.warns(UserWarning, match="is loaded, but cannot be cached in .*: no space left"):
        load(name, tmp_path)


# --- which features ---

IMAGE, LABEL = tfds.features.Image(shape=(4, 4, 1)), tfds.features.ClassLabel(num_classes=5)
ARRAYS = dict(zip("abcd", (*examples(12, (4, 4, 1), 5), *examples(12, (4, 4, 1), 5, seed=1)), strict=True))


def two_of_each(**attributes):
    features = {"a": IMAGE, "b": LABEL, "c": IMAGE, "d": tfds.features.ClassLabel(num_classes=7)}
    return make(features=features, splits={"train": ARRAYS}, **attributes)[0]


def test_supervised_keys_choose_among_several_features(tmp_path):
    data = load(two_of_each(keys=("c", "d")), tmp_path)
    assert "image_key='c', label_key='d'" in data.description
    assert data.num_classes == 7


def test_keys_can_be_passed(tmp_path):
    name = two_of_each(keys=("a", "b"))
    assert "image_key='c', label_key='d'" in load(name, tmp_path, image_key="c", label_key="d").description
    with pytest.raises(ValueError, match=rf"image_key of tfds:{name} must be one of a, c, got 'b'"):
        load(name, tmp_path, image_key="b")


def test_ambiguous_keys_raise_before_anything_is_prepared(tmp_path):
    name = two_of_each()
    with pytest.raises(
        ValueError, match=r"image_key of .* must be one of a, c, got none: pass it to nnjax\.load"
    ):
        load(name, tmp_path)
    with pytest.raises(ValueError, match=r"label_key of .* must be one of b, d, got none"):
        load(name, tmp_path, image_key="a")
    assert not (tmp_path / name).exists()


def test_supervised_keys_of_another_task_are_ignored(tmp_path):
    features = {"image": IMAGE, "angle": tfds.features.Scalar(np.float32), "label": LABEL}
    arrays = {"image": ARRAYS["a"], "angle": np.zeros(12, np.float32), "label": ARRAYS["b"]}
    name, _ = make(features=features, splits={"train": arrays}, keys=("image", "angle"))
    assert "label_key='label'" in load(name, tmp_path).description


def test_features_that_are_not_images_with_labels_raise(tmp_path):
    name, _ = make(features={"text": tfds.features.Text(), "label": LABEL}, splits={})
    with pytest.raises(
        ValueError, match="must have uint8 images and class labels, got the features text, label"
    ):
        load(name, tmp_path)


def test_tensor_features_are_images(tmp_path):
    features = {"x": tfds.features.Tensor(shape=(4, 4), dtype=np.uint8), "y": LABEL}
    name, _ = make(features=features, splits={"train": {"x": ARRAYS["a"][..., 0], "y": ARRAYS["b"]}})
    assert load(name, tmp_path).input_shape == (4, 4)


def test_keys_without_tfds_raise():
    with pytest.raises(ValueError, match="must be used with a name such as tfds:cifar10, got 'digits'"):
        nnjax.load("digits", label_key="label")


# --- sizes ---


@pytest.mark.parametrize("equal", [True, False])
def test_images_without_declared_size_must_have_one_size(tmp_path, equal):
    images = [np.zeros((4, 4 if equal else 4 + i % 2, 3), np.uint8) for i in range(12)]
    features = {"image": tfds.features.Image(), "label": LABEL}
    name, _ = make(features=features, splits={"train": {"image": images, "label": ARRAYS["b"]}})
    if equal:
        assert load(name, tmp_path).input_shape == (4, 4, 3)
        return
    with pytest.raises(ValueError, match=r"must have one shape, got \(4, \d, 3\) and .*: resize them"):
        load(name, tmp_path)


def test_data_that_do_not_fit_in_memory_raise(tmp_path, monkeypatch):
    arrays = {"image": np.zeros((12, 2000, 2000), np.uint8), "label": ARRAYS["b"]}
    features = {"image": tfds.features.Image(shape=(2000, 2000, 1)), "label": LABEL}
    name, _ = make(features=features, splits={"train": arrays})
    monkeypatch.setattr(_tfds, "available_memory", lambda: 2**24)
    message = "must fit in the available memory of 0.02 GiB, got 0.04 GiB: save a smaller"
    with pytest.raises(ValueError, match=message):
        load(name, tmp_path)


# --- bad input and what needs TensorFlow ---


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cifarr10",
            "must be known to tensorflow-datasets or prepared in .*, got 'tfds:cifarr10': did you mean",
        ),
        ("no_such_data_set", "known .*, got 'tfds:no_such_data_set': did you mean"),
        ("a b", r"data set must be tfds:NAME\[/CONFIG\]\[:VERSION\], got 'tfds:a b': Parsing"),
        ("", "got 'tfds:': Parsing"),
        ("emnist/lettters", "got 'tfds:emnist/lettters': BuilderConfig lettters not found .* letters"),
        (
            "mnist:9.9.9",
            "got 'tfds:mnist:9.9.9': Dataset mnist cannot be loaded at version 9.9.9, only: 3.0.1",
        ),
        ("nowhere:mnist", "known .*, got 'tfds:nowhere:mnist'"),
        ("imdb_reviews", "must have uint8 images and class labels, got the features text, label"),
    ],
)
def test_wrong_names_are_one_line(tmp_path, name, message):
    with pytest.raises(ValueError, match=message) as error:
        load(name, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["mnist", "emnist/letters", "cifar10", "cifar100", "beans", "horses_or_humans"]
)
def test_builders_of_tfds_need_tensorflow_and_download_nothing(tmp_path, name):
    message = (
        rf"tfds:{name} must be prepared already.*needs TensorFlow.*`tfds build {name} --file_format=array"
    )
    with pytest.raises(nnjax.DatasetUnavailable, match=message) as error:
        load(name, tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "downloads").exists()


class _ThatEncodesArrays(_Small, skip_registration=True):
    def _generate_examples(self, arrays):
        for i, image in enumerate(arrays["image"]):
            yield i, {"image": image, "label": 0}


def test_a_builder_that_encodes_arrays_needs_tensorflow(tmp_path, capsys):
    _, splits = make()
    attributes = {"features": {"image": IMAGE, "label": LABEL}, "splits": splits}
    type("EncodesArrays", (_ThatEncodesArrays,), attributes)
    with pytest.raises(nnjax.DatasetUnavailable, match="builder needs TensorFlow, got no prepared data in"):
        load("encodes_arrays", tmp_path)
    assert capsys.readouterr().out == ""


def test_a_builder_that_fails_is_one_line(tmp_path):
    def no_connection(*_):
        raise ConnectionError("no route\nto host")

    name, _ = make(_split_generators=no_connection)
    with pytest.raises(nnjax.DatasetUnavailable, match=f"{name} cannot be prepared in .*: no route to host$"):
        load(name, tmp_path)


def test_records_of_tensorflow_raise(tmp_path):
    name, _ = make()
    load(name, tmp_path)
    path = tmp_path / name / "1.2.0" / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(
        ValueError,
        match="must be stored as array_record, which can be read without TensorFlow, got tfrecord: where",
    ):
        load(name, tmp_path)


@pytest.mark.parametrize("remove", [True, False])
def test_missing_and_damaged_records_raise(tmp_path, remove):
    name, _ = make()
    load(name, tmp_path)
    directory = tmp_path / name / "1.2.0"
    (records,) = directory.glob("*.array_record*")
    (directory / "decoded.safetensors").unlink()
    if remove:
        records.unlink()
    else:
        records.write_bytes(records.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"is damaged .*: delete that directory"):
        load(name, tmp_path)


def test_nothing_is_printed_and_the_log_level_is_restored(tmp_path, capfd):
    name, _ = make()
    level = logging.getLogger("absl").level
    load(name, tmp_path)
    assert logging.getLogger("absl").level == level
    assert tuple(capfd.readouterr()) == ("", "")


# --- training ---


@pytest.mark.parametrize("channels", [(), (4,)])
def test_color_images_are_learned(tmp_path, channels):
    name, _ = make((8, 8, 3), 2, {"train": 200, "test": 50})
    data = load(name, tmp_path)
    config = nnjax.TrainConfig(
        hidden=(10,), channels=channels, activation="relu", cost="softmax_cross_entropy", initial_weights="he"
    )
    run = replace(config, learning_rate=0.3, epochs=2).fit(jax.random.key(0), data)
    assert run.history.test_accuracy[-1] > 0.9


@pytest.mark.slow
def test_the_command_line_prints_the_choice_and_trains_and_evaluates(tmp_path, run, capsys):
    name, _ = make((6, 6, 3), 5, {"train": 60, "test": 10})
    chosen = (
        f"tfds:{name}: image_key='image', label_key='label', train='train[0:50]', validation='train[50:60]'"
    )
    flags = ["--dataset", f"tfds:{name}", "--data-dir", tmp_path, "--epochs", 1, "--hidden", 4]
    assert run("data", "path", *flags[1:4]) == 0
    assert f"prepared  no   {tmp_path / name / '1.2.0'}" in capsys.readouterr().out
    assert run("data", "prepare", *flags[1:4]) == 0
    assert chosen in capsys.readouterr().out
    assert run("train", *flags, "--record", "r.json") == 0
    printed = capsys.readouterr().out
    assert chosen in printed
    model = printed.split("model in ")[1].split(":")[0]
    assert f"tfds_{name}-4-" in model
    assert json.loads((tmp_path / "r.json").read_text())["dataset"] == f"tfds:{name}"
    assert run("evaluate", model, "--data-dir", tmp_path) == 0
    assert f"tfds:{name} test: " in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_line_sweeps(tmp_path, run, capsys):
    name, _ = make((6, 6, 3), 5, {"train": 60, "test": 10})
    flags = ["--dataset", f"tfds:{name}", "--data-dir", tmp_path, "--epochs", 1, "--hidden", 4]
    assert run("sweep", *flags, "--learning-rate", 1, 3, "--plot", "s.png") == 0
    assert "image_key='image', label_key='label', train='train[0:50]'" in capsys.readouterr().out


def test_the_command_line_reports_an_unknown_name_in_one_line(run, capsys, tmp_path):
    assert run("train", "--dataset", "tfds:mnits", "--data-dir", tmp_path) == 2
    assert "did you mean 'tfds:mnist'?" in capsys.readouterr().err

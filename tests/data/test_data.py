"""Data sets: the embedded digits, MNIST if its files are available, damaged files, and wrong arrays."""

import contextlib
import dataclasses
import gzip
import hashlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.data import _cache, _sources
from nnjax.data._archives import FILES, URLS, read_idx
from nnjax.data._builders import MnistFamily
from nnjax.data.dataset import Dataset

# --- the embedded digits ---


def test_digits_are_those_of_scikit_learn_in_a_stratified_split(digits):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    splits = (digits.train, digits.validation, digits.test)
    assert [len(s.targets) for s in splits] == [1204, 297, 296]
    assert digits.train.inputs.dtype == np.uint8
    assert digits.train.inputs.max() == 255
    ours = np.concatenate([np.column_stack([s.targets, s.inputs.reshape(-1, 64)]) for s in splits])
    theirs = np.column_stack([labels, np.round(pixels / 16 * 255)])
    assert sorted(map(tuple, ours.astype(int))) == sorted(map(tuple, theirs.astype(int)))
    for s in splits:
        assert np.bincount(s.targets).min() > 0.95 * len(s.targets) / 10


# --- real MNIST ---


@pytest.mark.slow
def test_mnist_is_in_the_original_order_and_split_as_in_the_book(archives, tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "manual").symlink_to(archives)
    mnist = nnjax.load("mnist", tmp_path)
    original = {file: read_idx((archives / file).read_bytes()) for files in FILES.values() for file in files}
    images, labels = (original[file] for file in FILES["train"])
    assert images.shape == (60_000, 28, 28)
    np.testing.assert_array_equal(mnist.train.inputs, images[:50_000])
    np.testing.assert_array_equal(mnist.train.targets, labels[:50_000])
    np.testing.assert_array_equal(mnist.validation.inputs, images[50_000:])
    np.testing.assert_array_equal(mnist.validation.targets, labels[50_000:])
    np.testing.assert_array_equal(mnist.test.inputs, original[FILES["test"][0]])
    np.testing.assert_array_equal(mnist.test.targets, original[FILES["test"][1]])


def test_average_darkness_predicts_2225_images_correctly(mnist):
    """The book's count: the prediction is the digit whose mean darkness is nearest."""
    darkness = mnist.train.inputs.sum(axis=(1, 2), dtype=np.int64) / 255
    means = np.array([darkness[mnist.train.targets == digit].mean() for digit in range(10)])
    test = mnist.test.inputs.sum(axis=(1, 2), dtype=np.int64) / 255
    predictions = np.abs(test[:, None] - means).argmin(axis=1)
    assert np.sum(predictions == mnist.test.targets) == 2225


# --- preparing, with small archives of random images in the place of MNIST's ---

TRAIN_SIZE, TEST_SIZE = 60, 20


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


@pytest.fixture(scope="module")
def small_archives():
    """The arrays, and the archives that contain them, by file name."""
    rng, arrays, contents = np.random.default_rng(0), {}, {}
    for split, n in (("train", TRAIN_SIZE), ("test", TEST_SIZE)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, n, dtype=np.uint8)
        for file, part, array in zip(FILES[split], ("images", "labels"), (images, labels), strict=True):
            arrays[f"{split}_{part}"], contents[file] = array, idx(array)
    return arrays, contents


def put_archives(contents, data_dir, patch):
    """Writes small archives into the directory for manual downloads, and replaces the official checksums."""
    infos = {
        URLS["mnist"] + file: dataclasses.replace(
            MnistFamily.url_infos[URLS["mnist"] + file],
            size=len(content),
            checksum=hashlib.sha256(content).hexdigest(),
        )
        for file, content in contents.items()
    }
    patch.setattr(MnistFamily, "url_infos", infos)
    directory = _sources.manual_path("mnist", data_dir)
    directory.mkdir(parents=True)
    for file, content in contents.items():
        (directory / file).write_bytes(content)
    return directory


@pytest.fixture
def manual_dir(small_archives, tmp_path, monkeypatch):
    return put_archives(small_archives[1], tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def prepared_files(small_archives, tmp_path_factory):
    """A directory in which the small archives were prepared and cached; tests change copies of it."""
    directory = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        put_archives(small_archives[1], directory, patch)
        nnjax.load("mnist", directory)
    return directory / "mnist_family"


@pytest.fixture
def cache(prepared_files, tmp_path):
    """The cache file in a copy of the prepared data."""
    shutil.copytree(prepared_files, tmp_path / "mnist_family")
    return _sources.cache_path("mnist", tmp_path)


def assert_is_small_data_set(data, small_archives):
    arrays, _ = small_archives
    assert (len(data.train.targets), len(data.validation.targets)) == (TRAIN_SIZE, 0)
    np.testing.assert_array_equal(data.train.inputs, arrays["train_images"])
    np.testing.assert_array_equal(data.train.targets, arrays["train_labels"])
    np.testing.assert_array_equal(data.test.inputs, arrays["test_images"])
    np.testing.assert_array_equal(data.test.targets, arrays["test_labels"])


@pytest.mark.usefixtures("manual_dir")
def test_archives_are_prepared_and_cached_in_their_order(small_archives, tmp_path):
    assert not _sources.is_prepared("mnist", tmp_path)
    assert_is_small_data_set(nnjax.load("mnist", tmp_path), small_archives)
    assert _sources.is_prepared("mnist", tmp_path)
    for name, array in _cache.read_cache(_sources.cache_path("mnist", tmp_path)).items():
        np.testing.assert_array_equal(array, small_archives[0][name])


def test_the_cache_is_loaded_without_tensorflow_datasets(cache, tmp_path, small_archives):
    code = (
        "import sys, nnjax; d = nnjax.load('mnist', sys.argv[1]);"
        "print(d.train.inputs.sum(), *{'tensorflow', 'tensorflow_datasets'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == [str(small_archives[0]["train_images"].sum())]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_a_damaged_cache_is_rebuilt(cache, tmp_path, damage, small_archives):
    content = bytearray(cache.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    cache.write_bytes({"truncated": content[:-1000], "empty": b"", "other": b"{}"}.get(damage, content))
    assert _cache.read_cache(cache) is None
    assert_is_small_data_set(nnjax.load("mnist", tmp_path), small_archives)
    assert _cache.read_cache(cache) is not None


@contextlib.contextmanager
def full_disk():
    """Files cannot grow beyond 10 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_while_caching_triggers_a_warning(cache, tmp_path, small_archives):
    cache.unlink()
    with pytest.warns(UserWarning, match=r"mnist is loaded, but not cached in .*File too large"), full_disk():
        data = nnjax.load("mnist", tmp_path)
    assert_is_small_data_set(data, small_archives)
    assert not [path for path in cache.parent.iterdir() if "decoded" in path.name]


@pytest.mark.usefixtures("manual_dir")
def test_a_full_disk_while_preparing_raises_and_leaves_no_incomplete_data_set(tmp_path):
    with full_disk(), pytest.raises(nnjax.DatasetUnavailable, match="mnist cannot be prepared in"):
        nnjax.load("mnist", tmp_path)
    assert not _sources.is_prepared("mnist", tmp_path)
    assert not _sources.prepared_path("mnist", tmp_path).exists()


def test_a_damaged_archive_raises_an_error_with_its_checksum(manual_dir, small_archives, tmp_path):
    file = FILES["test"][1]
    content = bytearray(small_archives[1][file])
    content[20] ^= 1
    (manual_dir / file).write_bytes(content)
    with pytest.raises(ValueError, match=hashlib.sha256(small_archives[1][file]).hexdigest()) as error:
        nnjax.load("mnist", tmp_path)
    assert file in str(error.value)
    assert not _sources.prepared_path("mnist", tmp_path).exists()


def test_damaged_records_raise_an_error_with_the_directory_to_delete(cache, tmp_path):
    cache.unlink()
    record = next(cache.parent.glob("*-test.array_record*"))
    record.write_bytes(record.read_bytes()[:-5_000])
    with pytest.raises(ValueError, match=r"damaged .*: delete that directory") as error:
        nnjax.load("mnist", tmp_path)
    assert str(cache.parent) in str(error.value)


# --- without a connection ---


@pytest.fixture
def offline(monkeypatch):
    def unreachable(*_):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(_sources, "is_reachable", lambda url: False)
    monkeypatch.setattr(_sources, "fetch", unreachable)


@pytest.mark.parametrize("name", sorted(URLS))
def test_without_connection_and_files_the_error_says_what_to_do(name, tmp_path, offline):
    with pytest.raises(nnjax.DatasetUnavailable) as error:
        nnjax.load(name, tmp_path)
    message = str(error.value)
    assert all(file in message for files in FILES.values() for file in files)
    assert str(tmp_path / "downloads" / "manual" / name) in message
    assert "digits" in message
    assert len(message.splitlines()) < 10


def test_auto_falls_back_to_the_digits_with_a_warning(tmp_path, offline):
    with pytest.warns(UserWarning, match="embedded 8x8 digits"):
        data = nnjax.load("auto", tmp_path)
    assert data.name == "digits"


@pytest.mark.usefixtures("cache", "offline")
def test_auto_is_mnist_if_it_is_prepared(tmp_path):
    assert nnjax.load("auto", tmp_path).name == "mnist"


def test_every_file_has_its_checksum():
    table = (Path(_sources.__file__).parent / "checksums.tsv").read_text()
    rows = {row.split("\t")[0]: row.split("\t")[1:] for row in table.splitlines()}
    assert set(rows) == {url + file for url in URLS.values() for pair in FILES.values() for file in pair}
    for url, (size, checksum, name) in rows.items():
        assert int(size) > 1000
        assert len(checksum) == 64
        assert url.endswith(name)


def test_the_environment_variable_sets_the_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert _sources.resolve_data_dir() == tmp_path
    assert _sources.resolve_data_dir("elsewhere").name == "elsewhere"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert _sources.resolve_data_dir() == _sources.Path.home() / "tensorflow_datasets"


def test_an_unknown_name_raises_with_the_nearest_name():
    for wrong in ("minst", "MNIST"):
        with pytest.raises(ValueError, match="did you mean 'mnist'"):
            nnjax.load(wrong)


# --- the cache and idx files ---


def test_the_cache_returns_what_was_written_and_notices_every_changed_byte(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays = {"x": np.arange(12, dtype=np.uint8).reshape(3, 4), "y": np.array([1, 2, 3], np.int32)}
    _cache.write_cache(path, arrays)
    for name, array in _cache.read_cache(path).items():
        np.testing.assert_array_equal(array, arrays[name])
    assert os.listdir(tmp_path) == [path.name]
    for i in range(0, len(path.read_bytes()), 7):
        content = bytearray(path.read_bytes())
        content[i] ^= 16
        (tmp_path / "b").write_bytes(content)
        assert _cache.read_cache(tmp_path / "b") is None, i


def test_idx_files_are_read():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(read_idx(idx(array)), array)


# --- your own arrays ---


def test_from_arrays_keeps_shapes_and_counts_labels():
    images = np.zeros((5, 4, 6), np.uint8)
    data = Dataset.from_arrays((images, [0, 1, 2, 1, 0]), test=(images[:2], [3, 0]))
    assert data.input_shape == (4, 6)
    assert data.num_classes == 4
    assert data.train.inputs is images
    assert data.train.targets.dtype == np.int32
    assert len(data.validation.targets) == 0
    assert "train=5, validation=0, test=2" in repr(data)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (jnp.float32, jnp.float32),
        (jnp.bfloat16, jnp.bfloat16),
        (np.uint8, np.uint8),
        (np.int64, np.int32),
        (bool, np.int32),
    ],
)
def test_inputs_and_target_arrays_have_the_same_dtypes(dtype, expected):
    data = Dataset.from_arrays((np.ones((2, 3), dtype), np.ones((2, 7, 1), dtype)))
    assert data.train.inputs.dtype == data.train.targets.dtype == expected
    assert (data.num_classes, data.input_shape, data.target_shape) == (None, (3,), (7, 1))
    data = Dataset.from_arrays((np.ones((2, 3), dtype), np.ones((2, 7), dtype)), num_classes=7)
    assert data.num_classes == 7


INPUTS, LABELS = np.zeros((4, 6), np.uint8), np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": INPUTS}, r"train must be a pair \(inputs, targets\), got ndarray"),
        ({"train": (INPUTS[:0], LABELS[:0])}, "train must have at least one example, got none"),
        (
            {"train": (INPUTS[0], LABELS)},
            r"train inputs must be .* one row per .* got the shape \(6,\)",
        ),
        ({"train": (INPUTS.astype(str), LABELS)}, "train inputs must be uint8, integers or floats, got <U"),
        ({"train": (np.full((4, 6), 2**40), LABELS)}, "train inputs must fit in int32, got 1099511627776 to"),
        ({"train": (np.full((4, 6), np.nan), LABELS)}, "train inputs must be finite, got NaN"),
        ({"train": (INPUTS, LABELS[:3])}, r"one for each input, got the shape \(3,\)"),
        ({"train": (INPUTS, np.float32(1))}, r"target arrays .* got the shape \(\)"),
        ({"train": (INPUTS, -LABELS)}, "train targets must be labels from 0 to 2147483646, got -2 to 0"),
        (
            {"train": (INPUTS, LABELS + 2**32)},
            "labels from 0 to 2147483646, got 4294967296 to",
        ),
        (
            {"train": (INPUTS, INPUTS), "test": (INPUTS, INPUTS[:, :2])},
            r"test targets must have the shape \(6,\), like those of train, got \(2,\)",
        ),
        ({"train": (INPUTS, np.full((4, 2), np.inf))}, "train targets must be finite, got NaN or infinity"),
        (
            {"train": (INPUTS, LABELS), "test": (INPUTS[:, :5], LABELS)},
            r"test inputs must have the shape \(6,\), like those of train, got \(5,\)",
        ),
        ({"train": (INPUTS, LABELS), "num_classes": 2.5}, "num_classes must be an integer, got 2.5"),
        ({"train": (INPUTS, LABELS), "num_classes": 2}, "num_classes must be at least 3 .* got 2"),
    ],
)
def test_wrong_arrays_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(**arguments)

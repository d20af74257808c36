"""Data: the real MNIST where its files are at hand, and every way in which data can be wrong."""

import gzip
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.data import _cache, _sources
from nnjax.data._builders import read_idx
from nnjax.data._sources import FILES, URLS
from nnjax.data.dataset import Dataset

# --- the embedded digits ---


def test_digits_are_scikit_learns_split_by_a_fixed_rule(digits):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    splits = (digits.train, digits.validation, digits.test)
    assert [len(s.targets) for s in splits] == [1204, 297, 296]
    assert digits.train.inputs.dtype == np.uint8
    assert digits.train.inputs.max() == 255
    ours = np.concatenate([np.column_stack([s.targets, s.inputs]) for s in splits])
    theirs = np.column_stack([labels, np.round(pixels / 16 * 255)])
    assert sorted(map(tuple, ours.astype(int))) == sorted(map(tuple, theirs.astype(int)))
    for s in splits:
        assert np.bincount(s.targets).min() > 0.95 * len(s.targets) / 10


# --- real MNIST ---


def test_mnist_is_in_the_original_order_and_split_as_the_book_splits_it(mnist, archives):
    original = {file: read_idx((archives / file).read_bytes()) for files in FILES.values() for file in files}
    images, labels = (original[file] for file in FILES["train"])
    assert images.shape == (60_000, 28, 28)
    np.testing.assert_array_equal(mnist.train.inputs, images[:50_000].reshape(-1, 784))
    np.testing.assert_array_equal(mnist.train.targets, labels[:50_000])
    np.testing.assert_array_equal(mnist.validation.inputs, images[50_000:].reshape(-1, 784))
    np.testing.assert_array_equal(mnist.validation.targets, labels[50_000:])
    np.testing.assert_array_equal(mnist.test.inputs, original[FILES["test"][0]].reshape(-1, 784))
    np.testing.assert_array_equal(mnist.test.targets, original[FILES["test"][1]])


def test_average_darkness_reads_2225_images(mnist):
    """The book's count: each test image takes the digit whose mean darkness is nearest."""
    darkness = mnist.train.inputs.sum(axis=1, dtype=np.int64) / 255
    means = np.array([darkness[mnist.train.targets == digit].mean() for digit in range(10)])
    test = mnist.test.inputs.sum(axis=1, dtype=np.int64) / 255
    answers = np.abs(test[:, None] - means).argmin(axis=1)
    assert np.sum(answers == mnist.test.targets) == 2225


def test_a_second_start_reads_the_cache_and_neither_tensorflow_nor_tfds(mnist_dir):
    code = (
        "import sys, nnjax; d = nnjax.load('mnist', sys.argv[1]);"
        "print(d.train.images.sum(), *{'tensorflow', 'tensorflow_datasets'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(mnist_dir)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == [str(nnjax.load("mnist", mnist_dir).train.inputs.sum())]


def copy_prepared(mnist_dir, tmp_path):
    shutil.copytree(mnist_dir / "mnist_family", tmp_path / "mnist_family")
    return _sources.cache_path("mnist", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_a_damaged_cache_is_rebuilt(mnist_dir, tmp_path, damage):
    path = copy_prepared(mnist_dir, tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[:-1000], "empty": b"", "other": b"{}"}.get(damage, content))
    assert _cache.read_cache(path) is None
    data = nnjax.load("mnist", tmp_path)
    np.testing.assert_array_equal(data.test.targets, nnjax.load("mnist", mnist_dir).test.targets)
    assert _cache.read_cache(path) is not None


@pytest.mark.slow
def test_a_full_disk_while_caching_loses_nothing(mnist_dir, tmp_path):
    """The kernel refuses files beyond 1 MB, as a full disk would: a word, the data, no litter."""
    path = copy_prepared(mnist_dir, tmp_path)
    path.unlink()
    code = (
        "import resource, signal, sys, nnjax;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6));"
        "print(len(nnjax.load('mnist', sys.argv[1]).train.labels))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["50000"]
    assert "not cached" in out.stderr
    assert not [f for f in path.parent.iterdir() if "decoded" in f.name]


@pytest.mark.slow
def test_a_full_disk_while_preparing_is_told_and_leaves_no_half_dataset(archives, tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.parent.mkdir()
    manual.symlink_to(archives)
    code = (
        "import resource, sys; from nnjax.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6));"
        "sys.exit(main(['data', 'prepare', 'mnist', '--data-dir', sys.argv[1]]))"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert out.returncode == 2, out.stderr
    assert out.stderr.startswith("nnjax: error:")
    assert "Traceback" not in out.stderr
    assert not _sources.prepared_path("mnist", tmp_path).exists()


def test_a_damaged_archive_is_named_with_its_checksum(archives, tmp_path):
    manual = _sources.manual_path("mnist", tmp_path)
    manual.mkdir(parents=True)
    for file in archives.glob("*.gz"):
        shutil.copy(file, manual)
    damaged = manual / FILES["test"][1]
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match="f7ae60f92e00ec6d") as told:
        nnjax.load("mnist", tmp_path)
    assert damaged.name in str(told.value)
    assert not _sources.prepared_path("mnist", tmp_path).exists()


def test_damaged_records_are_told_with_the_folder_to_delete(mnist_dir, tmp_path):
    path = copy_prepared(mnist_dir, tmp_path)
    path.unlink()
    record = next(path.parent.glob("*-test.array_record*"))
    record.write_bytes(record.read_bytes()[:-50_000])
    with pytest.raises(ValueError, match=r"damaged.*delete") as told:
        nnjax.load("mnist", tmp_path)
    assert str(path.parent) in str(told.value)


# --- out of reach ---


@pytest.fixture
def offline(monkeypatch):
    def unreachable(*_):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(_sources, "is_reachable", lambda url: False)
    monkeypatch.setattr(_sources, "fetch", unreachable)


@pytest.mark.parametrize("name", sorted(URLS))
def test_without_connection_and_files_the_error_says_what_to_do(name, tmp_path, offline):
    with pytest.raises(nnjax.DatasetUnavailable) as told:
        nnjax.load(name, tmp_path)
    message = str(told.value)
    assert all(file in message for files in FILES.values() for file in files)
    assert str(tmp_path / "downloads" / "manual" / name) in message
    assert "digits" in message
    assert len(message.splitlines()) < 10


def test_auto_says_plainly_that_it_takes_the_digits(tmp_path, offline):
    with pytest.warns(UserWarning, match="embedded 8x8 digits"):
        data = nnjax.load("auto", tmp_path)
    assert data.name == "digits"


def test_auto_takes_mnist_where_it_is(mnist_dir):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nnjax.load("auto", mnist_dir).name == "mnist"


def test_every_file_has_its_checksum():
    table = (Path(_sources.__file__).parent / "checksums.tsv").read_text()
    rows = {row.split("\t")[0]: row.split("\t")[1:] for row in table.splitlines()}
    assert set(rows) == {url + file for url in URLS.values() for pair in FILES.values() for file in pair}
    for url, (size, checksum, name) in rows.items():
        assert int(size) > 1000
        assert len(checksum) == 64
        assert url.endswith(name)


def test_the_environment_says_where_data_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert _sources.resolve_data_dir() == tmp_path
    assert _sources.resolve_data_dir("elsewhere").name == "elsewhere"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert _sources.resolve_data_dir() == _sources.Path.home() / "tensorflow_datasets"


def test_an_unknown_name_suggests_the_nearest():
    for wrong in ("minst", "MNIST"):
        with pytest.raises(ValueError, match="did you mean 'mnist'"):
            nnjax.load(wrong)


# --- the cache by itself, and idx files ---


def test_the_cache_returns_what_was_written_and_knows_a_changed_file(tmp_path):
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
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (2, 3, 4))
    array = read_idx(gzip.compress(header + bytes(range(24))))
    np.testing.assert_array_equal(array, np.arange(24).reshape(2, 3, 4))


# --- arrays of one's own ---


def test_from_arrays_flattens_counts_and_keeps(digits):
    images = np.zeros((5, 4, 6), np.uint8)
    data = Dataset.from_arrays((images, [0, 1, 2, 1, 0]), test=(images[:2], [3, 0]))
    assert data.input_shape == (4, 6)
    assert data.num_classes == 4
    assert data.train.inputs.shape == (5, 24)
    assert data.train.targets.dtype == np.int32
    assert len(data.validation.targets) == 0
    assert "train=5, validation=0, test=2" in repr(data)
    for dtype in (jnp.float32, jnp.bfloat16, int, bool):
        targets = Dataset.from_arrays((jnp.ones((2, 3), jnp.bfloat16), jnp.ones((2, 7), dtype)))
        assert targets.num_classes == 7
        assert jnp.issubdtype(targets.train.targets.dtype, jnp.floating)


IMAGES, LABELS = np.zeros((4, 6), np.uint8), np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"train": (IMAGES[:0], LABELS[:0])}, "no examples"),
        ({"train": (IMAGES, LABELS[:3])}, "each of the 4 images"),
        ({"train": (IMAGES, LABELS + 2**32)}, "labels must be 0 or more"),
        ({"train": (IMAGES, LABELS), "num_classes": 2.5}, "num_classes must be a whole number"),
        ({"train": (IMAGES.astype(int), LABELS)}, "uint8.*int64"),
        ({"train": (np.full((4, 6), np.nan), LABELS)}, "NaN"),
        ({"train": (IMAGES, -LABELS)}, "0 or more"),
        ({"train": (IMAGES, LABELS + 0.5)}, "whole numbers"),
        ({"train": (IMAGES, LABELS[:, None, None])}, "whole numbers"),
        ({"train": (IMAGES[0], LABELS)}, "one row an image"),
        ({"train": IMAGES}, "pair"),
        ({"train": (IMAGES, LABELS), "test": (IMAGES[:, :5], LABELS)}, "test images have the shape"),
        ({"train": (IMAGES, LABELS), "num_classes": 2}, "num_classes is 2"),
        ({"train": (IMAGES, np.full((4, 2), np.inf))}, "NaN or infinity"),
    ],
)
def test_wrong_arrays_are_told(given, word):
    with pytest.raises(ValueError, match=word):
        Dataset.from_arrays(**given)

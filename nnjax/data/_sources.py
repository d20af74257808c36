"""`load`: a data set by name, from the decoded cache, a prepared copy, archives on disk or a download.

tensorflow-datasets is imported only to prepare a data set; afterwards loading reads one file.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnjax.data._archives import FILES, URLS
from nnjax.data._cache import read_cache, write_cache
from nnjax.data._digits import load_digits
from nnjax.data._download import Expected, fetch, is_reachable
from nnjax.data._npz import load_npz
from nnjax.data._tfds import PREFIX, load_tfds
from nnjax.data.dataset import Dataset, DatasetUnavailable
from nnjax.runtime.checks import lookup
from nnjax.runtime.files import expand_home

NAMES = (*URLS, "digits", "auto")


def is_npz(name: str) -> bool:
    """Whether `name` is the path of an .npz file, and not the name of a data set."""
    return str(name).endswith(".npz") and not is_tfds(name)


def is_tfds(name: str) -> bool:
    """Whether `name` has the form "tfds:NAME", for a data set of tensorflow-datasets."""
    return str(name).startswith(PREFIX)


def load(
    name: str = "mnist",
    data_dir: str | os.PathLike | None = None,
    *,
    image_key: str | None = None,
    label_key: str | None = None,
) -> Dataset:
    """Loads a data set by name, split as in the book: 50,000 / 10,000 / 10,000.

    Args:
      name: "mnist", "fashion_mnist" or "kmnist", 28x28 pixels in the original order; "digits", 1,797
        images of 8x8 pixels, which need no download; or "auto": mnist if it is on disk or its host
        answers within a few seconds, else digits, with a warning; or the path of an .npz file with the
        arrays train_inputs and train_targets, and optionally those of validation and test; or
        "tfds:NAME", an image classification data set of tensorflow-datasets, such as
        "tfds:emnist/letters" or "tfds:cifar10:3.0.2". A missing test split is the last sixth of the
        training examples. A missing validation split is the sixth before that, or the last sixth if there
        is a test split.
      data_dir: the directory of tensorflow-datasets; by default `$TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      image_key, label_key: the features of a "tfds:NAME" that contain the images and the labels; by default
        the builder's `supervised_keys`, else its only feature with images and its only one with labels.

    Returns:
      A `Dataset` in host memory. A named data set has uint8 images and int32 labels. For a "tfds:NAME",
      `description` states which features and splits were chosen.

    Raises:
      ValueError: an unknown name, a wrong .npz file, an archive on disk with a wrong SHA-256 sum, or a
        "tfds:NAME" that has no images of one size with labels, or does not fit in memory.
      DatasetUnavailable: the data set is not on disk, and its download or preparation failed.

    >>> load("digits")
    Dataset('digits', input_shape=(8, 8), num_classes=10, train=1204, validation=297, test=296)
    """
    if is_tfds(name):
        return load_tfds(name, resolve_data_dir(data_dir), image_key, label_key)
    if image_key is not None or label_key is not None:
        raise ValueError(
            f"image_key and label_key must be used with a name such as tfds:cifar10, got {name!r}"
        )
    if is_npz(name):
        return load_npz(Path(name))
    lookup("data set", name, dict.fromkeys(NAMES))
    if name == "digits":
        return load_digits()
    if name != "auto":
        return _book_split(name, _load_arrays(name, resolve_data_dir(data_dir)))
    try:
        return _book_split("mnist", _load_arrays("mnist", resolve_data_dir(data_dir), check_host=True))
    except DatasetUnavailable as error:
        reason = str(error).splitlines()[0].rstrip(".")
        warnings.warn(
            f"{reason}. The embedded 8x8 digits are used instead; `nnjax data path mnist` shows where the "
            "files of MNIST belong.",
            stacklevel=2,
        )
        return load_digits()


def resolve_data_dir(data_dir: str | os.PathLike | None = None) -> Path:
    """The directory of data sets: `data_dir`, else `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return expand_home(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def prepared_path(name: str, data_dir: Path) -> Path:
    """The directory of the prepared data set and of its decoded cache."""
    return data_dir / "mnist_family" / name / "1.0.0"


def cache_path(name: str, data_dir: Path) -> Path:
    """The file of the decoded arrays."""
    return prepared_path(name, data_dir) / "decoded.safetensors"


def manual_path(name: str, data_dir: Path) -> Path:
    """The directory of a data set for archives downloaded by hand; all data sets have equal file names."""
    return data_dir / "downloads" / "manual" / name


def manual_folders(name: str, data_dir: Path) -> list[Path]:
    """The directories that are searched for archives, in order; for mnist also `manual` itself."""
    directory = manual_path(name, data_dir)
    return [directory, directory.parent] if name == "mnist" else [directory]


def missing_files(folder: Path) -> list[str]:
    """The names of the archives that are not in a directory."""
    return [file for pair in FILES.values() for file in pair if not (folder / file).exists()]


def is_prepared(name: str, data_dir: Path) -> bool:
    """Whether tensorflow-datasets has finished preparing the data set."""
    return (prepared_path(name, data_dir) / "dataset_info.json").exists()


def _book_split(name: str, arrays: Mapping[str, np.ndarray]) -> Dataset:
    images, labels = arrays["train_images"], arrays["train_labels"]
    return Dataset.from_arrays(
        train=(images[:50_000], labels[:50_000]),
        validation=(images[50_000:], labels[50_000:]),
        test=(arrays["test_images"], arrays["test_labels"]),
        name=name,
        num_classes=10,
    )


def _load_arrays(name: str, data_dir: Path, check_host: bool = False) -> dict[str, np.ndarray]:
    """The decoded arrays from the cache; otherwise they are prepared and cached."""
    cache = cache_path(name, data_dir)
    arrays = read_cache(cache)
    if arrays is None:
        arrays = _prepare(name, data_dir, check_host)
        try:
            write_cache(cache, arrays)
        except OSError as error:
            warnings.warn(f"{name} is loaded, but not cached in {cache}: {error}", stacklevel=3)
    return arrays


def _prepare(name: str, data_dir: Path, check_host: bool) -> dict[str, np.ndarray]:
    """Downloads and prepares a data set if it is not yet prepared, and decodes it.

    With `check_host`, it is downloaded only if the host answers quickly.
    """
    manual_dir = next((path for path in manual_folders(name, data_dir) if not missing_files(path)), None)
    must_download = not is_prepared(name, data_dir) and not manual_dir
    if must_download and check_host and not is_reachable(URLS[name] + FILES["test"][1]):
        raise DatasetUnavailable(_instructions(name, data_dir, f"no answer from {URLS[name]}"))

    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    from nnjax.data._builders import MnistFamily

    if must_download:
        manual_dir = manual_path(name, data_dir)
        _download(name, data_dir, MnistFamily.url_infos or {})
    tfds.disable_progress_bar()
    try:
        builder: Any = MnistFamily(config=name, data_dir=data_dir, file_format="array_record")
        config = tfds.download.DownloadConfig(manual_dir=manual_dir)
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=config)
    except NonMatchingChecksumError as error:
        message = " ".join(str(error).splitlines()[:3])
        raise ValueError(f"{message} The file is damaged: download it again.") from None
    except Exception as error:  # the disk and the record writer raise many kinds
        raise DatasetUnavailable(f"{name} cannot be prepared in {data_dir}: {error}") from error
    return {
        f"{split}_{part}": array
        for split in FILES
        for part, array in _decode(builder.as_data_source(split), prepared_path(name, data_dir)).items()
    }


def _decode(source: Any, prepared: Path) -> dict[str, np.ndarray]:
    try:
        examples = source.__getitems__(range(len(source)))
    except Exception as error:  # the record reader raises many kinds for a damaged file
        raise ValueError(
            f"the prepared data in {prepared} is damaged ({error}): delete that directory"
        ) from error
    return {
        "images": np.stack([example["image"] for example in examples]),
        "labels": np.array([example["label"] for example in examples], np.uint8),
    }


def _download(name: str, data_dir: Path, url_infos: Mapping[str, Any]) -> None:
    """Downloads the archives that are missing; `url_infos` has the expected size and sum by URL."""
    directory = manual_path(name, data_dir)
    missing = {
        url: Expected(info.size, info.checksum)
        for url, info in url_infos.items()
        if url.startswith(URLS[name]) and not (directory / info.filename).exists()
    }
    try:
        fetch(missing, directory)
    except OSError as error:
        raise DatasetUnavailable(_instructions(name, data_dir, error)) from None


def _instructions(name: str, data_dir: Path, reason: object) -> str:
    files = "\n".join(f"  {file}" for pair in FILES.values() for file in pair)
    return (
        f"{name} is not prepared in {data_dir}, and cannot be downloaded: {reason}\n"
        f"With a connection, download these four files from {URLS[name]} (or a mirror):\n{files}\n"
        f"and copy them to {manual_path(name, data_dir)}\n"
        "Or use the embedded data set, which needs no download: digits."
    )

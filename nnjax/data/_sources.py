"""`load`: a data set by name, from the decoded cache, a prepared copy, files at hand or the net.

tensorflow-datasets is imported only where something has to be prepared, so a second start costs
the reading of one file.
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
from nnjax.data.dataset import Dataset
from nnjax.runtime.checks import lookup

NAMES = (*URLS, "digits", "auto")


class DatasetUnavailable(OSError):
    """A data set that is neither prepared nor to be had: out of reach, or the disk is full."""


def load(name: str = "mnist", data_dir: str | os.PathLike | None = None) -> Dataset:
    """A data set by name, split as the book splits it: 50,000 / 10,000 / 10,000.

    Args:
      name: `mnist`, `fashion_mnist` or `kmnist`, 28x28 pixels in the original order; `digits`,
        1,797 of 8x8 pixels, that need no connection; or `auto`: mnist where it can be had
        within a few seconds, else digits, with a warning that says so.
      data_dir: where tensorflow-datasets keeps its data; by default `$TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.

    Returns:
      A `Dataset` of uint8 images and int32 labels on the host.

    Raises:
      ValueError: an unknown name, or an archive at hand whose SHA-256 sum is wrong.
      DatasetUnavailable: no copy, no files and no connection, or preparing failed; it says why.

    >>> load("digits")
    Dataset('digits', image_shape=(8, 8), num_classes=10, train=1204, validation=297, test=296)
    """
    lookup("data set", name, dict.fromkeys(NAMES))
    if name == "digits":
        return load_digits()
    if name != "auto":
        return _book_split(name, _arrays(name, resolve_data_dir(data_dir)))
    try:
        return _book_split("mnist", _arrays("mnist", resolve_data_dir(data_dir), hasty=True))
    except DatasetUnavailable as error:
        warnings.warn(
            f"{str(error).splitlines()[0].rstrip('.')}. Taking the embedded 8x8 digits instead; "
            "`nnjax data prepare mnist` tells more.",
            stacklevel=2,
        )
        return load_digits()


def resolve_data_dir(data_dir: str | os.PathLike | None = None) -> Path:
    """Where data is kept: `data_dir`, else `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_path(name: str, data_dir: Path) -> Path:
    """The folder of the prepared data set, and of its decoded cache."""
    return data_dir / "mnist_family" / name / "1.0.0"


def cache_path(name: str, data_dir: Path) -> Path:
    """The file of the decoded arrays."""
    return prepared_path(name, data_dir) / "decoded.safetensors"


def manual_path(name: str, data_dir: Path) -> Path:
    """The folder for files fetched by hand: the sets of the family share file names."""
    return data_dir / "downloads" / "manual" / name


def manual_folders(name: str, data_dir: Path) -> list[Path]:
    """Where files fetched by hand are looked for, in turn; for mnist `manual/` itself will do."""
    own = manual_path(name, data_dir)
    return [own, own.parent] if name == "mnist" else [own]


def missing_files(folder: Path) -> list[str]:
    """Which of the four archives `folder` lacks."""
    return [file for pair in FILES.values() for file in pair if not (folder / file).exists()]


def is_prepared(name: str, data_dir: Path) -> bool:
    """Whether tensorflow-datasets has finished preparing the data set."""
    return (prepared_path(name, data_dir) / "dataset_info.json").exists()


def _book_split(name: str, arrays: dict[str, np.ndarray]) -> Dataset:
    images, labels = arrays["train_images"], arrays["train_labels"]
    return Dataset.from_arrays(
        train=(images[:50_000], labels[:50_000]),
        validation=(images[50_000:], labels[50_000:]),
        test=(arrays["test_images"], arrays["test_labels"]),
        name=name,
        num_classes=10,
    )


def _arrays(name: str, data_dir: Path, hasty: bool = False) -> dict[str, np.ndarray]:
    """The decoded arrays, from the cache, or prepared and cached."""
    cached = cache_path(name, data_dir)
    arrays = read_cache(cached)
    if arrays is None:
        arrays = _prepare(name, data_dir, hasty)
        try:
            write_cache(cached, arrays)
        except OSError as error:
            warnings.warn(f"{name} is loaded, but not cached in {cached}: {error}", stacklevel=3)
    return arrays


def _prepare(name: str, data_dir: Path, hasty: bool) -> dict[str, np.ndarray]:
    """Fetch and prepare with tensorflow-datasets where needed, then decode.

    If `hasty`, only from a host that answers at once.
    """
    prepared = prepared_path(name, data_dir)
    manual = next((f for f in manual_folders(name, data_dir) if not missing_files(f)), None)
    to_fetch = not is_prepared(name, data_dir) and not manual
    if to_fetch and hasty and not is_reachable(URLS[name] + FILES["test"][1]):
        raise DatasetUnavailable(_how_to_get(name, data_dir, f"no answer from {URLS[name]}"))

    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    from nnjax.data._builders import MnistFamily

    if to_fetch:
        manual = manual_path(name, data_dir)
        _fetch(name, data_dir, MnistFamily.url_infos or {})
    tfds.disable_progress_bar()
    try:
        builder: Any = MnistFamily(config=name, data_dir=data_dir, file_format="array_record")
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
    except NonMatchingChecksumError as error:
        told = " ".join(str(error).splitlines()[:3])
        raise ValueError(f"{told} The file is damaged: fetch it again.") from None
    except Exception as error:  # of the disk or the record writer: many kinds
        raise DatasetUnavailable(f"{name} could not be prepared in {data_dir}: {error}") from error
    return {
        f"{split}_{part}": array
        for split in FILES
        for part, array in _decode(builder.as_data_source(split), prepared).items()
    }


def _decode(source, prepared: Path) -> dict[str, np.ndarray]:
    try:
        examples = source.__getitems__(range(len(source)))
    except Exception as error:  # whatever the record reader raises for a damaged file
        raise ValueError(
            f"the prepared data in {prepared} is damaged; delete that folder: {error}"
        ) from error
    return {
        "images": np.stack([example["image"] for example in examples]),
        "labels": np.array([example["label"] for example in examples], np.uint8),
    }


def _fetch(name: str, data_dir: Path, infos: Mapping[str, Any]) -> None:
    """Fetch the archives that lack; `infos` tells by URL what they have to be."""
    folder = manual_path(name, data_dir)
    lacking = {
        url: Expected(info.size, info.checksum)
        for url, info in infos.items()
        if url.startswith(URLS[name]) and not (folder / info.filename).exists()
    }
    try:
        fetch(lacking, folder)
    except OSError as error:
        raise DatasetUnavailable(_how_to_get(name, data_dir, error)) from None


def _how_to_get(name: str, data_dir: Path, why: object) -> str:
    listed = "\n".join(f"  {file}" for pair in FILES.values() for file in pair)
    return (
        f"{name} is not prepared in {data_dir}, and cannot be had: {why}\n"
        f"Fetch these four files from {URLS[name]} (or a mirror) where there is a connection:\n{listed}\n"
        f"and put them into {manual_path(name, data_dir)}\n"
        "Or use the embedded data set, which needs no connection: digits."
    )

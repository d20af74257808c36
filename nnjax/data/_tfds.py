"""Image classification data sets of tensorflow-datasets, read as array_record files without TensorFlow.

The builders of tensorflow-datasets itself need TensorFlow to unpack archives and to encode arrays as images.
So the data set must be on disk already, or a custom builder must prepare it. The images of a custom builder
must be files, encoded bytes, PIL images or `Tensor` features.
"""

import contextlib
import difflib
import io
import logging
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nnjax.data._cache import read_cache, write_cache
from nnjax.data._tfds_choices import choose_keys, choose_splits
from nnjax.data.dataset import Dataset, DatasetUnavailable
from nnjax.runtime.limits import available_memory

PREFIX = "tfds:"
CHUNK_SIZE = 1024  # examples that are decoded together


def load_tfds(
    name: str, data_dir: Path, image_key: str | None = None, label_key: str | None = None
) -> Dataset:
    """The data set "tfds:NAME", "tfds:NAME/CONFIG" or "tfds:NAME:VERSION", prepared if it is not on disk.

    Args:
      name: the name, with its prefix.
      data_dir: the directory of tensorflow-datasets.
      image_key: the feature with the images; by default that of the builder's `supervised_keys`, else the
        only feature with images.
      label_key: the feature with the labels, chosen in the same way.

    Returns:
      uint8 images of the shape (height, width), or (height, width, channels) if there are several channels,
      and int32 labels. `description` states the keys, and the splits as slices of tensorflow-datasets.

    Raises:
      ValueError: an unknown name or key, images of different sizes, or data that do not fit in memory.
      DatasetUnavailable: the data set is not on disk, and cannot be prepared.
    """
    with _quiet():
        builder = _make_builder(name, data_dir)
        features: Mapping[str, Any] = builder.info.features or {}
        image_key, label_key = choose_keys(name, features, builder.info.supervised_keys, image_key, label_key)
        if not builder.is_prepared():
            _prepare(name, builder)
        formats = [file_format.value for file_format in builder.info.available_file_formats()]
        if "array_record" not in formats:
            raise ValueError(
                f"{name} in {builder.data_dir} must be stored as array_record, which can be read without "
                f"TensorFlow, got {', '.join(formats)}: {_instructions(name)}"
            )
        splits = choose_splits(
            name, {split: info.num_examples for split, info in builder.info.splits.items()}
        )
        arrays = _load_arrays(name, builder, splits, image_key, label_key)
    # The builders of cifar10 and others know their classes only after the preparation.
    num_classes = builder.info.features[label_key].num_classes
    try:
        dataset = Dataset.from_arrays(**arrays, name=name, num_classes=num_classes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    chosen = {"image_key": image_key, "label_key": label_key} | splits
    description = ", ".join(f"{which}={value!r}" for which, value in chosen.items())
    return replace(dataset, description=f"{name}: {description}")


def builder_path(name: str, data_dir: Path) -> Path:
    """The directory of the prepared data set "tfds:NAME"; raises ValueError for an unknown name."""
    with _quiet():
        return Path(_make_builder(name, data_dir).data_dir)


def _make_builder(name: str, data_dir: Path) -> Any:
    """The builder of tensorflow-datasets for "tfds:NAME"; raises ValueError if there is none."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.registered import DatasetNotFoundError

    spec = name.removeprefix(PREFIX)
    try:
        return tfds.builder(spec, data_dir=data_dir)
    except DatasetNotFoundError:
        nearest = difflib.get_close_matches(spec, tfds.list_builders(with_community_datasets=False), n=1)
        hint = f"did you mean {PREFIX + nearest[0]!r}?" if nearest else "check the name, or prepare it first"
        raise ValueError(
            f"data set must be known to tensorflow-datasets or prepared in {data_dir}, got {name!r}: {hint}"
        ) from None
    except (ValueError, AssertionError, TypeError) as error:  # a wrong form, configuration or version
        reason = textwrap.shorten(str(error).rpartition('}": ')[2], 200, placeholder=" ...")
        raise ValueError(f"data set must be tfds:NAME[/CONFIG][:VERSION], got {name!r}: {reason}") from None
    except ImportError as error:
        raise DatasetUnavailable(f"{name} cannot be loaded: {error}") from error


def _prepare(name: str, builder: Any) -> None:
    """Downloads and prepares the data set; raises DatasetUnavailable if that fails."""
    import tensorflow_datasets as tfds

    module = type(builder).__module__
    is_builtin = module.startswith("tensorflow_datasets.") and ".core." not in module
    if is_builtin and find_spec("tensorflow") is None:  # else it would fail only after the download
        raise _needs_tensorflow(name, builder)
    tfds.disable_progress_bar()
    try:
        builder.download_and_prepare(
            file_format="array_record", download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    except Exception as error:  # builders, network, disk and record writer raise exceptions of many types
        causes = [*_causes(error)]
        if any(getattr(cause, "name", None) == "tensorflow" for cause in causes):
            raise _needs_tensorflow(name, builder) from error
        reason = " ".join(str(causes[-1]).split()) or repr(causes[-1])
        raise DatasetUnavailable(f"{name} cannot be prepared in {builder.data_dir}: {reason}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _needs_tensorflow(name: str, builder: Any) -> DatasetUnavailable:
    return DatasetUnavailable(
        f"{name} must be prepared already, because its builder needs TensorFlow, got no prepared data in "
        f"{builder.data_dir}: {_instructions(name)}"
    )


def _instructions(name: str) -> str:
    return (
        f"where TensorFlow is installed, run `tfds build {name.removeprefix(PREFIX)} "
        "--file_format=array_record`, and copy the result to that directory"
    )


def _load_arrays(
    name: str, builder: Any, splits: Mapping[str, str], image_key: str, label_key: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of each split, from the decoded cache or the records.

    Raises:
      ValueError: the data do not fit in memory, or cannot be decoded.
    """
    sources = {which: _open(name, builder, split) for which, split in splits.items()}
    shape = builder.info.features[image_key].shape
    if None in shape:  # all images may have the same size although the builder declares none
        shape = _decode(name, builder, sources["train"], range(1))[0][image_key].shape
    needed = sum(map(len, sources.values())) * (math.prod(shape) + np.dtype(np.int32).itemsize)
    if needed > (available := available_memory()):
        raise ValueError(
            f"{name} must fit in the available memory of {available / 2**30:.2f} GiB, got "
            f"{needed / 2**30:.2f} GiB: save a smaller data set as an .npz file, or use more memory"
        )
    # The names state the keys and slices, so that a cache with other keys or slices is not used.
    names = {which: (f"{split} {image_key}", f"{split} {label_key}") for which, split in splits.items()}
    cache = Path(builder.data_dir) / "decoded.safetensors"
    arrays = read_cache(cache)
    if arrays is None or set(arrays) != {name for pair in names.values() for name in pair}:
        arrays = {}
        for which, source in sources.items():
            images = _decode_images(name, builder, source, image_key, label_key, shape)
            arrays |= zip(names[which], images, strict=True)
        if 2 * needed <= available:  # writing needs memory for a copy
            try:
                write_cache(cache, arrays)
            except OSError as error:
                warnings.warn(f"{name} is loaded, but cannot be cached in {cache}: {error}", stacklevel=4)
    return {which: (arrays[images], arrays[labels]) for which, (images, labels) in names.items()}


def _decode_images(
    name: str, builder: Any, source: Any, image_key: str, label_key: str, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of a split."""
    images, labels = np.empty((len(source), *shape), np.uint8), np.empty(len(source), np.int32)
    for start in range(0, len(source), CHUNK_SIZE):
        indices = range(start, min(start + CHUNK_SIZE, len(source)))
        for i, example in zip(indices, _decode(name, builder, source, indices), strict=True):
            if example[image_key].shape != shape:
                raise ValueError(
                    f"the images of {name} must have one shape, got {shape} and "
                    f"{example[image_key].shape}: resize them and use Dataset.from_arrays"
                )
            images[i], labels[i] = example[image_key], example[label_key]
    return images[..., 0] if len(shape) == 3 and shape[2] == 1 else images, labels


def _open(name: str, builder: Any, split: str) -> Any:
    with _damage_as_value_error(name, builder):
        return builder.as_data_source(split, file_format="array_record")


def _decode(name: str, builder: Any, source: Any, indices: range) -> Any:
    with _damage_as_value_error(name, builder):
        return source.__getitems__(indices)


@contextlib.contextmanager
def _damage_as_value_error(name: str, builder: Any) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # the record reader raises exceptions of many types
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the prepared data in {builder.data_dir} is damaged ({reason}): delete that directory"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the messages of tensorflow-datasets. Its errors are raised, so nothing is lost."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)

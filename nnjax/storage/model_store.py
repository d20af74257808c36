"""The user's directory of trained models, and the best model in it."""

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from nnjax.storage._model_reader import load_model
from nnjax.storage.model_file import Model

DIGIT_DATASETS = ("mnist", "digits")  # their labels are digits; models of the first one are preferred


def model_dir() -> Path:
    """The directory in which `nnjax train` saves models; it need not exist yet."""
    return platformdirs.user_data_path("nnjax") / "models"


def model_path(settings: Mapping[str, Any]) -> Path:
    """The file in `model_dir()` for a model trained with `settings`; equal settings have the same file.

    Its name states the data set, the channels of convolutions, the hidden layers and a digest of all
    settings. Floats are rounded to nine digits, because results of exp and log differ in the last bit
    between processors.

    Args:
      settings: JSON values, among them "dataset", a name, and "config", from `TrainConfig.to_json`.

    >>> model_path({"dataset": "mnist", "config": {"channels": [16, 32], "hidden": [128]}, "seed": 0}).name
    'mnist-16c-32c-128-0669502c.safetensors'
    """
    config = settings["config"]
    layers = [*(f"{n}c" for n in config.get("channels", ())), *map(str, config.get("hidden", ()))]
    content = json.dumps(_rounded(settings), sort_keys=True, default=str)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    dataset = re.sub(r"[^\w.]", "_", settings["dataset"])
    return model_dir() / f"{'-'.join([dataset, *layers, digest])}.safetensors"


def _rounded(value: Any) -> Any:
    """JSON values whose floats are rounded to nine digits."""
    if isinstance(value, Mapping):
        return {str(name): _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def best_model(directory: Path) -> tuple[Path, Model] | None:
    """The file and the model of digits with the highest validation accuracy in a directory, or None.

    Models of MNIST are preferred. Files that cannot be read, such as those of another format, are skipped
    with a warning; models of other data sets, or without ten labels, are skipped silently.
    """
    candidates = []
    for path in sorted(directory.glob("*.safetensors")):
        try:
            model = load_model(path)
        except (ValueError, OSError) as error:
            warnings.warn(f"skipped: {error}", stacklevel=2)
            continue
        has_ten_labels = model.code is not None and model.code.num_classes(model.sizes[-1]) == 10
        if model.dataset in DIGIT_DATASETS and has_ten_labels:
            is_preferred = model.dataset == DIGIT_DATASETS[0]
            candidates.append((is_preferred, model.validation_accuracy, path, model))
    return max(candidates, key=lambda candidate: candidate[:3])[2:] if candidates else None

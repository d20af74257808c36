"""The user's folder of trained models, and the best one in it."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from nnjax.storage._model_reader import load_model
from nnjax.storage.model_file import Model

OF_DIGITS = ("mnist", "digits")  # data sets whose labels are digits; MNIST's images are the finer


def model_dir() -> Path:
    """Where `nnjax train` keeps what it trains: the user's data folder, which need not exist yet."""
    return platformdirs.user_data_path("nnjax") / "models"


def model_path(settings: Mapping[str, Any]) -> Path:
    """The file for a model trained with `settings`: the same ones, the same file."""
    told = json.dumps(settings, sort_keys=True, default=str)
    what = settings["recipe"] if "recipe" in settings else "-".join(map(str, settings["hidden"]))
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return model_dir() / f"{settings['dataset']}-{what}-{digest}.safetensors"


def best_model(folder: Path) -> tuple[Path, Model] | None:
    """The model of digits in `folder` that reads most of its validation images; MNIST's go first.

    Files that are no models of digits are passed over, damaged ones with a warning.
    """
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            model = load_model(path)
        except (ValueError, OSError) as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
            continue
        if model.dataset in OF_DIGITS and model.code.num_classes(model.sizes[-1]) == 10:
            found.append((model.dataset == OF_DIGITS[0], model.validation_accuracy, path, model))
    return max(found, key=lambda one: one[:3])[2:] if found else None

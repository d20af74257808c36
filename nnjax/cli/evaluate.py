"""`nnjax evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from rich.table import Table
from tyro.conf import Positional, arg

from nnjax.cli._datasets import load_dataset
from nnjax.cli._flags import DataDir, OptionalText
from nnjax.cli._runtime_flags import Switch
from nnjax.cli.console import console, format_accuracy, print_json
from nnjax.data import Dataset
from nnjax.data._sources import NAMES, is_npz, is_tfds
from nnjax.nn._shape_checks import check_split
from nnjax.nn.metrics import confusion_matrix
from nnjax.storage import Model, load_model
from nnjax.training._epoch_loop import evaluate_epoch


@dataclass
class Evaluate:
    """Print the accuracy of a saved model and its confusion matrix, or its cost without classes."""

    model: Positional[Annotated[Path, arg(metavar="MODEL")]]
    """Model file, as `nnjax train` saves it."""
    dataset: OptionalText = None
    """Data set to evaluate on (default: the one that the model was trained on)."""
    data_dir: DataDir = None
    """Directory of the data sets."""
    json: Switch = False
    """Print the results as JSON on standard output."""

    def run(self) -> int:
        model = load_model(self.model)
        data = load_data_for(model, self.dataset, self.data_dir)
        results: dict[str, Any] = {"model": str(self.model), "dataset": data.name}
        values = jax.device_get(evaluate_epoch(model.params, model.objective, data.validation, data.test))
        for name, split in (("validation", data.validation), ("test", data.test)):
            if not (total := len(split.targets)):
                continue
            results[name] = {"cost": float(values[f"{name}_cost"]), "total": total}
            shown = f"cost {results[name]['cost']:.4f}"
            if model.code:
                correct = int(values[f"{name}_correct"])
                results[name] |= {"accuracy": correct / total, "correct": correct}
                shown = format_accuracy(correct, total)
            console.print(f"{data.name} {name}: {shown}")
        if model.code and len(data.test.targets):
            results["confusion_matrix"] = confusion_matrix(model.params, *data.test, model.objective)
            console.print(_confusion_table(np.asarray(results["confusion_matrix"])))
        if self.json:
            print_json(results)
        return 0


def _confusion_table(matrix: np.ndarray) -> Table:
    table = Table("label", *map(str, range(len(matrix))), title="test examples: predictions by label")
    for label, row in enumerate(matrix):
        table.add_row(str(label), *map(str, row))
    return table


def load_data_for(model: Model, dataset: str | None, data_dir: Path | None) -> Dataset:
    """The data set called `dataset`, by default the model's.

    Raises:
      ValueError: an unknown data set, or one whose inputs or labels do not fit the model.
    """
    can_load = model.dataset in NAMES or is_npz(model.dataset) or is_tfds(model.dataset)
    if not dataset and not can_load:
        raise ValueError(
            f"--dataset must be one of {', '.join(NAMES)} for a model trained on {model.dataset!r}, got none"
        )
    data = load_dataset(dataset or model.dataset, data_dir)
    check_split(model.objective, model.params, *data.train, data.num_classes)
    return data

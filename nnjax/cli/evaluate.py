"""`nnjax evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.table import Table
from tyro.conf import Positional, arg

from nnjax.cli._flags import DataDir, OptionalText
from nnjax.cli._runtime_flags import Switch
from nnjax.cli.console import console, format_accuracy, print_json
from nnjax.data import Dataset, load
from nnjax.data._sources import NAMES
from nnjax.nn._shape_checks import check_split
from nnjax.nn.metrics import confusion_matrix, count_correct
from nnjax.storage import Model, load_model


@dataclass
class Evaluate:
    """Print the accuracy and the confusion matrix of a saved model."""

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
        for name, split in (("validation", data.validation), ("test", data.test)):
            correct, total = int(count_correct(model.params, *split, model.objective)), len(split.targets)
            if not total:
                continue
            results[name] = {"accuracy": correct / total, "correct": correct, "total": total}
            console.print(f"{data.name} {name}: {format_accuracy(correct, total)}")
        matrix = np.asarray(confusion_matrix(model.params, *data.test, model.objective))
        table = Table("label", *map(str, range(len(matrix))), title="test images: predictions by label")
        for label, row in enumerate(matrix):
            table.add_row(str(label), *map(str, row))
        console.print(table)
        if self.json:
            print_json(results | {"confusion_matrix": matrix})
        return 0


def load_data_for(model: Model, dataset: str | None, data_dir: Path | None) -> Dataset:
    """The data set called `dataset`, by default the model's.

    Raises:
      ValueError: an unknown data set, or one whose inputs or labels do not fit the model.
    """
    if not dataset and model.dataset not in NAMES:
        raise ValueError(
            f"--dataset must be one of {', '.join(NAMES)} for a model trained on {model.dataset!r}, got none"
        )
    data = load(dataset or model.dataset, data_dir)
    check_split(model.objective, model.params, *data.train, data.num_classes)
    return data

"""`nnjax evaluate` and `nnjax baselines`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tyro.conf import Positional

from nnjax.cli.console import console, format_accuracy
from nnjax.cli.train import Train
from nnjax.data import Dataset, load
from nnjax.data._sources import NAMES
from nnjax.nn._shape_checks import check_split
from nnjax.nn.conv import layer_sizes
from nnjax.nn.metrics import confusion_matrix, count_correct
from nnjax.nn.objective import Objective
from nnjax.storage import Model, load_model


@dataclass
class Evaluate:
    """Count what a saved model reads rightly, and what it takes for what."""

    model: Positional[Path]
    """A model file, as `nnjax train --save` writes it."""
    dataset: str | None = None
    """Where to take the images from; by default the data set that the model was trained on."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""

    def run(self) -> int:
        model = load_model(self.model)
        data = _data_for(model, self.dataset, self.data_dir)
        for which, split in (("validation", data.validation), ("test", data.test)):
            right = int(count_correct(model.params, *split, model.objective))
            console.print(f"{data.name} {which}: {format_accuracy(right, len(split.targets))}")
        matrix = np.asarray(confusion_matrix(model.params, *data.test, model.objective))
        table = Table("truth", *map(str, range(len(matrix))), title="test: answers by truth")
        for truth, row in enumerate(matrix):
            table.add_row(str(truth), *map(str, row))
        console.print(table)
        return 0


@dataclass
class Baselines:
    """Count what can be read without a network, beside what a network reads."""

    dataset: str | None = None
    """Where to take the images from; by default the model's data set, without a model auto."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    model: Path | None = None
    """A model file to compare with; by default the chapter's network is trained for it first."""
    epochs: int = 30
    """How long that network is trained."""
    seed: int = 0
    """Draws that network, and the random guesses."""
    svm: bool = False
    """Fit support vector machines too: on MNIST they take minutes."""

    def run(self) -> int:
        if self.model:
            model = load_model(self.model)
            data = _data_for(model, self.dataset, self.data_dir)
            if model.code.num_classes(model.sizes[-1]) < data.num_classes:
                raise ValueError(f"{self.model} answers {model.code}: it does not say which label it is")
            return self._compare(model.params, model.objective, data)
        data = load(self.dataset or "auto", self.data_dir)
        reached = Train(epochs=self.epochs, seed=self.seed).fit(data)
        code = reached.told(data, self.epochs, "start again to compare")
        if code or reached.good is None:
            return code
        return self._compare(reached.good.params, Objective(), data)

    def _compare(self, params: Any, objective: Objective, data: Dataset) -> int:
        from nnjax import baselines  # not above: it imports scikit-learn, which takes a second

        methods: dict[str, Any] = {
            "random guess": baselines.random_guess(self.seed),
            "average darkness": baselines.average_darkness(),
        }
        if self.svm:
            console.print("fitting support vector machines: on MNIST they take minutes")
            methods |= {f"SVM, gamma={gamma}": baselines.svm(gamma) for gamma in ("auto", "scale")}
        scores = baselines.score(methods.values(), data.train, data.test, jobs=2 if self.svm else 1)
        right = {name: score.correct for name, score in zip(methods, scores, strict=True)}
        sizes = layer_sizes(params, data.train.inputs.shape[1])
        right[f"network {list(sizes)}"] = int(count_correct(params, *data.test, objective))
        of = len(data.test.targets)
        table = Table("method", "right", "share", title=f"{data.name}: {of:,} test images")
        for name, correct in right.items():
            table.add_row(name, f"{correct:,}", f"{correct / of:.2%}")
        console.print(table)
        if not self.svm:
            console.print("support vector machines are left out, since they take minutes: --svm fits them")
        return 0


def _data_for(model: Model, dataset: str | None, data_dir: Path | None) -> Dataset:
    """The named data set, else the model's own; a ValueError where the model cannot read it."""
    if not dataset and model.dataset not in NAMES:
        raise ValueError(f"the model was trained on {model.dataset!r}: say --dataset with one of {NAMES}")
    data = load(dataset or model.dataset, data_dir)
    check_split(model.objective, model.params, *data.train, data.num_classes)
    return data

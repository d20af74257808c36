"""`nnjax baselines`."""

import math
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from nnjax.cli._datasets import load_dataset
from nnjax.cli._flags import DataDir, OptionalFile, OptionalText
from nnjax.cli._runtime_flags import Switch
from nnjax.cli._settings import Settings
from nnjax.cli.console import console, percent, print_json
from nnjax.cli.evaluate import load_data_for
from nnjax.cli.train import train
from nnjax.config import TrainConfig
from nnjax.data import Dataset
from nnjax.nn.conv import layer_sizes
from nnjax.nn.metrics import count_correct
from nnjax.nn.objective import Objective
from nnjax.runtime.extras import check_extra
from nnjax.storage import load_model


@dataclass
class Baselines:
    """Compare the test accuracy of a network with methods that need no network."""

    dataset: OptionalText = None
    """Data set (default: the one that the model was trained on; without a model, auto)."""
    data_dir: DataDir = None
    """Directory of the data sets."""
    model: OptionalFile = None
    """Model file to compare with (default: the book's network, which is trained first)."""
    epochs: int = 30
    """Number of epochs for which the book's network is trained."""
    seed: int = 0
    """Seed of the book's network and of the random guess."""
    svm: Switch = False
    """Also fit support vector machines, which takes minutes on MNIST."""
    json: Switch = False
    """Print the results as JSON on standard output, and messages on standard error."""

    def run(self) -> int:
        check_extra("baselines", "nnjax baselines", "sklearn")
        settings = Settings(TrainConfig()).changed({"epochs": self.epochs, "seed": self.seed})
        if self.model:
            model = load_model(self.model)
            data = load_data_for(model, self.dataset, self.data_dir)
            code = model.objective.label_code
            if data.num_classes is None or code.num_classes(model.sizes[-1]) < data.num_classes:
                raise ValueError(
                    f"{self.model} must predict all labels of the data, got the output code {code}"
                )
            return self._compare(model.params, model.objective, data)
        data = load_dataset(self.dataset or "auto", self.data_dir)
        if data.num_classes is None:
            raise ValueError(f"the data set must have labels to classify, got {data!r}")
        outcome = train(settings, data)
        code = outcome.report(self.epochs, "start again to compare")
        if code or outcome.last_finite is None:
            return code
        return self._compare(outcome.last_finite.params, Objective(), data)

    def _compare(self, params: Any, objective: Objective, data: Dataset) -> int:
        from nnjax import baselines  # not above: it imports scikit-learn, which takes a second

        methods: dict[str, Any] = {
            "random guess": baselines.random_guess(self.seed),
            "average darkness": baselines.average_darkness(),
        }
        if self.svm:
            console.print("fitting support vector machines, which takes minutes on MNIST")
            methods |= {f"SVM, gamma={gamma}": baselines.svm(gamma) for gamma in ("auto", "scale")}
        scores = baselines.score(methods.values(), data.train, data.test, jobs=2 if self.svm else 1)
        correct = {name: score.correct for name, score in zip(methods, scores, strict=True)}
        sizes = layer_sizes(params, math.prod(data.input_shape))
        correct[f"network {list(sizes)}"] = int(count_correct(params, *data.test, objective))
        total = len(data.test.targets)
        table = Table("method", "test accuracy", "correct", title=f"{data.name}: {total:,} test images")
        for name, count in correct.items():
            table.add_row(name, percent(count / total), f"{count:,}")
        console.print(table)
        if not self.svm:
            console.print("use --svm to add support vector machines, which take minutes on MNIST")
        if self.json:
            results = {name: {"accuracy": n / total, "correct": n} for name, n in correct.items()}
            print_json({"dataset": data.name, "total": total, "methods": results})
        return 0

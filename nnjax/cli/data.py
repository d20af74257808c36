"""`nnjax data`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from nnjax.cli._datasets import load_dataset
from nnjax.cli._flags import DataDir
from nnjax.cli._runtime_flags import Switch
from nnjax.cli.console import console, print_json
from nnjax.data._archives import FILES
from nnjax.data._sources import (
    URLS,
    cache_path,
    is_tfds,
    manual_path,
    missing_files,
    prepared_path,
    resolve_data_dir,
)
from nnjax.data._tfds import builder_path
from nnjax.runtime.checks import lookup


@dataclass
class Data:
    """Prepare a data set for fast loading, or print where its files are."""

    action: Positional[Literal["prepare", "path"]]
    """prepare downloads and converts the data set; path prints the paths of its files."""
    dataset: Positional[Annotated[str, arg(metavar="[DATASET]")]] = "mnist"
    """mnist, fashion_mnist, kmnist or tfds:NAME; digits is part of scikit-learn and needs no preparation."""
    data_dir: DataDir = None
    """Directory of the data sets."""
    json: Switch = False
    """Print the results as JSON on standard output."""

    def run(self) -> int:
        if not is_tfds(self.dataset):
            lookup("data set to prepare", self.dataset, URLS)
        if self.action == "prepare":
            self._prepare()
        else:
            self._print_paths()
        return 0

    def _prepare(self) -> None:
        data = load_dataset(self.dataset, self.data_dir)
        console.print(repr(data))
        if self.json:
            splits = {name: len(getattr(data, name).targets) for name in ("train", "validation", "test")}
            shape = {"input_shape": data.input_shape, "num_classes": data.num_classes}
            print_json({"dataset": data.name} | shape | splits)

    def _print_paths(self) -> None:
        root = resolve_data_dir(self.data_dir)
        if is_tfds(self.dataset):
            paths = {"prepared": builder_path(self.dataset, root)}
        else:
            paths = {
                "prepared": prepared_path(self.dataset, root),
                "decoded": cache_path(self.dataset, root),
                "by hand": manual_path(self.dataset, root),
            }
        exists = {name: path.exists() for name, path in paths.items()}
        if "by hand" in paths:
            exists["by hand"] = not missing_files(paths["by hand"])
        for name, path in paths.items():
            console.print(f"{name:9} {'yes' if exists[name] else 'no':4} {path}")
        if not exists.get("by hand", True):
            files = ", ".join(file for pair in FILES.values() for file in pair)
            console.print(f"without a connection, copy to the last directory, unchanged: {files}")
        if self.json:
            files = {name: {"path": str(path), "exists": exists[name]} for name, path in paths.items()}
            print_json({"dataset": self.dataset, "files": files})

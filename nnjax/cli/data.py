"""`nnjax data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from nnjax.cli.console import console
from nnjax.data import load
from nnjax.data._sources import URLS, cache_path, manual_path, prepared_path, resolve_data_dir
from nnjax.runtime.checks import lookup


@dataclass
class Data:
    """Prepare a data set once, or say where it is and where to put files fetched by hand."""

    action: Positional[Literal["prepare", "where"]]
    dataset: Positional[str] = "mnist"
    """mnist, fashion_mnist or kmnist; digits is embedded and needs no preparation."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""

    def run(self) -> int:
        lookup("data set to prepare", self.dataset, URLS)
        if self.action == "prepare":
            console.print(repr(load(self.dataset, self.data_dir)))
            return 0
        root = resolve_data_dir(self.data_dir)
        places = {
            "prepared": prepared_path(self.dataset, root),
            "decoded": cache_path(self.dataset, root),
            "by hand": manual_path(self.dataset, root),
        }
        for what, path in places.items():
            console.print(f"{what:9} {'yes' if path.exists() else 'no':4} {path}")
        return 0

"""Loading the data set of a command."""

from pathlib import Path

from nnjax.cli.console import console
from nnjax.data import Dataset, load


def load_dataset(name: str, data_dir: Path | None) -> Dataset:
    """Loads a data set as `nnjax.load` does, and prints its `description` if it has one.

    Only "tfds:NAME" has a description, which states the features and splits that were chosen.
    """
    data = load(name, data_dir)
    if data.description:
        console.print(data.description)
    return data

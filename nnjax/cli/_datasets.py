"""The data set of a command."""

from pathlib import Path

from nnjax.cli.console import console
from nnjax.data import Dataset, load


def load_dataset(name: str, data_dir: Path | None) -> Dataset:
    """`nnjax.load`, which also prints the features and splits if they were chosen automatically."""
    data = load(name, data_dir)
    if data.description:
        console.print(data.description)
    return data

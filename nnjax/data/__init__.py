"""Data sets: the type `Dataset`, and `load`."""

from nnjax.data._sources import NAMES as DATASET_NAMES
from nnjax.data._sources import load
from nnjax.data.dataset import Dataset, DatasetUnavailable, Split

__all__ = ["DATASET_NAMES", "Dataset", "DatasetUnavailable", "Split", "load"]

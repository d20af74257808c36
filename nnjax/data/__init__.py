"""Data sets: what they are, and where they come from."""

from nnjax.data.dataset import Dataset, Split
from nnjax.data.sources import DatasetUnavailable, load

__all__ = ["Dataset", "DatasetUnavailable", "Split", "load"]

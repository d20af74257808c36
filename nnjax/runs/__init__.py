"""What a run leaves behind: model files and records."""

from nnjax.runs.models import Model, save
from nnjax.runs.reader import read_model
from nnjax.runs.records import environment, write_record

__all__ = ["Model", "environment", "read_model", "save", "write_record"]

"""What a run leaves behind: checkpoints, model files and records."""

from nnjax.runs.checkpoints import Checkpoint
from nnjax.runs.models import Model, save
from nnjax.runs.reader import read_model
from nnjax.runs.records import environment, write_record

__all__ = ["Checkpoint", "Model", "environment", "read_model", "save", "write_record"]

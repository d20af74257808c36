"""The files that a run writes: checkpoints, model files and records."""

from nnjax.storage._model_reader import load_model
from nnjax.storage._serialization import digest
from nnjax.storage.checkpoints import CheckpointPolicy, RunCheckpointer, as_policy, open_checkpoints
from nnjax.storage.model_file import Model, save_model
from nnjax.storage.model_store import best_model, model_dir, model_path
from nnjax.storage.records import record_json, write_record
from nnjax.storage.run_lock import lock_run_dir

__all__ = [
    "CheckpointPolicy",
    "Model",
    "RunCheckpointer",
    "as_policy",
    "best_model",
    "digest",
    "load_model",
    "lock_run_dir",
    "model_dir",
    "model_path",
    "open_checkpoints",
    "record_json",
    "save_model",
    "write_record",
]

"""The experiments in the order of the chapter, and whether they were run."""

from importlib import import_module

from experiments.experiment import Experiment, Flags
from experiments.records import Record, is_current, provenance, read_record

NAMES = (
    "perceptron_decision",
    "smoothness",
    "valley",
    "first_network",
    "several_digits",
    "real_pictures",
    "hyperparameters",
    "batch_size",
    "initial_weights",
    "output_code",
    "hidden_features",
    "gradient_descent_variants",
    "depth",
    "recurrent",
    "baselines",
    "ladder",
)

# Experiments that take hours: they run only if they are named, or in a quick run.
ONLY_BY_NAME = ("ladder",)


def default_names(quick: bool) -> list[str]:
    """The experiments that run if none is named."""
    return [name for name in NAMES if quick or name not in ONLY_BY_NAME]


def find(name: str) -> Experiment:
    """The experiment of a module, which is imported here."""
    return import_module(f"experiments.{name}").EXPERIMENT


def find_record(experiment: Experiment, flags: Flags) -> Record | None:
    """The record of an earlier run with the same settings; None if there is none.

    Raises:
      ValueError: the record is damaged, or has another format.
    """
    try:
        record = read_record(experiment.name, experiment.folder(flags))
    except FileNotFoundError:
        return None
    if not is_current(record, experiment.fingerprint(experiment.resolve(flags))):
        return None
    try:
        experiment.claims(record)
        provenance(record)
    except Exception as error:  # any exception that a missing or damaged part causes
        message = f"{type(error).__name__}: {error}"
        raise ValueError(f"the record of {experiment.name} is damaged: {message}") from error
    return record

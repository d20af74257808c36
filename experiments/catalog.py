"""The experiments in the chapter's order, found by name; and which of them are done."""

from importlib import import_module

from experiments.evidence import Experiment, Flags, Record, made_with, read

NAMES = (
    "perceptron_decision",
    "smoothness",
    "valley",
    "first_network",
    "several_digits",
    "hidden_size",
    "learning_rate",
    "hidden_size_by_learning_rate",
    "batch_size",
    "initial_weights",
    "output_code",
    "hidden_features",
    "gradient_descent_variants",
    "depth",
    "baselines",
)


def find(name: str) -> Experiment:
    """The experiment of the module called `name`, imported only now."""
    return import_module(f"experiments.{name}").EXPERIMENT


def done(experiment: Experiment, flags: Flags) -> Record | None:
    """The record of an earlier run with the same settings; None where there is none.

    Raises:
      ValueError: a damaged record, of which its claims cannot be told.
    """
    try:
        record = read(experiment.name, experiment.folder(flags))
    except FileNotFoundError:
        return None
    if record["settings"] != experiment.made_of(experiment.settle(flags)):
        return None
    try:
        experiment.claims(record)
        made_with(record)
    except Exception as error:  # whatever the missing or strange part makes of it
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"the record of {experiment.name} is damaged: {told}") from error
    return record

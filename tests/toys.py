"""Small experiments that record that they ran."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from experiments import catalog
from experiments.experiment import Claim, Experiment

RAN: list[str] = []


def toy(name="toy", fails=None, **change):
    """An experiment that adds its name to `RAN`, or raises `fails`."""

    def run(context):
        RAN.append(name)
        if fails:
            raise fails
        return {"values": np.arange(context.seeds)}

    def plot(record):
        from matplotlib import pyplot

        figure, axis = pyplot.subplots(figsize=(2, 1))
        axis.plot(record["values"])
        return figure

    def claims(record):
        return [Claim(f"{name} <counts>", "1", f"up to {record['values'][-1]}", supported=True)]

    about = f"How does {name} count?\n\nSlowly.\n"
    settings: dict[str, Any] = {"seeds": 5, "epochs": 2} | change
    return Experiment(name, about, run, plot, claims, **settings)


def install(monkeypatch, *experiments):
    """Replaces the catalog; a string is the name of an experiment that cannot be imported."""
    RAN.clear()
    monkeypatch.setattr(catalog, "NAMES", tuple(getattr(e, "name", e) for e in experiments))
    for experiment in experiments:
        module = SimpleNamespace(EXPERIMENT=experiment)
        if not isinstance(experiment, str):
            monkeypatch.setitem(sys.modules, f"experiments.{experiment.name}", module)

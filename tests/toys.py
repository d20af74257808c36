"""Small experiments that leave a trace of having run."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from experiments import catalog
from experiments.evidence import Claim, Experiment

RAN: list[str] = []


def toy(name="toy", fails=None, **change):
    """An experiment that notes its name in `RAN`, or raises `fails`."""

    def run(settings):
        RAN.append(name)
        if fails:
            raise fails
        return {"values": np.arange(settings.seeds)}

    def plot(record):
        from matplotlib import pyplot

        figure, axis = pyplot.subplots(figsize=(2, 1))
        axis.plot(record["values"])
        return figure

    def claims(record):
        return [Claim(f"{name} <counts>", "1", f"up to {record['values'][-1]}", holds=True)]

    about = f"How does {name} count?\n\nSlowly.\n\n    python -m experiments.{name}    # seconds\n"
    settings: dict[str, Any] = {"seeds": 5, "epochs": 2} | change
    return Experiment(name, about, run, plot, claims, **settings)


def install(monkeypatch, *experiments):
    """Let these be the whole catalog; a mere name is one that cannot be imported."""
    RAN.clear()
    monkeypatch.setattr(catalog, "NAMES", tuple(getattr(e, "name", e) for e in experiments))
    for experiment in experiments:
        module = SimpleNamespace(EXPERIMENT=experiment)
        if not isinstance(experiment, str):
            monkeypatch.setitem(sys.modules, f"experiments.{experiment.name}", module)

"""The report: the claims and figures of all records, as one HTML page."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path

from experiments import catalog, records
from experiments.console import format_total_time, title
from experiments.experiment import Experiment, Flags, figure_formats
from experiments.records import Record, provenance
from nnjax.compare.claims import Figure, Section, html_page
from nnjax.runtime import make_dir, write_atomically

TITLE = "The chapter, measured"
INTRO = """
The first chapter of Michael Nielsen's "Neural Networks and Deep Learning" makes claims about a network that
learns to recognize handwritten digits. This page compares them with measurements. Accuracy is in percent of
the test images. Most results are medians over several seeds; minimum, maximum and the number n of seeds are
in brackets. Networks of different seeds differ in their initial weights. In First network, Output code,
Gradient descent variants and Ladder they also differ in the order of the images. In the other experiments
all networks share that order, so that settings are compared in pairs.
"""
QUICK = """
This is a quick run on small data. It shows that every experiment runs. Its numbers cannot be compared with
those of the book.
"""
MIME_TYPES = {"png": "png", "svg": "svg+xml"}


def write(experiments: Mapping[str, Experiment], failures: dict[str, str], flags: Flags) -> Path:
    """Writes the report of all records that were made with `flags`, and returns its path.

    Args:
      experiments: those that can be imported, by name.
      failures: why an experiment has no results, by name; failures of this function are added.
      flags: the flags of the run.

    Raises:
      OSError, ValueError: the folder is not writable.
    """
    path = make_dir(report_dir(experiments.values(), flags)) / "index.html"
    sections, seconds = [], {}
    for name in catalog.NAMES:
        section = Section(title(name), missing=failures.get(name, "there is no record with these settings"))
        try:
            if name not in failures and (record := catalog.find_record(experiments[name], flags)):
                section, seconds[name] = _section(experiments[name], record, flags), record["seconds"]
        except Exception as error:  # the report still contains the other experiments
            failures[name] = f"{type(error).__name__}: {error}"
            section = Section(title(name), missing=failures[name])
        sections.append(section)
    total = f"Running all of it {format_total_time(seconds)}." if seconds else ""
    intro = "\n\n".join(filter(None, (INTRO, QUICK if flags.quick else "", total)))
    write_atomically(path, html_page(TITLE, intro, sections).encode())
    return path


def report_dir(experiments: Iterable[Experiment], flags: Flags) -> Path:
    """The folder of the report: `report` in the clone for a full run, else one next to the records."""
    others = {e.folder(flags) for e in experiments} - {records.RESULTS}
    return (others.pop() if others else records.ROOT) / "report"


def _section(experiment: Experiment, record: Record, flags: Flags) -> Section:
    question, _, text = inspect.cleandoc(experiment.about or "").partition("\n")
    return Section(
        title=title(experiment.name),
        question=question,
        text=text,
        command=command(experiment, flags),
        claims=experiment.judged_claims(record),
        figure=_figure(experiment, question, flags),
        note=provenance(record),
    )


def _figure(experiment: Experiment, question: str, flags: Flags) -> Figure:
    """The experiment's figure, in the smaller of its formats."""
    folder = experiment.folder(flags)
    files = {
        kind: (folder / f"{experiment.name}.{kind}").read_bytes() for kind in figure_formats(flags.quick)
    }
    kind = min(files, key=lambda kind: len(files[kind]))
    alt = f"{title(experiment.name)}: {question} The table above contains the main numbers of the figure."
    return Figure(files[kind], MIME_TYPES[kind], alt)


def command(experiment: Experiment, flags: Flags) -> str:
    """The command that repeats an experiment."""
    context, default = experiment.resolve(flags), experiment.resolve(Flags(quick=flags.quick))
    changed = [
        f"--{name.replace('_', '-')} {getattr(context, name)}"
        for name in ("dataset", "seeds", "epochs")
        if getattr(context, name) != getattr(default, name)
    ]
    quick = ["--quick"] if flags.quick else []
    return " ".join([f"python -m experiments {experiment.name}", *quick, *changed])

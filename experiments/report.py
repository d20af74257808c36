"""The report: what the records show, as one page."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path

from experiments import catalog, evidence
from experiments.evidence import Experiment, Flags, Record, made_with
from experiments.progress import title, where_the_time_went
from nnjax.compare.report import Figure, Section, page
from nnjax.runtime.files import make_dir, write_atomically

TITLE = "The chapter, measured"
INTRO = """
What the first chapter of Michael Nielsen's "Neural Networks and Deep Learning" says of a network that learns
to read handwritten digits, beside what was measured here: as a rule the median over several seeds, in
brackets the least and the most, and n, the number of seeds. Seeds differ in their initial weights; those
of First network, Hidden size, Output code and Gradient descent variants also in the order of the images. In
the other experiments all networks share it, so that settings are compared in pairs.
"""
QUICK = """
This is a quick run on small data: it shows that every experiment runs, not whether the chapter is right. Its
numbers are not to be held against the book's.
"""


def write(experiments: Mapping[str, Experiment], failures: dict[str, str], flags: Flags) -> Path:
    """Write the report of all records that were made with `flags`; return its path.

    Args:
      experiments: those that can be imported, by name.
      failures: why an experiment has nothing to show, by name; what fails here is added.
      flags: of the run.

    Raises:
      OSError, ValueError: a folder that cannot be written into.
    """
    path = make_dir(place(experiments.values(), flags)) / "index.html"
    sections, records = [], {}
    for name in catalog.NAMES:
        section = Section(title(name), missing=failures.get(name, "there is no record with these settings"))
        try:
            if name not in failures and (record := catalog.done(experiments[name], flags)):
                section, records[name] = _section(experiments[name], record, flags), record
        except Exception as error:  # one experiment's trouble does not take the page from the others
            failures[name] = f"{type(error).__name__}: {error}"
            section = Section(title(name), missing=failures[name])
        sections.append(section)
    seconds = {name: record["seconds"] for name, record in records.items()}
    took = f"The runs behind this page {where_the_time_went(seconds)}." if seconds else ""
    intro = "\n\n".join(filter(None, (INTRO, QUICK if flags.quick else "", took)))
    write_atomically(path, page(TITLE, intro, sections).encode())
    return path


def place(experiments: Iterable[Experiment], flags: Flags) -> Path:
    """The report's folder: the clone's `report` for a full run, else one beside the records."""
    apart = {experiment.folder(flags) for experiment in experiments} - {evidence.RESULTS}
    return (apart.pop() if apart else evidence.ROOT) / "report"


def _section(experiment: Experiment, record: Record, flags: Flags) -> Section:
    question, _, text = inspect.cleandoc(experiment.about or "").partition("\n")
    # The docstring's commands give way to the one that made this record.
    blocks = [block for block in text.split("\n\n") if "python -m experiments." not in block]
    return Section(
        title=title(experiment.name),
        question=question,
        text="\n\n".join(blocks),
        command=_command(experiment, flags),
        claims=experiment.verdicts(record),
        figure=_figure(experiment, question, flags),
        note=made_with(record),
    )


def _figure(experiment: Experiment, question: str, flags: Flags) -> Figure:
    """The experiment's figure, as PNG or SVG: whichever is smaller."""
    folder = experiment.folder(flags)
    files = {kind: (folder / f"{experiment.name}.{kind[:3]}").read_bytes() for kind in ("svg+xml", "png")}
    kind = min(files, key=lambda kind: len(files[kind]))
    alt = f"{title(experiment.name)}: {question} The table above holds the figure's main numbers."
    return Figure(files[kind], kind, alt)


def _command(experiment: Experiment, flags: Flags) -> str:
    settings, usual = experiment.settle(flags), experiment.settle(Flags(quick=flags.quick))
    changed = [
        f"--{name} {getattr(settings, name)}"
        for name in ("dataset", "seeds", "epochs")
        if getattr(settings, name) != getattr(usual, name)
    ]
    quick = ["--quick"] if flags.quick else []
    return " ".join([f"python -m experiments.{experiment.name}", *quick, *changed])

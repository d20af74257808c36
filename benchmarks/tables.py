"""The tables and sentences of README and documentation that are made from the benchmarks' records."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from benchmarks.epoch import PEERS
from benchmarks.harness import RESULTS, Record
from benchmarks.time_to_accuracy import time_to_target

# The rows of the README's table.
README_PEERS = (
    *("nnjax `fit`", "JAX, one jitted call per step", "NumPy, mini-batches", "PyTorch, eager"),
    "the book's loop",
)


def of_benchmark(name: str, table: Callable[[Record], str]) -> str:
    """The table of a benchmark's committed record, or the command that makes the record."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return f"*not run yet: `python -m benchmarks.{name}`*"
    return table(json.loads(path.read_text()))


def machine(record: Record) -> str:
    """The machine of a record, and the version of jax."""
    return f"{record['cores']} cores of {record['processor']}, jax {record['versions']['jax']}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, with an empty line after it.

    >>> markdown_table(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|---|', '| 1 | 2 |', '']
    """
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return [first, "|" + "---|" * len(head), *others, ""]


def speed_table(record: Record, names: Sequence[str] = README_PEERS) -> str:
    """Seconds per epoch of `fit` and of the named peers."""
    peers = {peer["name"]: peer for peer in record["peers"]}
    shown = [peers[name] for name in names if name in peers]
    packages = [PEERS[peer["name"]].package for peer in shown]
    libraries = [f"{name} {version}" for name, version in record["libraries"].items() if name in packages]
    counts = np.asarray([record["test_correct_after_3_epochs"][peer["name"]] for peer in shown])
    accuracies = np.median(counts, axis=1) / record["num_test"]
    head = (
        "one epoch of [784, 30, 10], m = 10",
        "seconds, median (min to max)",
        "time relative to nnjax",
    )
    rows = (
        [
            peer["name"],
            f"{peer['median']:.2f} ({min(peer['seconds']):.2f} to {max(peer['seconds']):.2f})",
            f"{1 / peer['ratio']:.1f}",
        ]
        for peer in shown
    )
    note = (
        f"{record['rounds']} alternating rounds; the relative time is the median of the rounds' ratios. "
        "50,000 images per epoch, without compilation. After three epochs every program reaches "
        f"{100 * accuracies.min():.2f} to {_percent(accuracies.max())} test accuracy (median of "
        f"{counts.shape[1]} networks). {'; '.join([*libraries, machine(record)])}; "
        "`python -m benchmarks.epoch`."
    )
    return "\n".join([*markdown_table(head, rows), note])


def epoch_table(record: Record) -> str:
    """Seconds per epoch of `fit` and of all peers."""
    return speed_table(record, [peer["name"] for peer in record["peers"]])


def population_line(record: Record) -> str:
    """The time of a network among many, relative to NumPy."""
    ours, *others = record["peers"]
    relative = {peer["name"]: 1 / peer["ratio"] for peer in others}
    return (
        f"In a sweep of {ours['name']}, an epoch of [784, 30, 10] takes {ours['median']:.3f} s per network. "
        f"NumPy with mini-batches takes {relative['NumPy, mini-batches']:.1f} times as long in the same run, "
        f"and {relative['NumPy, mini-batches, float32']:.1f} times as long in float32 "
        f"(medians of {record['rounds']} rounds; {machine(record)})."
    )


def population_table(record: Record) -> str:
    """Seconds per epoch and network of many networks and of their peers."""
    ours, *_ = record["peers"]
    head = "what is trained", "seconds per epoch and network, median", f"time relative to {ours['name']}"
    rows = ([peer["name"], f"{peer['median']:.3f}", f"{1 / peer['ratio']:.2f}"] for peer in record["peers"])
    note = f"Medians of {record['rounds']} rounds; {machine(record)}; `python -m benchmarks.population`."
    return "\n".join([*markdown_table(head, rows), note])


def startup_table(record: Record) -> str:
    """The wall time of the command, and where the time of one epoch goes."""
    parts = record["parts"].items()
    lines = [
        f"`nnjax train` takes {record['train_seconds']:.1f} s for 30 epochs with an evaluation after each, "
        f"from start to exit with warm caches, and at most {record['peak_megabytes']:.0f} MB of memory. With "
        f"`--epochs 1` it takes {record['one_epoch_seconds']:.1f} s. A script that executes the same parts "
        f"one after another takes {sum(seconds for _, seconds in parts):.1f} s:",
        "",
        *markdown_table(["part", "seconds"], ([part, f"{seconds:.2f}"] for part, seconds in parts)),
        f"Medians of {record['rounds']} runs; {machine(record)}; `python -m benchmarks.startup`.",
    ]
    return "\n".join(lines)


def compare_table(record: Record) -> str:
    """The seconds of `nnjax compare` for one optimizer, and of the same training runs in other programs."""
    total = record["runs"] * len(record["problems"])
    command, _, training, *peers = record["rows"]
    head = (
        f"{plural(total, 'run')} of AdamW on {plural(len(record['problems']), 'problem')}",
        "seconds, median (min to max)",
        f"time relative to {command['name']}",
        f"time relative to {training['name']}",
    )
    rows = (
        [
            row["name"],
            f"{row['median']:.1f} ({min(row['seconds']):.1f} to {max(row['seconds']):.1f})",
            *(f"{1 / row[ratio]:.2f}" for ratio in ("ratio", "training_ratio")),
        ]
        for row in record["rows"]
    )
    networks = ", ".join(f"{peer['networks']} ({peer['name']})" for peer in peers)
    measured = (
        "The others only train, without compilation, tuning, evaluation and report, and with one learning "
        "rate for all networks. They train a few networks of each problem, and their seconds are multiplied "
        f"to {record['runs']}: {networks}. "
    )
    libraries = [f"{name} {version}" for name, version in record["libraries"].items()]
    note = (
        f"Medians of {plural(record['rounds'], 'alternating round')}; the relative times are medians of the "
        f"rounds' ratios. {measured * bool(peers)}{'; '.join([*libraries, machine(record)])}; "
        "`python -m benchmarks.compare`."
    )
    return "\n".join([*markdown_table(head, rows), note])


def startup_line(record: Record) -> str:
    """The wall time of the command."""
    return (
        f"The whole command `nnjax train` takes {record['train_seconds']:.1f} s for 30 epochs with an "
        f"evaluation after each, from start to exit with warm caches, and {record['one_epoch_seconds']:.1f} "
        f"s for one epoch (medians of {record['rounds']} runs; {machine(record)})."
    )


def _config_rows(record: Record) -> list[tuple[str, str, str]]:
    """For each configuration: its command, test accuracies and seconds, as medians and ranges."""
    rows = []
    for config, runs in record["runs"].items():
        seconds = sorted(training["seconds"] for training in runs)
        accuracies = sorted(training["test_correct"] / record["num_test"] for training in runs)
        spread = f"({100 * accuracies[0]:.2f} to {_percent(accuracies[-1])})"
        rows.append(
            (
                f"`nnjax train --config {config}`",
                f"{_percent(statistics.median(accuracies))} {spread}",
                f"{statistics.median(seconds):.0f} ({seconds[0]:.0f} to {seconds[-1]:.0f})",
            )
        )
    return rows


def _config_note(record: Record) -> str:
    seeds = len(next(iter(record["runs"].values())))
    return f"{seeds} seeds each; {machine(record)}; `python -m benchmarks.config`"


def config_table(record: Record) -> str:
    """The test accuracy and the wall time of `nnjax train` with each named configuration for CPUs."""
    head = "command", "test accuracy, median (min to max)", "seconds from start to exit, median (min to max)"
    return "\n".join([*markdown_table(head, _config_rows(record)), f"{_config_note(record)}."])


def config_line(record: Record) -> str:
    """The same as one sentence."""
    texts = [f"{command} reaches {accuracy} test accuracy in {seconds} s"
             for command, accuracy, seconds in _config_rows(record)]  # fmt: skip
    return f"{', and '.join(texts)} from start to exit (medians of {_config_note(record)})."


def scaling_table(record: Record) -> str:
    """Seconds per epoch as one quantity grows, relative to the roofline, and memory."""
    head = "what grows", "value", "method", "seconds per epoch", "time relative to roofline", "memory, MB"
    rows = (
        [
            *(c["axis"], f"{c['x']:,}", c["method"], f"{c['median']:.4f}"),
            f"{c['median'] / c['roofline']:.1f}",
            "" if c["memory_bytes"] is None else f"{c['memory_bytes'] / 1e6:.1f}",
        ]
        for c in record["cases"]
    )
    note = (
        f"Medians of {record['rounds']} rounds; the roofline assumes {record['peak_flops'] / 1e9:.0f} "
        f"GFLOP/s, measured in the same run; {machine(record)}; `python -m benchmarks.scaling`."
    )
    return "\n".join([*markdown_table(head, rows), note])


def time_to_accuracy_table(record: Record) -> str:
    """Seconds of training until each target accuracy, and the chosen settings."""
    parts = [part for part in record.values() if part["results"]]
    results = [result for part in parts for result in part["results"]]
    lines = time_to_accuracy_rows(results, parts[0]["num_test"])
    for kind, part in record.items():
        seeds = {len(result["runs"]) for result in part["results"]}
        texts = [
            f"{kind.capitalize()} networks",
            *(f"{count} seeds each, which the search did not use" for count in seeds),
            *(f"not reached: {100 * miss['target']:g} %" for miss in part.get("missed", [])),
            f"the search tried {len(part['searched'])} settings, half of them random, half near the fastest",
            machine(part),
        ]
        lines += [f"{'; '.join(texts).replace(';', ':', 1)}.", ""]
    return "\n".join([*lines, "`python -m benchmarks.time_to_accuracy` measures both."])


def time_to_accuracy_rows(results: Sequence[Record], num_test: int) -> list[str]:
    """The lines of the table of the results for each target, without a note."""
    head = (
        "target: validation accuracy",
        "seconds of training, mean ± standard deviation (min to max)",
        *("epochs", "test accuracy, mean", "seconds to compile, median", "settings"),
    )
    return markdown_table(head, [_time_row(**result, num_test=num_test) for result in results])


def _time_row(target: float, settings: Record, runs: list[Record], num_test: int) -> list[str]:
    seconds = np.array([time_to_target(target, run) for run in runs])
    if num_missed := np.isinf(seconds).sum():
        summary = f"{num_missed} of {len(runs)} did not reach it; median {np.median(seconds):.2f}"
    else:
        summary = f"{seconds.mean():.2f} ± {seconds.std(ddof=1):.2f}"
    epochs = sorted({len(run["seconds"]) for run in runs})
    s = settings
    return [
        f"{100 * target:g} %",
        f"{summary} ({seconds.min():.2f} to {seconds.max():.2f})",
        " to ".join(str(n) for n in dict.fromkeys((epochs[0], epochs[-1]))),
        _percent(statistics.mean(run["test_correct"] for run in runs) / num_test),
        f"{np.median([run['compile_seconds'] for run in runs]):.1f}",
        f"{_layers(s)} {s['activation']}, {s['optimizer']}, η {s['learning_rate']:g} decaying over "
        f"{plural(s['decay_epochs'], 'epoch')}, m = {s['batch_size']}, {s['examples']:,} images"
        + ", distorted"
        * bool(s.get("distortions")),
    ]


def _layers(settings: Record) -> str:
    """The hidden layers of a candidate."""
    channels, hidden = settings.get("channels", []), settings["hidden"]
    convolutions = f"convolutions to {' and '.join(map(str, channels))} channels"
    return ", ".join([convolutions] * bool(channels) + [f"{hidden}"] * bool(hidden))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"

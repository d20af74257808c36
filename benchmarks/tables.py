"""What the benchmarks' records say, as the documents show it."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.time_to_accuracy import until
from benchmarks.turns import RESULTS

Record = dict[str, Any]


def of_benchmark(name: str, table: Callable[[Record], str]) -> str:
    """The table of a benchmark's committed record, or which command makes one."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return f"*not run yet: `python -m benchmarks.{name}`*"
    return table(json.loads(path.read_text()))


def machine(record: Record) -> str:
    """What a record was made on, and with which jax."""
    return f"{record['cores']} cores of {record['processor']}, jax {record['versions']['jax']}"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, and an empty one.

    >>> grid(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|---|', '| 1 | 2 |', '']
    """
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return [first, "|" + "---|" * len(head), *others, ""]


def speed_table(record: Record) -> str:
    """Seconds an epoch, beside the peers of the same run."""
    networks = np.asarray(list(record["right_after_three_epochs"].values()))
    right = np.median(networks, axis=1)
    libraries = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    lines = grid(
        ["one epoch, [784, 30, 10], m = 10", "seconds, median (least to most)", "`fit` takes, of its time"],
        (
            [p["name"], f"{p['median']:.2f} ({min(s):.2f} to {max(s):.2f})", f"{p['ratio']:.2f}"]
            for p in record["peers"]
            for s in [p["seconds"]]
        ),
    )
    lines.append(
        f"{record['rounds']} rounds, the peers in turn; the ratio is the median of each round's; 50,000 "
        f"images; compiling apart; after three epochs the peers read {right.min():,.0f} to "
        f"{right.max():,.0f} test images, each the median of {networks.shape[1]} networks; {libraries}; "
        f"{machine(record)}."
    )
    return "\n".join(lines)


def population_line(record: Record) -> str:
    """What a network costs among many, beside NumPy."""
    ours, *others = record["peers"]
    ratio = {peer["name"]: peer["ratio"] for peer in others}
    return (
        f"An epoch of [784, 30, 10] costs each of {ours['name']} {ours['median']:.3f} s: "
        f"{ratio['NumPy by mini-batches']:.2f} of what NumPy by mini-batches takes in the same run, and "
        f"{ratio['NumPy by mini-batches, float32']:.2f} of the same in float32 "
        f"(medians of {record['rounds']} rounds; {machine(record)})."
    )


def population_table(record: Record) -> str:
    """Seconds an epoch and network among many, beside the peers of the same run."""
    lines = grid(
        ["each network's share of an epoch", "seconds, median", "the first takes, of its time"],
        ([p["name"], f"{p['median']:.3f}", f"{p['ratio']:.2f}"] for p in record["peers"]),
    )
    lines.append(
        f"Medians of {record['rounds']} rounds; {machine(record)}; `python -m benchmarks.population`."
    )
    return "\n".join(lines)


def devices_table(record: Record) -> str:
    """Devices made of one processor's cores: sweeps, and `fit` beside what the model says."""
    median = {(c["what"], c["devices"], c["threads"]): c["median"] for c in record["cases"]}
    alone, shuffle = median["fit", 1, 1], median["shuffle", 1, 1]
    sweeps = [
        (
            f"{devices} device{'s' * (devices > 1)}" + ", a thread each" * (threads == 1),
            f"{seconds:.3f}",
            f"{seconds / median['sweep', 1, 0]:.2f}",
        )
        for (what, devices, threads), seconds in median.items()
        if what == "sweep"
    ]
    fits = [("1 device, a thread", f"{alone:.3f}", "")]
    for (what, devices, threads), seconds in median.items():
        if what == "fit" and threads == 0:
            max_networks_per_program = min(devices, record["cores"])
            sums = record["steps"] * median.get(("all-reduce", devices, 0), 0)
            model = ((alone - shuffle) + devices * shuffle) / max_networks_per_program + sums
            told = f"{model:.3f}" if devices > 1 else ""
            fits.append((f"{devices} device{'s' * (devices > 1)}", f"{seconds:.3f}", told))
    sums = ", ".join(f"{s * 1e6:.0f} µs on {n}" for (what, n, _), s in median.items() if what == "all-reduce")
    sweep = f"sweep of {record['networks']} networks"
    lines = grid([sweep, "seconds an epoch and network", "of the first"], sweeps)
    lines += grid([f"`fit`, m = {record['batch_size']:,}", "seconds an epoch", "the model"], fits)
    lines.append(
        f"Medians of {record['rounds']} rounds; shuffling takes {shuffle:.3f} s, an all-reduce of the "
        f"gradients {sums}; {machine(record)}; `python -m benchmarks.devices`."
    )
    return "\n".join(lines)


def start_table(record: Record) -> str:
    """What the command costs as a whole, and where the seconds of one epoch go."""
    parts = record["parts"].items()
    lines = [
        f"`nnjax train` takes {record['train_seconds']:.1f} s from shell to prompt for 30 epochs and as many "
        f"evaluations once its caches are warm, and at most {record['peak_megabytes']:.0f} MB; with "
        f"`--epochs 1` {record['one_epoch_seconds']:.1f} s. Where the latter go, in a script that does the "
        f"same part by part and takes {sum(seconds for _, seconds in parts):.1f} s:",
        "",
        *grid(["part", "seconds"], ([part, f"{seconds:.2f}"] for part, seconds in parts)),
        f"Medians of {record['rounds']}; {machine(record)}; `python -m benchmarks.start`.",
    ]
    return "\n".join(lines)


def start_line(record: Record) -> str:
    """What the command costs as a whole."""
    return (
        f"`nnjax train` as a whole, 30 epochs and as many evaluations, takes {record['train_seconds']:.1f} s "
        "from shell to prompt once its caches are warm, and with one epoch "
        f"{record['one_epoch_seconds']:.1f} s (medians of {record['rounds']}; {machine(record)})."
    )


def recipe_line(record: Record) -> str:
    """What a recipe of the command comes to, and what it takes."""
    seconds, right = (sorted(one[what] for one in record["trained"]) for what in ("seconds", "test_correct"))
    return (
        f"`nnjax train --recipe {record['recipe']}` reads {statistics.median(right):,.0f} of 10,000 test "
        f"images ({right[0]:,} to {right[-1]:,}, {len(right)} seeds) and takes "
        f"{statistics.median(seconds):.0f} s ({seconds[0]:.0f} to {seconds[-1]:.0f}) from shell to prompt "
        f"({machine(record)})."
    )


def growth_table(record: Record) -> str:
    """Seconds an epoch as one thing grows, beside the floor of the arithmetic, and memory."""
    lines = grid(
        ["what grows", "to", "way", "seconds an epoch", "of the floor", "MB"],
        (
            [c["axis"], f"{c['x']:,}", c["way"], f"{c['median']:.4f}", f"{c['median'] / c['floor']:.1f}",
             f"{c['bytes'] / 1e6:.1f}"]
            for c in record["cases"]
        ),
    )  # fmt: skip
    lines.append(
        f"Medians of {record['rounds']} rounds; the floor at {record['peak'] / 1e9:.0f} GFLOP/s, measured in "
        f"the same run; {machine(record)}; `python -m benchmarks.growth`."
    )
    return "\n".join(lines)


def time_table(record: Record) -> str:
    """Seconds of training to each share, and the settings that were chosen for it."""
    lines = grid(
        ["validation images right", "seconds of training, mean ± standard deviation (least to most)",
         "epochs", "test images right then", "compiling, s", "settings"],
        (_time_row(**result) for result in record["results"]),
    )  # fmt: skip
    lines.append(
        f"{len(record['results'][0]['runs'])} seeds each, that chose nothing; of {len(record['searched'])} "
        f"settings, half at random and half near the soonest; {machine(record)}; "
        "`python -m benchmarks.time_to_accuracy`."
    )
    return "\n".join(lines)


def _time_row(share: float, settings: dict[str, Any], runs: list[dict[str, Any]]) -> list[str]:
    seconds = np.array([until(share, run) for run in runs])
    if late := np.isinf(seconds).sum():
        told = f"{late} of {len(runs)} did not come to it; median {np.median(seconds):.2f}"
    else:
        told = f"{seconds.mean():.2f} ± {seconds.std(ddof=1):.2f}"
    epochs = sorted({len(run["seconds"]) for run in runs})
    s = settings
    return [
        f"{share:.0%}",
        f"{told} ({seconds.min():.2f} to {seconds.max():.2f})",
        " to ".join(str(n) for n in dict.fromkeys((epochs[0], epochs[-1]))),
        f"{np.mean([run['test_correct'] for run in runs]):,.0f}",
        f"{np.median([run['compiling'] for run in runs]):.1f}",
        f"{s['hidden']} {s['activation']}, {s['optimizer']}, η {s['learning_rate']:g} falling for "
        f"{s['falls_for']} epoch{'s' * (s['falls_for'] > 1)}, m = {s['batch_size']}, "
        f"{s['examples']:,} images",
    ]


def networks_table(record: Record) -> str:
    """Networks × epochs a second, by the number of networks and the way that they are trained."""

    def cells(row):
        yield f"{row['networks']:,}"
        for taken in row["seconds"].values():
            yield "–" if isinstance(taken, str) else f"{1 / np.median(taken):,.1f}"
        for seconds in row["floors"].values():
            yield f"{1 / seconds:,.0f}"

    first = record["rows"][0]
    floors = [f"memory alone, {name}" for name in first["floors"]]
    lines = grid(["networks", *first["seconds"], *floors], (list(cells(row)) for row in record["rows"]))
    whole = record["sweep_of_1000_networks_30_epochs"]
    took = f"a sweep of 1,000 networks and 30 epochs took {whole:.0f} s; " if isinstance(whole, float) else ""
    lines.append(
        f"Networks × epochs a second, medians of {record['rounds']}; –: not to be had, the record says why; "
        f"memory at {record['bandwidth'] / 1e9:.0f} GB/s; {took}{', '.join(record['devices'])}, "
        f"{machine(record)}; `python -m benchmarks.networks`."
    )
    return "\n".join(lines)

"""What the benchmarks' records say, as the documents show it."""

import json
from collections.abc import Callable
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


def speed_table(record: Record) -> str:
    """Seconds an epoch, beside the peers of the same run."""
    lines = [
        "| one epoch, [784, 30, 10], m = 10 | seconds, median (least to most) | `fit` takes, of its time |",
        "|---|---|---|",
    ]
    for peer in record["peers"]:
        s = peer["seconds"]
        lines.append(
            f"| {peer['name']} | {peer['median']:.2f} ({min(s):.2f} to {max(s):.2f}) | {peer['ratio']:.2f} |"
        )
    networks = np.asarray(list(record["right_after_three_epochs"].values()))
    right = np.median(networks, axis=1)
    libraries = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    lines.append("")
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
    lines = [
        "| each network's share of an epoch | seconds, median | the first takes, of its time |",
        "|---|---|---|",
    ]
    lines += [f"| {p['name']} | {p['median']:.3f} | {p['ratio']:.2f} |" for p in record["peers"]]
    lines.append("")
    lines.append(
        f"Medians of {record['rounds']} rounds; {machine(record)}; `python -m benchmarks.population`."
    )
    return "\n".join(lines)


def devices_table(record: Record) -> str:
    """Devices made of one processor's cores: sweeps, and `fit` beside what the model says."""
    median = {(c["what"], c["devices"], c["threads"]): c["median"] for c in record["cases"]}
    alone, shuffle = median["fit", 1, 1], median["shuffle", 1, 1]
    lines = [
        f"| sweep of {record['networks']} networks | seconds an epoch and network | of the first |",
        "|---|---|---|",
    ]
    sweeps = {k: s for k, s in median.items() if k[0] == "sweep"}
    for (_, devices, threads), seconds in sweeps.items():
        name = f"{devices} device{'s' * (devices > 1)}" + ", a thread each" * (threads == 1)
        lines.append(f"| {name} | {seconds:.3f} | {seconds / median['sweep', 1, 0]:.2f} |")
    lines += ["", f"| `fit`, m = {record['batch_size']:,} | seconds an epoch | the model |", "|---|---|---|"]
    lines.append(f"| 1 device, a thread | {alone:.3f} | |")
    for (what, devices, threads), seconds in median.items():
        if what == "fit" and threads == 0:
            at_once = min(devices, record["cores"])
            sums = record["steps"] * median.get(("all-reduce", devices, 0), 0)
            model = ((alone - shuffle) + devices * shuffle) / at_once + sums
            told = f"{model:.3f}" if devices > 1 else ""
            lines.append(f"| {devices} device{'s' * (devices > 1)} | {seconds:.3f} | {told} |")
    sums = ", ".join(f"{s * 1e6:.0f} µs on {n}" for (what, n, _), s in median.items() if what == "all-reduce")
    lines.append("")
    lines.append(
        f"Medians of {record['rounds']} rounds; shuffling takes {shuffle:.3f} s, an all-reduce of the "
        f"gradients {sums}; {machine(record)}; `python -m benchmarks.devices`."
    )
    return "\n".join(lines)


def start_table(record: Record) -> str:
    """What the command costs as a whole, and where the seconds of one epoch go."""
    lines = [
        f"`nnjax train` takes {record['train_seconds']:.1f} s from shell to prompt for 30 epochs and as many "
        f"evaluations once its caches are warm, and at most {record['peak_megabytes']:.0f} MB; with "
        f"`--epochs 1` {record['one_epoch_seconds']:.1f} s. Where these go, in a script that does the same "
        f"part by part and takes {sum(record['parts'].values()):.1f} s:",
        "",
        "| part | seconds |",
        "|---|---|",
    ]
    lines += [f"| {part} | {seconds:.2f} |" for part, seconds in record["parts"].items()]
    lines += ["", f"Medians of {record['rounds']}; {machine(record)}; `python -m benchmarks.start`."]
    return "\n".join(lines)


def start_line(record: Record) -> str:
    """What the command costs as a whole."""
    return (
        f"`nnjax train` as a whole, 30 epochs and as many evaluations, takes {record['train_seconds']:.1f} s "
        "from shell to prompt once its caches are warm, and one epoch "
        f"{record['one_epoch_seconds']:.1f} s (medians of {record['rounds']}; {machine(record)})."
    )


def growth_table(record: Record) -> str:
    """Seconds an epoch as one thing grows, beside the floor of the arithmetic, and memory."""
    lines = ["| what grows | to | way | seconds an epoch | of the floor | MB |", "|---|---|---|---|---|---|"]
    for c in record["cases"]:
        cells = c["axis"], f"{c['x']:,}", c["way"], f"{c['median']:.4f}"
        lines.append(f"| {' | '.join(cells)} | {c['median'] / c['floor']:.1f} | {c['bytes'] / 1e6:.1f} |")
    lines.append("")
    lines.append(
        f"Medians of {record['rounds']} rounds; the floor at {record['peak'] / 1e9:.0f} GFLOP/s, measured in "
        f"the same run; {machine(record)}; `python -m benchmarks.growth`."
    )
    return "\n".join(lines)


def time_table(record: Record) -> str:
    """Seconds of training to each share, and the settings that were chosen for it."""
    lines = [
        "| validation images right | seconds of training, mean ± standard deviation (least to most) | epochs "
        "| test images right then | compiling, s | settings |",
        "|---|---|---|---|---|---|",
    ]
    for result in record["results"]:
        runs, share, s = result["runs"], result["share"], result["settings"]
        seconds = np.array([until(share, run) for run in runs])
        epochs = [len(run["seconds"]) for run in runs]
        if late := np.isinf(seconds).sum():
            told = f"{late} of {len(runs)} did not come to it; median {np.median(seconds):.2f}"
        else:
            told = f"{seconds.mean():.2f} ± {seconds.std(ddof=1):.2f}"
        told += f" ({seconds.min():.2f} to {seconds.max():.2f})"
        compiling = np.median([run["compiling"] for run in runs])
        lines.append(
            f"| {share:.0%} | {told} | {min(epochs)} to {max(epochs)} "
            f"| {np.mean([run['test_correct'] for run in runs]):,.0f} | {compiling:.1f} "
            f"| {s['hidden']} {s['activation']}, {s['optimizer']}, η {s['learning_rate']:g} falling for "
            f"{s['falls_for']} epochs, m = {s['batch_size']}, {s['examples']:,} images |"
        )
    lines.append("")
    lines.append(
        f"{len(record['results'][0]['runs'])} seeds each, that chose nothing; of {len(record['searched'])} "
        f"settings, half at random and half near the soonest; {machine(record)}; "
        "`python -m benchmarks.time_to_accuracy`."
    )
    return "\n".join(lines)


def networks_table(record: Record) -> str:
    """Networks × epochs a second, by the number of networks and the way that they are trained."""
    names = list(record["rows"][0]["seconds"])
    floors = list(record["rows"][0]["floors"])
    head = ["networks", *names, *(f"memory alone, {name}" for name in floors)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in record["rows"]:
        cells = [f"{row['networks']:,}"]
        for name in names:
            taken = row["seconds"][name]
            cells.append("–" if isinstance(taken, str) else f"{1 / np.median(taken):,.1f}")
        cells += [f"{1 / seconds:,.0f}" for seconds in row["floors"].values()]
        lines.append(f"| {' | '.join(cells)} |")
    whole = record["sweep_of_1000_networks_30_epochs"]
    lines.append("")
    lines.append(
        f"Networks × epochs a second, medians of {record['rounds']}; –: not to be had, the record says why; "
        f"memory at {record['bandwidth'] / 1e9:.0f} GB/s; "
        + (f"a sweep of 1,000 networks and 30 epochs took {whole:.0f} s as a whole; " if whole else "")
        + f"{', '.join(record['devices'])}, {machine(record)}; `python -m benchmarks.networks`."
    )
    return "\n".join(lines)

"""The tables of docs/scaling.md that are made from the benchmarks' records."""

from typing import Any

from benchmarks.harness import Record
from benchmarks.tables import machine, markdown_table, plural

OPTIMIZERS, CORES_OF_MACHINE, MACHINES = 1000, 64, (1, 10, 100)  # in the table of costs


def devices_table(record: Record) -> str:
    """Sweeps and `fit` on virtual devices of one processor, and the times that the model predicts."""
    medians = {(c["task"], c["devices"], c["threads"]): c["median"] for c in record["cases"]}
    one_thread, shuffle = medians["fit", 1, 1], medians["shuffle", 1, 1]

    def predicted(devices):
        """The model of docs/scaling.md."""
        compute = (one_thread - shuffle) + devices * shuffle
        all_reduces = record["steps"] * medians["all-reduce", devices, 0]
        return compute / min(devices, record["cores"]) + all_reduces

    first = next(median for (task, *_), median in medians.items() if task == "sweep")
    sweeps = [
        (
            plural(devices, "device") + ", one thread" * (threads == 1) + " each" * (threads == 1 < devices),
            f"{seconds:.3f}",
            f"{seconds / first:.2f}",
        )
        for (task, devices, threads), seconds in medians.items()
        if task == "sweep"
    ]
    fits = [("1 device, one thread", f"{one_thread:.3f}", "")] + [
        (plural(devices, "device"), f"{seconds:.3f}", f"{predicted(devices):.3f}" if devices > 1 else "")
        for (task, devices, threads), seconds in medians.items()
        if task == "fit" and threads == 0
    ]
    all_reduces = ", ".join(
        f"{seconds * 1e6:.0f} µs on {devices}"
        for (task, devices, _), seconds in medians.items()
        if task == "all-reduce"
    )
    sweep_head = (
        f"sweep of {record['networks']} networks",
        "seconds per epoch and network",
        "time relative to the first row",
    )
    fit_head = f"`fit`, m = {record['batch_size']:,}", "seconds per epoch", "predicted by the model"
    note = (
        f"Medians of {record['rounds']} rounds; shuffling takes {shuffle:.3f} s, and an all-reduce of the "
        f"gradients {all_reduces} devices; {machine(record)}; `python -m benchmarks.devices`."
    )
    return "\n".join([*markdown_table(sweep_head, sweeps), *markdown_table(fit_head, fits), note])


def clusters_table(record: Record) -> str:
    """One sweep in one process and on two Dask workers."""
    first = record["cases"][0]["median"]
    rows = (
        (case["name"], f"{case['median']:.1f}", f"{first / case['median']:.2f}") for case in record["cases"]
    )
    units = record["networks"] // record["networks_per_unit"]
    head = (
        f"sweep of {record['networks']} networks in {units} units",
        f"seconds for {plural(record['epochs'], 'epoch')}",
        "speed relative to the first row",
    )
    note = f"Medians of {record['rounds']} rounds; {machine(record)}; `python -m benchmarks.clusters`."
    return "\n".join([*markdown_table(head, rows), note])


def cost_table(costs: Any, record: Record) -> str:
    """The hours to compare many optimizers on several machines: the larger of those of units and driver.

    Args:
      costs: the `UnitCosts` of an optimizer.
      record: the record of the benchmark of clusters.
    """
    driver_s = record["seconds_of_a_small_unit"]
    driver_hours = OPTIMIZERS * costs.number * driver_s / 3600
    rows = []
    for machines in MACHINES:
        hours = OPTIMIZERS * costs.core_hours / (machines * CORES_OF_MACHINE)
        limit = "the driver" if driver_hours > hours else "the cores"
        rows.append([str(machines), f"{max(hours, driver_hours):.3g}", limit])
    head = [f"machines with {CORES_OF_MACHINE} cores", f"hours for {OPTIMIZERS:,} optimizers", "limited by"]
    note = (
        f"The units of an optimizer are {costs.number}, and take {costs.core_hours:.2g} hours on one core of "
        f"{costs.processor}, if each is compiled. The driver is taken to need {1000 * driver_s:.0f} ms for a "
        f"unit: the time of one epoch of one network on a cluster ({machine(record)})."
    )
    return "\n".join([*markdown_table(head, rows), note])

"""Which variant of gradient descent is best on the book's network, with equal budget and equal tuning?

`nnjax.compare` tunes every variant with the same number of trials, and every run has the same number of
gradients. The book's network (30 hidden neurons, quadratic cost, weights from N(0, 1/n_in)) is trained for
about one epoch of MNIST. There are twelve tuning studies. A study draws eight settings for each variant, each
with a schedule of its learning rate, selects the one with the smallest training cost, and trains it with two
other seeds. Only the results of these two seeds are reported. All variants have the same seeds and
mini-batches, so they are compared with SGD in pairs. The p-values and intervals of the verdicts are corrected
for the number of variants.

Expected: the differences among the tuned first-order methods are small, and L-BFGS is worse, because its line
search needs gradients without noise.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from nnjax.compare import Problem, compare, protocol
from nnjax.compare.analysis import learning_curves, study_results
from nnjax.compare.plots import STYLES, forest, readable_log_ticks, sensitivity
from nnjax.compare.plots import learning_curves as draw_learning_curves
from nnjax.compare.protocol import BUDGETS, Budget
from nnjax.compare.report import Report
from nnjax.compare.statistics import format_mean_interval, format_median_range, t_interval
from nnjax.compare.verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE, judge

CONFIG = nnjax.TrainConfig(initial_weights=nnjax.lecun, batch_size=32)  # the book's network
BASE = "sgd"
VARIANTS = (
    "momentum", "nesterov", "adagrad", "rmsprop", "adamw", "lion", "muon", "schedule_free_sgd", "lbfgs",
    "gauss_newton",
)  # fmt: skip
QUICK_VARIANTS = ("momentum",)
BUDGET = BUDGETS["standard"]
QUICK_BUDGET = Budget("tiny", 2, 1, 1, 1, ("linear",), is_standard=False)
STEPS, QUICK_STEPS = 1560, 40
RATE_SCALE = 3.0  # of the learning rates of SGD and its relatives, as in the problem book_mlp
EVALUATED = 500  # training images for the training cost, and validation images for the validation error
GROUPS = (
    (f"Better than {BASE}", BETTER),
    (f"Worse than {BASE}", WORSE),
    (f"Equal to {BASE} within 5 %", EQUIVALENT),
    ("Undecided", UNDECIDED),
)


def run(context: RunContext) -> Record:
    """Compares the variants with SGD; `context.seeds` is the number of tuning studies."""
    problem = book_network(context.load(), QUICK_STEPS if context.quick else STEPS)
    names = QUICK_VARIANTS if context.quick else VARIANTS
    report = compare(
        {name: name for name in names},
        against=(BASE,),
        problems=problem,
        budget=replace(QUICK_BUDGET if context.quick else BUDGET, studies=context.seeds),
        store=context.checkpoint_dir,
        callback=lambda p: context.report(f"{p.optimizer}, unit of work {p.done} of {p.total}"),
    )
    if {BASE, *names} - {*report.runs["optimizer"]}:
        raise RuntimeError(" ".join(report.about["notes"]))
    return {"metric": problem.metric_name, "variants": variant_records(report)}


def book_network(data: nnjax.Dataset, steps: int) -> Problem:
    """The book's network. The metric is the training cost, and the reported error is the validation error."""

    def first(split: nnjax.Split) -> tuple:
        return tuple(part[:EVALUATED] for part in split)

    evaluated = nnjax.Dataset.from_arrays(
        tuple(data.train), first(data.train), first(data.validation),
        name=data.name, num_classes=data.num_classes,
    )  # fmt: skip
    return Problem(
        "book_network", lambda: evaluated, CONFIG.init_fn(data), CONFIG.objective(data),
        batch_size=CONFIG.batch_size, steps=steps, separates_by="saturation", report_on="validation",
        learning_rate_scale=RATE_SCALE,
    )  # fmt: skip


def variant_records(report: Report) -> list[Record]:
    """For each variant, the smallest cost first: results of the studies, verdict, settings and curves."""
    studies = study_results(report.runs, report.problems)
    y = {str(name): part["y"].to_numpy() for name, part in studies.groupby("optimizer")}
    # `judge` corrects for the number of problems. Here it gets variants, and corrects for their number.
    verdicts = judge({name: values - y[BASE] for name, values in y.items() if name != BASE})
    curves = {name: band for (_, name), band in learning_curves(report.runs, report.problems).items()}
    seconds = report.about["seconds"].set_index("optimizer")["seconds_alone"]
    rows = []
    for name in sorted(y, key=lambda name: y[name].mean()):
        tables: Any = [table[table["optimizer"] == name] for table in (report.runs, studies)]
        runs, results = tables
        winners = runs[(runs["kind"] == protocol.FRESH) & (runs["index"] == 0)]
        trials = runs[runs["kind"] == protocol.TRIAL].sort_values("quantile")
        rows.append(
            {
                "name": name,
                "cost": results["metric"].to_numpy(),
                "validation_error": results["error"].to_numpy(),
                "verdict": asdict(verdicts[name]) if name in verdicts else None,
                "settings": [json.loads(settings) for settings in winners["settings"]],
                "bounded_sides": protocol.bounded_sides(winners["quantile"].tolist()),
                "curve": curves[name]._asdict(),
                # Each study has one trial in each part of the range of the learning rate.
                "trial_cost": np.transpose([part["metric"] for _, part in trials.groupby("study")]),
                "seconds_alone": seconds.get(name),  # None without the standard budget
            }
        )
    return rows


def plot(record: Record) -> Any:
    """Learning curves, final training costs with intervals, and sensitivity to the learning rate."""
    from matplotlib import pyplot

    figure, (curves, final, tuning) = pyplot.subplots(
        1, 3, figsize=(15, 5.6), layout="constrained", width_ratios=(1.2, 1, 1.2)
    )
    variants = record["variants"]
    for row, style in zip(variants, STYLES, strict=False):
        curve = {name: np.asarray(values, float) for name, values in row["curve"].items()}
        band = np.stack([curve["low"], curve["median"], curve["high"]])  # the range is the band
        draw_learning_curves(curves, {row["name"]: band}, x=100 * curve["budget"], styles=[style])
        if "learning_rate" in row["settings"][0]:
            trials = np.asarray(row["trial_cost"], float)
            parts = 100 * (np.arange(len(trials)) + 0.5) / len(trials)
            sensitivity(tuning, {row["name"]: trials}, settings=parts, styles=[style])
    costs = {row["name"]: row["cost"] for row in variants}
    forest(final, costs, styles=STYLES, maximum=2 * np.median([np.mean(c) for c in costs.values()]),
           number="{:.3g}")  # fmt: skip
    final.set(xlabel=f"{record['metric']}: mean and 95 % interval")
    final.grid(axis="x", alpha=0.3)
    curves.set(xlabel="budget used (%)", ylabel=f"{record['metric']}: median, 10 % to 90 %", yscale="log")
    tuning.set(xlabel="learning rate (% of its range)", yscale="log")
    tuning.set_ylabel(f"{record['metric']}: mean of the trials")
    for axis in (curves.yaxis, tuning.yaxis):
        readable_log_ticks(axis)
    handles = curves.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure


def claims(record: Record) -> list[Claim]:
    """A claim for each variant, then one for each verdict. None is from the book, which only uses SGD."""
    variants = record["variants"]
    verdicts = {row["name"]: row["verdict"]["verdict"] for row in variants if row["verdict"]}
    result = [(row["name"], describe(row)) for row in variants]
    for statement, verdict in GROUPS:
        members = [name for name in verdicts if verdicts[name] == verdict]
        result.append((statement, ", ".join(members) or "none"))
    return [Claim(statement, "", measured, from_book=False) for statement, measured in result]


def describe(row: Mapping[str, Any]) -> str:
    """The results of a variant in words."""
    logs = np.log(row["cost"])
    low, high = np.exp(t_interval(logs))
    parts = [
        f"training cost {np.exp(logs.mean()):.3g} ({low:.3g} to {high:.3g}, n = {len(logs)})",
        f"validation error {format_mean_interval(100 * np.asarray(row['validation_error'], float))}",
    ]
    if verdict := row["verdict"]:
        effect, low, high = (100 * np.expm1(verdict[name]) for name in ("effect", "low", "high"))
        parts.append(
            f"cost {effect:+.1f} % ({low:+.1f} % to {high:+.1f} %) compared with {BASE}, "
            f"p = {verdict['p']:.2g}: {verdict['verdict']}"
        )
    if rates := [settings["learning_rate"] for settings in row["settings"] if "learning_rate" in settings]:
        ends = [end for end, bounded in zip(("low", "high"), row["bounded_sides"], strict=True) if bounded]
        edge = f", at the {' and '.join(ends)} end of its range" if ends else ""
        parts.append(f"learning rate {format_median_range(rates, '{:.2g}')}{edge}")
    if seconds := row["seconds_alone"]:
        parts.append(f"{seconds:.1f} s alone")
    return "; ".join(parts)


EXPERIMENT = Experiment(
    "gradient_descent_variants", __doc__, run, plot, claims, seeds=BUDGET.studies, minutes=13,
    uses=("dataset", "seeds"),
    constants={
        "config": CONFIG.to_json(), "base": BASE, "variants": VARIANTS, "steps": STEPS,
        "evaluated": EVALUATED, "learning_rate_scale": RATE_SCALE, "protocol": protocol.VERSION,
        "budget": asdict(BUDGET),
    },
)  # fmt: skip

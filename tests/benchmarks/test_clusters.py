"""The benchmark of clusters, and the model of the costs of many optimizers."""

import pandas as pd
import pytest

from benchmarks import clusters
from benchmarks.harness import Flags
from benchmarks.scaling_tables import clusters_table, cost_table
from nnjax.compare.baselines.leaderboard import FOLDER, UnitCosts, unit_costs
from nnjax.compare.problems import SUITES
from nnjax.compare.protocol import BUDGETS, final_runs, trial_runs, units


def test_many_optimizers_are_limited_by_the_cores_or_by_the_driver():
    costs = UnitCosts(number=100, core_hours=6.4, processor="x")
    record = {"cores": 2, "processor": "y", "versions": {"jax": "0"}, "seconds_of_a_small_unit": 0.072}
    table = cost_table(costs, record)
    # 1000 · 6.4 core-hours on 64, 640 and 6,400 cores; 1000 · 100 units of 72 ms
    for row in ("| 1 | 100 | the cores |", "| 10 | 10 | the cores |", "| 100 | 2 | the driver |"):
        assert row in table


def test_the_costs_of_an_optimizer_agree_with_the_recorded_units():
    budget, costs = BUDGETS["standard"], unit_costs("standard")
    winners = dict.fromkeys(budget.study_numbers, ())
    per_problem = sum(
        len(units(runs, lambda run: 1)) for runs in (trial_runs(budget), final_runs(budget, winners))
    )
    assert costs.number == per_problem * len(SUITES["standard"])
    recorded = pd.read_parquet(FOLDER / "standard-timings.parquet").query("kind == 'unit'")
    hours = recorded.groupby("optimizer").total.sum().median() / 3600
    assert hours < costs.core_hours < 2 * hours  # each unit is compiled, not only the first


def test_the_table_of_clusters_compares_with_one_thread():
    cases = [{"name": "one", "median": 10.0}, {"name": "two", "median": 5.0}]
    record = {"cases": cases, "cores": 2, "processor": "x", "versions": {"jax": "0"}, "rounds": 1,
              "networks": 64, "networks_per_unit": 16, "epochs": 4}  # fmt: skip
    assert "| two | 5.0 | 2.00 |" in clusters_table(record)
    assert "64 networks in 4 units" in clusters_table(record)


@pytest.mark.slow
def test_the_benchmark_of_clusters_runs(monkeypatch):
    for name, value in {"NETWORKS": 2, "NETWORKS_PER_UNIT": 1, "EPOCHS": 1, "SMALL_UNITS": 2}.items():
        monkeypatch.setattr(clusters, name, value)
    record = clusters.run(Flags(dataset="digits", rounds=1))
    assert [len(case["seconds"]) for case in record["cases"]] == [1, 1, 1]
    assert record["seconds_of_a_small_unit"] > 0

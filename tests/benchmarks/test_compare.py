"""The peers of `nnjax compare` train what the command trains, and the record compares them with it."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import compare, compare_peers
from benchmarks.compare import EMPTY, PEERS, TRAINING, WARM, Flags
from benchmarks.compare_peers import make_training, optax_scan
from benchmarks.tables import compare_table
from nnjax.compare.problems import PROBLEMS, SUITES
from nnjax.nn.objective import mean_cost

TORCH = {"reason": "needs torch, which only the benchmarks use"}
ignore_torch = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's


@pytest.fixture
def standard_promotion():
    """Adam of optax mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def _perturbed(training):
    """A training that starts at random parameters: some problems start at zeros or ones."""
    rng = np.random.default_rng(0)

    def perturb(leaf):
        return leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype)

    return training._replace(params=[jax.tree.map(perturb, params) for params in training.params])


@ignore_torch
@pytest.mark.parametrize("name", SUITES["quick"])
def test_gradients_in_pytorch_equal_those_of_jax(name):
    torch = pytest.importorskip("torch", **TORCH)
    training = _perturbed(make_training(PROBLEMS[name], 1, steps=1))
    params, rows = training.params[0], training.orders[0, 0]
    x, y = training.inputs[rows], training.targets[rows]
    expected = jax.grad(mean_cost)(params, training.problem.objective, jnp.asarray(x), jnp.asarray(y), None)
    x, y = (torch.tensor(a) if a.dtype == np.float32 else torch.tensor(a).long() for a in (x, y))
    tensors = [torch.tensor(np.asarray(leaf), requires_grad=True) for leaf in jax.tree.leaves(params)]
    grads = torch.autograd.grad(compare_peers.torch_costs()[name](tensors, x, y), tensors)
    for grad, leaf in zip(grads, jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(grad, leaf, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@ignore_torch
@pytest.mark.parametrize("name", SUITES["quick"])
def test_peers_train_the_same_networks(name, standard_promotion):
    pytest.importorskip("torch", **TORCH).set_num_threads(1)
    training = _perturbed(make_training(PROBLEMS[name], 2, steps=20))
    first, *others = [peer.make(training)(2) for peer in PEERS.values()]
    for trained in others:
        for ours, expected in zip(jax.tree.leaves(trained), jax.tree.leaves(first), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_networks_differ_in_their_order_and_an_epoch_uses_no_example_twice():
    problem = PROBLEMS["digits_rnn"]
    training = make_training(problem, 2, steps=31)
    epoch = training.orders[:, :30].reshape(2, -1)
    assert training.orders.shape == (2, 31, problem.batch_size)
    assert (np.sort(epoch) == np.arange(1200)).all()
    assert (epoch[0] != epoch[1]).any()
    assert training.learning_rates[0] == 0
    assert 0 < training.learning_rates[-1] < training.learning_rates.max() <= compare_peers.LEARNING_RATE


def test_optax_lowers_the_cost(standard_promotion):
    training = make_training(PROBLEMS["bigram"], 1, steps=5)
    (table,), (initial,) = optax_scan(training)(1)[0], jax.tree.leaves(training.params)
    examples = jnp.asarray(training.inputs), jnp.asarray(training.targets)
    cost, before = (
        mean_cost(p, training.problem.objective, *examples, None) for p in (jnp.asarray(table), initial)
    )
    assert cost < before


def test_the_record_compares_peers_with_the_command(monkeypatch):
    whole_and_training = iter([(9.0, 1.0), (4.0, 2.0), (6.0, 1.0), (3.0, 2.0)])
    monkeypatch.setattr(compare, "time_command", lambda folder, problems: next(whole_and_training))
    monkeypatch.setattr(
        compare, "check_plan",
        lambda problems: SimpleNamespace(
            tasks=[SimpleNamespace(problem=PROBLEMS[n]) for n in problems], budget=SimpleNamespace(runs=48)
        ),
    )  # fmt: skip
    monkeypatch.setattr(compare, "PEERS", {"peer": compare.Peer(lambda training: lambda n: [], 2, "optax")})
    monkeypatch.setattr(compare.TimedPeer, "__call__", lambda self: 0.125)
    record = compare.run(Flags(problems=("quadratic", "bigram"), rounds=2))
    empty, warm, training, peer = record["rows"]
    assert [row["name"] for row in record["rows"]] == [EMPTY, WARM, TRAINING, "peer"]
    assert (empty["seconds"], warm["seconds"], training["seconds"]) == ([9.0, 6.0], [4.0, 3.0], [2.0, 2.0])
    assert peer["seconds"] == [12.0, 12.0]
    assert peer["seconds_by_problem"] == {"quadratic": [6.0, 6.0], "bigram": [6.0, 6.0]}
    assert peer["training_ratio"] == pytest.approx(2 / 12)
    assert json.loads(json.dumps(record)) == record
    table = compare_table(record)
    assert "| peer | 12.0 (12.0 to 12.0) | 1.60 | 6.00 |" in table
    assert "2 (peer)" in table


def test_a_baseline_without_shipped_results_raises_an_error(monkeypatch):
    monkeypatch.setattr(compare, "to_train", lambda plan: plan.tasks)
    with pytest.raises(RuntimeError, match="results of adamw must be shipped, got none for bigram: run"):
        compare.check_plan(("bigram",))

"""`sweep` trains every cell as `fit` would alone, labels it rightly, and goes on where it stopped."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.sweep import _plan
from reference import distance

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def small(digits):
    """1,000 digits: 100 steps an epoch, which even η = 3 does not make chaotic."""
    images, labels = digits.train
    return nnjax.Dataset.from_arrays((images[:1000], labels[:1000]), test=tuple(digits.test))


def alone(grid, data, sizes, seed, epochs=1, initial_weights=nnjax.standard_normal, **settings):
    """One network of a grid trained by `fit`, with the keys that the grid derives."""
    init_key, fit_key = grid.rng_keys(seed)
    params = nnjax.init(init_key, sizes, initial_weights)
    return nnjax.fit(fit_key, params, data, epochs=epochs, **settings)


@pytest.mark.parametrize("shared_batches", [True, False])
def test_any_cell_trained_alone_agrees(x64, small, shared_batches):
    grid = nnjax.sweep(
        KEY, small, hidden=(7, 8), learning_rate=(0.3, 3), seeds=2, epochs=1, shared_batches=shared_batches
    )
    for hidden, rate, seed in [(7, 3, 1), (8, 0.3, 0), (7, 0.3, 1)]:
        run = alone(grid, small, (64, hidden, 10), seed, 1, learning_rate=rate)
        here = {"hidden": hidden, "learning_rate": rate, "seed": seed}
        assert distance(grid.params(**here), run.params) < 1e-10
        told = grid.data.sel(here)
        assert told.test_correct.item() == run.history.test_correct[0]
        assert told.cost.item() == pytest.approx(run.history.train_cost[0], abs=1e-12)


def test_axes_are_labelled_in_the_order_given_and_rows_are_tidy(small):
    grid = nnjax.sweep(
        KEY, small, hidden=[4, (4, 3)], optimizer=optax.adam, learning_rate=0.01, b1=(0.8, 0.9),
        nesterov=(False, True), seeds=3, epochs=2, batch_size=100,
    )  # fmt: skip
    assert grid.test_correct.dims == ("hidden", "b1", "nesterov", "seed", "epoch")
    assert grid.test_correct.shape == (2, 2, 2, 3, 2)
    assert grid.data.hidden.values.tolist() == [4, "4-3"]
    assert grid.data.seed.values.tolist() == [0, 1, 2]
    rows = grid.to_dataframe()
    assert len(rows) == 48
    one = rows[
        (rows.hidden == "4-3") & (rows.b1 == 0.9) & rows.nesterov & (rows.seed == 2) & (rows.epoch == 1)
    ]
    here = grid.data.sel(hidden="4-3", b1=0.9, nesterov=True, seed=2, epoch=1)
    assert one.test_correct.item() == here.test_correct.item()
    assert [layer.b.shape for layer in grid.params(hidden="4-3", b1=0.8, nesterov=False, seed=0)] == [
        (4,), (3,), (10,)
    ]  # fmt: skip


@pytest.mark.slow
def test_objectives_and_initial_weights_make_axes_too(x64, small):
    def decay(rate, params):
        return rate * sum(jnp.sum(layer.w**2) for layer in params)

    objectives = {
        rate: nnjax.Objective(penalty=jax.tree_util.Partial(decay, rate)) for rate in (0.0, 0.001)
    } | {"binary": nnjax.Objective(code=nnjax.binary)}
    grid = nnjax.sweep(
        KEY, small, hidden=6, objective=objectives, initial_weights=(nnjax.standard_normal, nnjax.lecun),
        learning_rate=1.0, epochs=1,
    )  # fmt: skip
    assert grid.data.initial_weights.values.tolist() == ["gaussian", "scaled"]
    for label, n_out in [(0.001, 10), ("binary", 4)]:
        run = alone(
            grid, small, (64, 6, n_out), 0, 1, nnjax.lecun, objective=objectives[label], learning_rate=1.0
        )
        assert distance(grid.params(objective=label, initial_weights="scaled", seed=0), run.params) < 1e-10


def test_a_model_of_ones_own_is_swept(x64, small):
    objective = nnjax.Objective(
        forward=lambda params, x, key: params["w"] @ x, cost=nnjax.softmax_cross_entropy
    )

    def init(key):
        return {"w": jax.random.normal(key, (10, 64)) / 8}

    grid = nnjax.sweep(
        KEY, small, init=init, objective=objective, optimizer=nnjax.momentum, learning_rate=(0.01, 0.1),
        momentum=(0.0, 0.9), seeds=2, epochs=1,
    )  # fmt: skip
    init_key, fit_key = grid.rng_keys(1)
    run = nnjax.fit(
        fit_key, init(init_key), small, objective=objective, optimizer=nnjax.momentum, learning_rate=0.1,
        momentum=0.9, epochs=1,
    )  # fmt: skip
    found = grid.params(learning_rate=0.1, momentum=0.9, seed=1)["w"]
    np.testing.assert_allclose(found, run.params["w"], rtol=0, atol=1e-10)


@pytest.mark.slow
def test_widths_that_an_optimizer_would_see_padded_run_one_after_another(x64, small):
    settings = {"optimizer": optax.contrib.muon, "learning_rate": 0.02, "batch_size": 100, "epochs": 1}
    grid = nnjax.sweep(KEY, small, hidden=(9, 10), **settings)
    for hidden in (9, 10):
        run = alone(grid, small, (64, hidden, 10), 0, **settings)
        assert distance(grid.params(hidden=hidden), run.params) < 1e-10


def test_padding_is_tried_for_every_setting(x64, small):
    """The first of them moves nothing, and would not show that the others mix units."""

    def mean_square(rate, params):
        return rate * jnp.mean(params[0].w ** 2)

    objectives = {
        rate: nnjax.Objective(penalty=jax.tree_util.Partial(mean_square, rate)) for rate in (0.0, 1.0)
    }
    settings = {"learning_rate": 0.5, "epochs": 1, "batch_size": 100}
    grid = nnjax.sweep(KEY, small, hidden=(9, 10), objective=objectives, **settings)
    run = alone(grid, small, (64, 9, 10), 0, objective=objectives[1.0], **settings)
    assert distance(grid.params(hidden=9, objective=1.0), run.params) < 1e-10


def test_one_that_diverges_is_recorded_and_harms_no_other(x64, small):
    def steep(params, x, key):
        return nnjax.feedforward(params, x, nnjax.relu, nnjax.identity)

    settings = {
        "objective": nnjax.Objective(forward=nnjax.Dense(nnjax.relu, nnjax.identity)),
        "hidden": (7, 8),
    }
    both = nnjax.sweep(KEY, small, learning_rate=(0.001, 1e3), epochs=2, **settings)
    calm = nnjax.sweep(KEY, small, learning_rate=0.001, epochs=2, **settings)
    assert both.diverged_at.sel(learning_rate=1e3).values.tolist() == [[0], [0]]
    assert both.diverged_at.sel(learning_rate=0.001).values.tolist() == [[-1], [-1]]
    for hidden in (7, 8):
        assert distance(both.params(hidden=hidden, learning_rate=0.001), calm.params(hidden=hidden)) < 1e-10


def grid_labels(grid):
    """The labels of every network."""
    return [
        dict(zip(("hidden", "learning_rate", "seed"), labels, strict=True))
        for labels in itertools.product(
            grid.data.hidden.values, grid.data.learning_rate.values, grid.data.seed.values
        )
    ]


def test_chunks_change_nothing(x64, small):
    settings = {"hidden": (6, 7), "learning_rate": (0.5, 3), "seeds": 3, "epochs": 1}
    whole, cut = (
        nnjax.sweep(KEY, small, **settings),
        nnjax.sweep(KEY, small, max_networks_per_program=5, **settings),
    )
    np.testing.assert_allclose(cut.cost, whole.cost, atol=1e-10)
    np.testing.assert_array_equal(cut.test_correct, whole.test_correct)
    assert (
        distance(
            cut.params(hidden=6, learning_rate=3, seed=2), whole.params(hidden=6, learning_rate=3, seed=2)
        )
        < 1e-9
    )


def test_the_number_of_epochs_and_the_rates_compile_nothing(small, compilations):
    nnjax.sweep(KEY, small, hidden=5, learning_rate=(1.0, 2.0), seeds=2, epochs=1)
    assert any("epoch" in name for name in compilations)
    compilations.clear()
    nnjax.sweep(jax.random.key(6), small, hidden=5, learning_rate=(0.1, 0.7), seeds=2, epochs=3)
    assert not [name for name in compilations if "epoch" in name or "score" in name]


def test_progress_counts_networks_and_epochs(small):
    told = []
    nnjax.sweep(
        KEY,
        small,
        hidden=(3, 20),
        seeds=2,
        epochs=3,
        max_networks_per_program=2,
        learning_rate=1.0,
        callback=told.append,
    )
    assert [(p.networks, p.epoch) for p in told] == [(0, 1), (0, 2), (0, 3), (2, 1), (2, 2), (2, 3)]
    assert {(p.num_networks, p.num_epochs) for p in told} == {(4, 3)}
    shares = [p.fraction for p in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert shares[2] > 0.8  # the wide ones, first, are most of the work


class Stopped(Exception):
    pass


def test_a_sweep_that_stopped_goes_on_from_its_finished_chunks(small, tmp_path, advanced):
    settings = {"hidden": 5, "learning_rate": (0.5, 3), "seeds": 2, "epochs": 2, "at_once": 2}

    def stop_in_the_second_chunk(progress):
        if progress.networks:
            raise Stopped

    with pytest.raises(Stopped):
        nnjax.sweep(KEY, small, checkpoint=tmp_path, callback=stop_in_the_second_chunk, **settings)
    advanced.clear()
    resumed = nnjax.sweep(KEY, small, checkpoint=tmp_path, **settings)
    assert len(advanced) == settings["epochs"]  # of the second chunk; the first was done
    whole = nnjax.sweep(KEY, small, **settings)
    assert resumed.data.drop_vars("seconds").identical(whole.data.drop_vars("seconds"))
    assert distance(resumed.params(learning_rate=0.5, seed=1), whole.params(learning_rate=0.5, seed=1)) == 0


def test_a_sweep_goes_on_to_more_epochs(small, tmp_path, advanced):
    settings = {
        "hidden": (5, 4),
        "learning_rate": (0.5, 3),
        "seeds": 2,
        "at_once": 4,
        "optimizer": optax.adam,
    }
    nnjax.sweep(KEY, small, checkpoint=tmp_path, epochs=2, **settings)
    further = nnjax.sweep(KEY, small, checkpoint=tmp_path, epochs=4, **settings)
    assert len(advanced) == 2 * 4  # two chunks
    whole = nnjax.sweep(KEY, small, epochs=4, **settings)
    assert further.data.drop_vars("seconds").identical(whole.data.drop_vars("seconds"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"batch_size": 5}, "batch_size was 10 and is 5"),
        ({"learning_rate": (0.5, 2.9)}, r"learning_rate was \[0.5, 3\] and is \[0.5, 2.9\]"),
        ({"key": jax.random.key(6)}, r"key was \[0, 5\] and is \[0, 6\]"),
        ({"objective": nnjax.Objective(code=nnjax.binary)}, "objective was .*OneHot.* and is .*Binary"),
        ({"optimizer": nnjax.momentum}, "optimizer was <function sgd> and is <function momentum>"),
        ({"seeds": 2}, "seeds was 1 and is 2"),
        ({"shared_batches": False}, "shared_batches was True and is False"),
        ({"at_once": 1}, r"programs was \[2\] and is \[1, 1\]"),
    ],
)
def test_a_sweep_with_other_settings_is_refused_and_they_are_named(small, tmp_path, change, told):
    settings = {"key": KEY, "hidden": 4, "learning_rate": (0.5, 3), "epochs": 1} | {"checkpoint": tmp_path}
    nnjax.sweep(data=small, **settings)
    with pytest.raises(ValueError, match=told):
        nnjax.sweep(data=small, **settings | change)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"hidden": ()}, "hidden is empty"),
        ({"learning_rate": []}, "learning_rate is empty"),
        ({"hidden": (30, 30)}, "hidden repeats a value"),
        ({"learning_rate": (3, 3.0)}, "learning_rate repeats a value"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"seeds": 2.5}, "seeds must be a whole number"),
        ({"hidden": (30, 0)}, "sizes must be positive"),
        ({"hidden": (30, 2.5)}, "sizes must be whole numbers"),
        ({"learning_rate": (3.0, -1.0)}, "must not be negative"),
        ({"learning_rate": (3.0, float("nan"))}, "finite"),
        ({"rate": (3.0, 1.0)}, "unknown hyper-parameter 'rate'"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"at_once": 0}, "at_once must be 1 or more"),
        ({"batch_size": 1001}, "batch_size must be from 1 to 1000"),
        ({"objective": "quadratic"}, "objective must be an Objective"),
        ({"objective": [nnjax.Objective()]}, "needs a label"),
        ({"hidden": 3, "init": lambda key: {}}, "leave them out"),
        ({"init": lambda key: {}}, "params holds no numbers"),
        ({"key": 0}, "key must be a jax.random.key"),
        ({"key": jax.random.PRNGKey(0)}, "key must be a jax.random.key"),
        ({"key": jax.random.split(KEY, 3)}, "key must be a jax.random.key"),
        ({"hidden": (4, (4,))}, "hidden repeats a value"),
        ({"hidden": True}, "sizes must be whole numbers"),
        ({"seeds": True}, "seeds must be a whole number"),
        ({"objective": {None: nnjax.Objective()}}, "needs a label"),
        ({"optimizer": lambda learning_rate, seed: optax.sgd(learning_rate), "seed": (1, 2)}, "called seed"),
        ({"init": 3}, "init must be a function"),
        (
            {
                "init": lambda: (),
            },
            "init must draw parameters from a key",
        ),
        ({"initial_weights": "gaussian"}, "initial_weights must be a function"),
        ({"init": lambda key: {}, "initial_weights": nnjax.lecun}, "leave them out"),
        ({"callback": 3}, "callback must be a function"),
        ({"checkpoint": 3}, "checkpoint must be a folder"),
    ],
)
def test_bad_arguments_are_told_before_anything_trains(small, wrong, told, compilations):
    with pytest.raises(ValueError, match=told):
        nnjax.sweep(**{"key": KEY, "data": small, "learning_rate": 3.0} | wrong)
    assert not [name for name in compilations if "epoch" in name]


def test_a_checkpoint_that_is_no_folder_is_told(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write into"):
        nnjax.sweep(KEY, small, learning_rate=3.0, checkpoint=tmp_path / "file")


def test_rates_from_an_array_have_the_labels_that_one_would_type(small):
    rates = jnp.array([0.3, 1.0])
    grid = nnjax.sweep(KEY, small, hidden=2, learning_rate=rates, epochs=1, batch_size=500)
    assert grid.test_correct.sel(learning_rate=0.3).shape == (1, 1)


def test_a_network_is_named_by_all_its_labels(small):
    grid = nnjax.sweep(KEY, small, hidden=(2, 3), learning_rate=1.0, seeds=2, epochs=1, batch_size=500)
    with pytest.raises(ValueError, match="name its seed too"):
        grid.params(hidden=2)
    with pytest.raises(ValueError, match="the grid has no network"):
        grid.params(hidden=4, seed=0)
    with pytest.raises(ValueError, match="the grid has no network"):
        grid.params(width=4)


def test_groups_waste_little_and_lose_nobody():
    widths = [5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300]
    groups = _plan.group_widths([(784, w, 10) for w in widths])
    assert sorted(sizes[1] for group in groups for sizes in group) == widths
    for group in groups:
        padded = len(group) * _plan.num_params(_plan.padded_sizes(group))
        assert padded <= _plan.MAX_PADDING_RATIO * sum(map(_plan.num_params, group))


def test_memory_bounds_what_runs_at_once():
    chunks = list(_plan.split_evenly(range(25), 10))
    assert [len(c) for c in chunks] == [9, 9, 7]
    assert [i for c in chunks for i in c] == list(range(25))


@pytest.mark.parametrize(
    ("hidden", "batch_size", "shared_batches", "at_once"),
    [
        (30, 10, True, _plan.CPU_CACHE_BYTES // (4 * 23860)),
        (300, 10, True, _plan.CPU_CACHE_BYTES // (4 * _plan.num_params((784, 300, 10)))),
        # 40 units, four numbers of four bytes each, and as many for w's rows as for b.
        (30, 50_000, True, _plan.MEMORY_BYTES // (4 * 23860 + 50_000 * 80 * 16)),
        (30, 10, False, 1),
    ],
)
def test_caches_and_memory_bound_what_runs_at_once(
    hidden, batch_size, shared_batches, max_networks_per_program
):
    images = np.zeros((50_000, 784), np.uint8)
    data = nnjax.Dataset.from_arrays((images, np.arange(50_000) % 10))
    settings = {"objective": nnjax.Objective(), "hidden": hidden, "init": None, "initial_weights": None}
    _, cells = _plan.make_cells(data, settings, optax.sgd, {"learning_rate": 3.0})
    chunks = list(_plan.make_chunks(cells, 200, data, batch_size, shared_batches, None))
    most = max(len(chunk.networks) for chunk in chunks)
    assert max_networks_per_program / 2 < most <= max_networks_per_program
    assert sum(len(chunk.networks) for chunk in chunks) == 200

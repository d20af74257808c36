"""The baseline optimizers against plain calls of optax, and in one program of a sweep."""

import itertools
import json
from inspect import signature

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from optax.contrib import MuonDimensionNumbers

import nnjax
from nnjax.compare._baseline_optimizers import BASELINES, CONJUGATE_GRADIENT_PRODUCTS, SAME_AS
from nnjax.compare._frozen import frozen_when_spent
from nnjax.compare._gradient_scale import grows_with_gradient
from nnjax.compare._muon import hidden_matrices
from nnjax.compare._shipped import shipped_result
from nnjax.compare._task import Task
from nnjax.compare.plan import baseline
from nnjax.compare.protocol import BUDGETS, rows_of, trial_runs
from nnjax.compare.search_spaces import as_tunable, check_tunable, factory_for, setting
from nnjax.nn.attention import Transformer
from nnjax.nn.recurrent import Recurrent
from nnjax.optim.optimizers import make_optimizer

SCHEDULES = ("constant", "warmup_cosine", "warmup_linear")
POINTS = [None, (0.5, 0.0) + (0.3,) * 6, (0.6, 0.4) + (0.6,) * 6, (0.7, 0.8) + (0.9,) * 6]

# They compile quickly, or differ most from others.
FAST = ("adamw", "muon", "schedule_free_adamw", "gauss_newton")


def some_slow(names):
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


def setting_of(name, point, has_weight_decay=False, is_standard=True):
    return setting(
        BASELINES[name], point, learning_rate_scale=1, has_weight_decay=has_weight_decay,
        schedules=SCHEDULES, is_standard=is_standard,
    )  # fmt: skip


# The optimizers of the specification, by their tuned numbers: a = 1 - b1, b = 1 - b2, λ is the weight decay.
PLAIN = {
    "sgd": lambda s, **_: optax.sgd(s),
    "momentum": lambda s, a, **_: optax.sgd(s * a, momentum=1 - a),
    "nesterov": lambda s, a, **_: optax.sgd(s * a, momentum=1 - a, nesterov=True),
    "adagrad": lambda s, extra, **_: optax.adagrad(s, initial_accumulator_value=extra),
    "rmsprop": lambda s, a, b, eps, **_: optax.rmsprop(
        s * a, decay=1 - b, eps=eps, momentum=1 - a, bias_correction=True, eps_in_sqrt=False
    ),
    "adamw": lambda s, a, b, eps, λ, **_: optax.adamw(s, 1 - a, 1 - b, eps, weight_decay=λ),
    "nadamw": lambda s, a, b, eps, λ, **_: optax.nadamw(s, 1 - a, 1 - b, eps, weight_decay=λ),
    "amsgrad": lambda s, a, b, eps, **_: optax.amsgrad(s, 1 - a, 1 - b, eps),
    "adabelief": lambda s, a, b, eps, **_: optax.adabelief(s, 1 - a, 1 - b, eps, eps_root=1e-16),
    "yogi": lambda s, a, b, **_: optax.yogi(s, 1 - a, 1 - b, eps=1e-3),
    "lion": lambda s, a, b, λ, **_: optax.lion(s, 1 - a, 1 - b, weight_decay=λ),
    "lamb": lambda s, a, b, eps, λ, **_: optax.lamb(s, 1 - a, 1 - b, eps, weight_decay=λ),
    "lars": lambda s, a, λ, **_: optax.lars(s * a, λ, trust_coefficient=1e-3, momentum=1 - a),
    "sophia": lambda s, a, b, λ, extra, **_: contrib.sophia(
        s, 1 - a, 1 - b, gamma=extra, weight_decay=λ, update_interval=10
    ),
    "muon": lambda s, a, λ, extra, **_: contrib.muon(
        s, beta=1 - a, weight_decay=λ, adam_weight_decay=λ, adam_learning_rate=extra * s,
        muon_weight_dimension_numbers=(
            nnjax.Layer(None, None), nnjax.Layer(MuonDimensionNumbers(1, 0), None), nnjax.Layer(None, None)
        ),
    ),
    "schedule_free_sgd": lambda s, a, λ, **_: contrib.schedule_free(
        optax.chain(optax.add_decayed_weights(λ), optax.sgd(s)), s, 1 - a
    ),
    "schedule_free_adamw": lambda s, a, b, eps, λ, **_: contrib.schedule_free_adamw(
        s, b1=1 - a, b2=1 - b, eps=eps, weight_decay=λ
    ),
    "prodigy": lambda λ, extra, **_: contrib.prodigy(
        estim_lr_coef=extra, weight_decay=λ, safeguard_warmup=True
    ),
    "dadapt_adamw": lambda s, λ, **_: contrib.dadapt_adamw(s, weight_decay=λ),
    "lbfgs": lambda **_: optax.lbfgs(
        linesearch=optax.scale_by_zoom_linesearch(15, initial_guess_strategy="one")
    ),
    "gauss_newton": lambda s, extra, **_: nnjax.gauss_newton(s, damping=extra, iterations=5),
}  # fmt: skip

NUMBERS = {"s": 0.03, "a": 0.2, "b": 0.01, "eps": 1e-6, "λ": 0.1, "extra": 0.05}


def hyperparameters_of(name):
    """The numbers by the names of the factory's parameters."""
    known = {
        "learning_rate": NUMBERS["s"], "weight_decay": NUMBERS["λ"], "eps": NUMBERS["eps"],
        **dict.fromkeys(("b1", "beta", "momentum"), 1 - NUMBERS["a"]),
        **dict.fromkeys(("b2", "decay"), 1 - NUMBERS["b"]),
    }  # fmt: skip
    if name == "lbfgs":
        return {"weight_decay": 0.0}
    return {key: known.get(key, NUMBERS["extra"]) for key in setting_of(name, None).hyperparameters}


PARAMS = tuple(
    nnjax.Layer(
        *(jnp.asarray(np.random.default_rng(n).normal(size=shape), float) for shape in ((4, n), (4,)))
    )
    for n in (3, 4, 5)
)


def steps(update, params, state):
    """Three steps on the quartic Σ (w - 1)⁴ / 4; the updates of each step."""

    def cost_of(params, curvature=None, obj_fn=None, grad_fn=None):
        return sum(jnp.sum((w - 1) ** 4) for w in jax.tree.leaves(params)) / 4

    all_updates = []
    for _ in range(3):
        cost, grads = jax.value_and_grad(cost_of)(params)
        curvature = lambda v, p=params: jax.tree.map(lambda w, v: 3 * (w - 1) ** 2 * v, p, v)  # noqa: E731
        updates, state = update(
            grads, state, params, value=cost, grad=grads, value_fn=cost_of, obj_fn=cost_of,
            curvature=curvature,
        )  # fmt: skip
        params = optax.apply_updates(params, updates)
        all_updates.append(updates)
    return all_updates


@pytest.mark.parametrize("name", some_slow(BASELINES))
def test_updates_are_those_of_a_plain_call_of_optax(name):
    plain = PLAIN[name](**NUMBERS)

    def plain_update(grads, state, params, *, obj_fn, curvature, value_fn, **line_search):
        own = {"lbfgs": {"value_fn": value_fn, **line_search}, "sophia": {"obj_fn": obj_fn}}
        extra = own.get(name, {"curvature": curvature} if name == "gauss_newton" else {})
        return plain.update(grads, state, params, **extra)

    @jax.jit
    def both(optimizer, params):
        def update(grads, state, params, **extra):
            _, state, updates = optimizer.apply(grads, state, params, **extra)
            return updates, state

        with jax.numpy_dtype_promotion("standard"):  # as in training
            expected = steps(plain_update, params, plain.init(params))
        return expected, steps(update, params, optimizer.init(params))

    expected, actual = both(make_optimizer(BASELINES[name].factory, hyperparameters_of(name)), PARAMS)
    for left, right in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-4, atol=1e-6)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(actual))


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("has_weight_decay", [False, True])
def test_a_sweep_trains_all_schedules_in_one_program(name, has_weight_decay, digits, advanced):
    settings = [setting_of(name, point, has_weight_decay) for point in POINTS]
    points = {key: [s.hyperparameters[key] for s in settings] for key in settings[0].hyperparameters}
    if BASELINES[name].freezes:
        points["budget"] = [100.0] * 4
    grid = nnjax.sweep(
        jax.random.key(0), digits, hidden=[(8, 8)], steps=6, evaluate_every=3, batch_size=32,
        shared_batches=False, optimizer=factory_for(BASELINES[name], has_weight_decay),
        zip={"seed": [0, 1, 0, 1], "schedule": [*SCHEDULES, "constant"], **points},
    )  # fmt: skip
    assert len(advanced) == 2  # the rows of one program
    assert np.isfinite(grid.train_cost).all()  # also with schedules that start at 0
    assert (grid.test_cost.isel(step=-1) < grid.test_cost.isel(step=0)).any()


@pytest.mark.parametrize("name", BASELINES)
def test_settings_fit_the_factories(name):
    check_tunable(name, BASELINES[name])
    for has_weight_decay in (False, True):
        accepted = signature(factory_for(BASELINES[name], has_weight_decay))
        settings = [setting_of(name, point, has_weight_decay).hyperparameters for point in POINTS]
        for hyperparameters in settings:
            accepted.bind(**hyperparameters)
        assert ("weight_decay" in settings[0]) >= has_weight_decay
    rate = BASELINES[name].space.get("learning_rate")
    if rate and name not in ("dadapt_adamw", "gauss_newton"):
        assert rate.high / rate.low == pytest.approx(1e4)


@pytest.mark.parametrize("name", BASELINES)
def test_the_quick_budget_tunes_one_number_and_the_weight_decay(name):
    for has_weight_decay in (False, True):
        settings = [setting_of(name, point, has_weight_decay, is_standard=False) for point in POINTS[1:]]
        varied = {
            key for key in settings[0].hyperparameters if len({s.hyperparameters[key] for s in settings}) > 1
        }
        tuned = {key for key in ("learning_rate", "estim_lr_coef") if key in BASELINES[name].space}
        assert varied == tuned | ({"weight_decay"} if has_weight_decay else set())


def test_a_bare_adam_is_compared_as_the_adamw_that_is_shipped():
    task = Task("adamw", *baseline("adamw"), nnjax.problems["bigram"], BUDGETS["quick"])
    bare = task._replace(tunable=as_tunable(optax.adam))
    shipped = shipped_result(task).runs
    for run in trial_runs(task.budget):
        (row,) = rows_of(shipped, kind="trial", study=run.study, index=run.index).to_dict("records")
        shipped_setting = json.loads(row["settings"])
        rate = bare.setting(run).hyperparameters["learning_rate"]
        assert shipped_setting["learning_rate"] == pytest.approx(rate)
        defaults = {key: signature(optax.adam).parameters[key].default for key in ("b1", "b2", "eps")}
        assert {key: shipped_setting[key] for key in defaults} == defaults
        assert (shipped_setting["weight_decay"], shipped_setting["schedule"]) == (
            0,
            bare.setting(run).schedule,
        )


@pytest.mark.parametrize("name", some_slow(BASELINES))
def test_the_probe_agrees_with_what_is_declared(name):
    default = setting_of(name, None).hyperparameters
    assert grows_with_gradient(BASELINES[name].factory, default) == BASELINES[name].scales_with_gradient


def test_adam_coincides_with_adamw():
    assert SAME_AS == {"adam": "adamw"}
    left, right = optax.adam(0.1, 0.8), optax.adamw(0.1, 0.8, weight_decay=0.0)
    w, g = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    with jax.numpy_dtype_promotion("standard"):
        updates = [o.update(g, o.init(w), w)[0] for o in (left, right)]
    np.testing.assert_array_equal(*updates)


@pytest.mark.slow
def test_muon_orthogonalizes_hidden_matrices_only():
    key = jax.random.key(0)

    def shapes(params):
        hidden = []

        def collect(dimensions, w):
            if dimensions is not None:
                hidden.append(w.shape)

        def is_leaf(part):
            return part is None or isinstance(part, MuonDimensionNumbers)

        jax.tree.map(collect, hidden_matrices(params), params, is_leaf=is_leaf)
        return hidden

    assert shapes(nnjax.init(key, (20, 8, 6, 4))) == [(6, 8)]
    assert shapes(nnjax.init(key, (20, 8, 4))) == []
    assert shapes(nnjax.init(key, (20, 8, 300, 4))) == []  # too large
    assert shapes(Recurrent().init(key, 5, 8, 4)) == [(24, 13)]  # a gated cell
    blocks = [(48, 16), (16, 16), (64, 16), (16, 64)]
    assert shapes(Transformer(2).init(key, vocabulary=5, length=8, width=16, blocks=2)) == 2 * blocks
    assert shapes({"logits": jnp.zeros((3, 3))}) == shapes(jnp.zeros(3)) == []


@pytest.mark.parametrize(
    "params",
    [
        jnp.ones(3),
        {"logits": jnp.ones((3, 3))},
        nnjax.init(jax.random.key(0), (4, 3, 2)),
        Recurrent().init(jax.random.key(0), 5, 8, 4),
        Transformer(2).init(jax.random.key(0), vocabulary=5, length=8, width=4, blocks=1),
    ],
    ids=["vector", "table", "dense", "recurrent", "transformer"],
)
def test_muon_trains_every_kind_of_parameters(params):
    optimizer = make_optimizer(BASELINES["muon"].factory, setting_of("muon", None).hyperparameters)
    grads = jax.tree.map(jnp.ones_like, params)
    new, _, _ = jax.jit(optimizer.apply)(grads, optimizer.init(params), params)
    assert all((new < old).all() for new, old in zip(*map(jax.tree.leaves, (new, params)), strict=True))


def test_an_optimizer_freezes_before_the_step_that_exceeds_its_budget():
    costs = jnp.array([2.0, 3.0, 4.0, 1.0])
    counting = optax.GradientTransformation(lambda w: jnp.int32(0), lambda g, count, w=None: (g, count + 1))
    optimizer = frozen_when_spent(counting, lambda count: costs[count - 1], budget=6.0)
    state, updates = optimizer.init(0.0), []
    for _ in range(4):
        update, state = optimizer.update(jnp.array(1.0), state, 0.0)
        updates.append(float(update))
    assert updates == [1, 1, 0, 0]
    assert int(state.inner) == 2


def test_lbfgs_counts_its_gradients_and_then_freezes():
    evaluations = []

    def cost_of(w, curvature=None, obj_fn=None, grad_fn=None):
        jax.debug.callback(lambda: evaluations.append(None))
        return jnp.sum(jnp.array([1.0, 10.0, 100.0]) * (w - 1) ** 4)

    @jax.jit
    def step(w, state):
        value, grad = jax.value_and_grad(cost_of)(w)
        w, state, _ = make_optimizer(BASELINES["lbfgs"].factory, {"budget": 12.0}).apply(
            grad, state, w, value=value, grad=grad, value_fn=cost_of
        )
        return w, state

    optimizer = make_optimizer(BASELINES["lbfgs"].factory, {"budget": 12.0})
    w = jnp.zeros(3)
    state, path = optimizer.init(w), []
    for _ in range(12):
        w, state = step(w, state)
        jax.effects_barrier()
        assert len(evaluations) == int(state.spent) or path[-1].tolist() == w.tolist()
        path.append(w)
    moved = [not np.array_equal(new, old) for new, old in itertools.pairwise(path)]
    assert moved == sorted(moved, reverse=True)  # once frozen, it stays frozen
    assert 0 < sum(moved) < 6


def test_gauss_newton_makes_the_products_that_its_cost_counts():
    products = []

    def curvature(v):
        jax.debug.callback(lambda: products.append(None))
        return jnp.linspace(1, 100, 20) * v

    optimizer = BASELINES["gauss_newton"].factory(damping=1e-3)
    optimizer.update(jnp.ones(20), optimizer.init(None), curvature=curvature)
    jax.effects_barrier()
    assert len(products) == CONJUGATE_GRADIENT_PRODUCTS
    assert BASELINES["gauss_newton"].cost == 1 + 2 * len(products)

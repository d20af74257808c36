"""Search spaces against scipy's distributions, and the settings of optimizers."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnjax.compare._baseline_optimizers import BASELINES
from nnjax.compare.search_spaces import (
    LogUniform,
    Setting,
    Tunable,
    as_tunable,
    check_tunable,
    columns,
    factory_for,
    log_uniform,
    one_minus_log_uniform,
    scales_with_gradient,
    setting,
    with_decoupled_decay,
)

SCHEDULES = ("constant", "warmup_cosine", "warmup_linear")
QUANTILES = st.floats(0, 1, exclude_max=True)
RATE = {"learning_rate": log_uniform(1e-4, 1)}


def make_setting(tunable, point, scale=1.0, has_weight_decay=False, is_standard=False, widened=(0, 0)):
    return setting(
        tunable, point, learning_rate_scale=scale, has_weight_decay=has_weight_decay, schedules=SCHEDULES,
        is_standard=is_standard, widened=widened,
    )  # fmt: skip


@st.composite
def distributions(draw):
    low = 10.0 ** draw(st.floats(-12, 3))
    return LogUniform(low, low * 10 ** draw(st.floats(0.01, 8)), zero_share=draw(st.sampled_from((0, 0.25))))


@given(distributions(), QUANTILES, QUANTILES)
def test_values_are_in_range_and_increase_with_the_quantile(distribution, u, v):
    lower, higher = sorted((u, v))
    assert distribution.at(lower) <= distribution.at(higher)
    for value in map(distribution.at, (u, v)):
        assert value == 0 or distribution.low <= value <= distribution.high


@given(st.floats(1e-6, 0.1), st.floats(0.2, 1), QUANTILES)
def test_quantiles_are_those_of_scipy(low, high, u):
    expected = stats.loguniform(low, high).ppf(u)
    assert log_uniform(low, high).at(u) == pytest.approx(expected)
    assert one_minus_log_uniform(low, high).at(u) == pytest.approx(1 - expected)


def test_a_share_of_values_is_zero_and_the_others_are_log_uniform():
    values = [LogUniform(1e-3, 1, zero_share=0.25).at(u) for u in (np.arange(1000) + 0.5) / 1000]
    positive = [value for value in values if value]
    assert len(positive) == 750
    assert stats.kstest(positive, stats.loguniform(1e-3, 1).cdf).statistic < 0.002


def test_ranges_are_scaled_and_widened_by_decades():
    assert log_uniform(0.1, 10).scaled(3) == log_uniform(3 * 0.1, 30)
    assert log_uniform(0.1, 10).widened(2, 1) == log_uniform(0.001, 100)
    assert log_uniform(0.1, 10).median == pytest.approx(1)


@pytest.mark.parametrize("bounds", [(0, 1), (1, 1), (2, 1), (-1, 1), (1, math.inf), (math.nan, 1), (1, "2")])
def test_other_bounds_are_errors(bounds):
    with pytest.raises(ValueError, match=r"^low and high must be finite numbers with 0 < low < high, got "):
        log_uniform(*bounds)


def test_other_shares_and_complements_are_errors():
    with pytest.raises(ValueError, match=r"^high must be at most 1 for a value 1 - x, got 2"):
        one_minus_log_uniform(0.1, 2)
    with pytest.raises(ValueError, match=r"^zero_share must be at least 0 and less than 1, got 1"):
        LogUniform(0.1, 2, zero_share=1)


def spaces(*names):
    return dict.fromkeys(names, log_uniform(0.1, 1))


def test_columns_of_known_names_and_then_of_others():
    tunable = Tunable(optax.sgd, spaces("x", "momentum", "learning_rate"), spaces("decay", "eps"))
    assert columns(tunable) == {"x": 6, "momentum": 2, "learning_rate": 0, "decay": 4, "eps": 5}
    assert columns(Tunable(optax.sgd, spaces("b1", "beta", "x", "y"))) == {"b1": 2, "beta": 6, "x": 7, "y": 4}
    several = Tunable(optax.sgd, spaces("x", "y"), batch_multipliers=(1, 4))
    assert columns(several) == {"x": 6, "y": 2}  # column 7 is the batch multiplier
    with pytest.raises(ValueError, match=r"hyper-parameters must have at most 5, got 6: a, b, c, d, e, f"):
        columns(Tunable(optax.sgd, spaces(*"abcdef")))


@given(st.sets(st.sampled_from(["learning_rate", "b1", "weight_decay", "b2", "eps", "x", "y"])))
def test_names_have_different_columns(names):
    of_name = columns(Tunable(optax.sgd, spaces(*sorted(names))))
    assert set(of_name) == names
    assert len(set(of_name.values())) == len(names)
    assert 1 not in of_name.values()


ADAMW = Tunable(
    optax.adamw, RATE | {"b1": one_minus_log_uniform(0.01, 0.5)}, {"eps": log_uniform(1e-10, 1e-3)},
    scales_with_gradient=False,
)  # fmt: skip


@given(st.lists(st.tuples(*[QUANTILES] * 8), max_size=3), st.booleans(), st.booleans())
def test_all_settings_have_the_same_hyper_parameters(points, has_weight_decay, is_standard):
    for tunable in (ADAMW, as_tunable(optax.sgd), Tunable(optax.lbfgs, {}, RATE, schedules=("constant",))):
        settings = [
            make_setting(tunable, point, has_weight_decay=has_weight_decay, is_standard=is_standard)
            for point in [None, *points]
        ]
        assert len({tuple(s.hyperparameters) for s in settings}) == 1
        factory = factory_for(tunable, has_weight_decay)
        inspect.signature(factory).bind(**settings[0].hyperparameters)
        assert all(type(value) is float for s in settings for value in s.hyperparameters.values())


def test_the_default_setting_is_that_of_the_tunable_then_of_the_factory_then_the_median():
    tunable = Tunable(
        optax.adam, RATE | {"b1": log_uniform(0.1, 0.5)}, {"b2": log_uniform(0.1, 1)}, default={"b2": 0.9}
    )
    hyperparameters, schedule, multiplier = make_setting(tunable, None)
    assert hyperparameters == {"learning_rate": pytest.approx(0.01), "b1": 0.9, "b2": 0.9}
    assert (schedule, multiplier) == ("warmup_linear", 1)
    assert make_setting(Tunable(optax.sgd, RATE, schedules=("constant",)), None).schedule == "constant"
    with_rate = Tunable(lambda learning_rate=0.5: optax.sgd(learning_rate), RATE, scales_with_gradient=True)
    assert make_setting(with_rate, None, scale=100).hyperparameters == {"learning_rate": 0.5}


def test_a_trial_reads_its_columns():
    tunable = Tunable(
        lambda learning_rate, b1, x: optax.adam(learning_rate, b1, x),
        RATE | {"b1": one_minus_log_uniform(0.01, 1)}, {"x": log_uniform(1, 100)}, default={"x": 7.0},
        batch_multipliers=(1, 4), scales_with_gradient=True,
    )  # fmt: skip
    point = (0.5, 0.4, 0.5, 0, 0, 0, 0.5, 0.5)
    trial = make_setting(tunable, point, scale=10, is_standard=True)
    assert trial == Setting(
        {"learning_rate": pytest.approx(0.1), "b1": pytest.approx(0.9), "x": pytest.approx(10)},
        "warmup_cosine", 4,
    )  # fmt: skip
    assert make_setting(tunable, point).hyperparameters["x"] == 7
    assert make_setting(tunable, (0.0,) * 8, widened=(2, 0)).hyperparameters["learning_rate"] == 1e-6
    assert make_setting(tunable, None, widened=(2, 0)) == make_setting(tunable, None)


def test_only_optimizers_that_scale_with_gradients_have_a_scaled_learning_rate():
    rates = [
        make_setting(as_tunable(factory), (0.5,) * 8, scale=10).hyperparameters["learning_rate"]
        for factory in (optax.sgd, optax.adam)
    ]
    assert rates == pytest.approx([0.1, 0.01])


def test_weight_decay_is_tuned_where_the_problem_has_it_and_elsewhere_zero_or_the_default():
    point = (0.5, 0, 0.5, 0.625, 0, 0, 0, 0)
    own = Tunable(optax.adamw, RATE, spaces("weight_decay"))  # from 0.1 to 1
    assert make_setting(own, point).hyperparameters["weight_decay"] == 0
    assert make_setting(BASELINES["adamw"], point).hyperparameters["weight_decay"] == 0
    for default in (ADAMW, as_tunable(optax.adam)):
        assert "weight_decay" not in make_setting(default, point).hyperparameters
    for tunable, expected in ((ADAMW, 0.1), (as_tunable(optax.adam), 0.1), (own, 0.1 * 10**0.625)):
        trial = make_setting(tunable, point, has_weight_decay=True)
        assert trial.hyperparameters["weight_decay"] == pytest.approx(expected)
    assert factory_for(as_tunable(optax.adam), False) is optax.adam
    assert factory_for(ADAMW, True) is optax.adamw
    without_rate = Tunable(lambda: optax.sgd(1.0), {})
    assert factory_for(without_rate, True) is without_rate.factory
    assert make_setting(without_rate, None, has_weight_decay=True).hyperparameters == {}


def test_decoupled_decay_is_that_of_adamw():
    w, g = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([0.5, 3.0])}
    expected = optax.adamw(0.1, weight_decay=0.3)
    wrapped = with_decoupled_decay(optax.adam)(learning_rate=0.1, weight_decay=0.3)
    states = [optimizer.init(w) for optimizer in (expected, wrapped)]
    for _ in range(3):
        with jax.numpy_dtype_promotion("standard"):  # as in training
            left, states[0] = expected.update(g, states[0], w)
            right, states[1] = wrapped.update(g, states[1], w)
        np.testing.assert_allclose(left["w"], right["w"], rtol=1e-6)
        w = optax.apply_updates(w, left)


def test_wrappers_of_equal_factories_are_equal():
    wrapped = with_decoupled_decay(optax.sgd)
    assert wrapped == with_decoupled_decay(optax.sgd) != with_decoupled_decay(optax.adam)
    assert hash(wrapped) == hash(with_decoupled_decay(optax.sgd))
    assert [*inspect.signature(wrapped).parameters][-1] == "weight_decay"
    with_keywords = with_decoupled_decay(lambda learning_rate, **keywords: optax.sgd(learning_rate))
    assert [*inspect.signature(with_keywords).parameters] == ["learning_rate", "weight_decay", "keywords"]


def raising(learning_rate):
    raise RuntimeError("no")


def clipped(learning_rate):
    return optax.chain(optax.clip(1e-6), optax.sgd(learning_rate))


def with_line_search(learning_rate):
    return optax.chain(optax.sgd(learning_rate), optax.scale_by_backtracking_linesearch(5))


@pytest.mark.parametrize(
    ("factory", "expected"),
    [(optax.optimistic_gradient_descent, True), (clipped, False), (with_line_search, True), (raising, False)],
)
def test_the_probe_finds_what_grows_with_gradients(factory, expected):
    assert scales_with_gradient(as_tunable(factory)) == expected


def test_what_is_declared_is_not_probed():
    assert scales_with_gradient(Tunable(optax.adam, RATE, scales_with_gradient=True))


def test_a_factory_has_its_learning_rate_tuned():
    assert as_tunable(ADAMW) is ADAMW
    assert as_tunable(optax.sgd, (0.1, 10)) == Tunable(optax.sgd, {"learning_rate": log_uniform(0.1, 10)})
    assert as_tunable(lambda: optax.sgd(1.0)).space == {}
    assert as_tunable(lambda **keywords: optax.sgd(**keywords)).space == RATE
    for tunable in (ADAMW, as_tunable(optax.sgd), as_tunable(lambda: optax.sgd(1.0))):
        check_tunable("mine", tunable)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factory": optax.sgd(0.1)}, "mine must be a function that returns an optax optimizer, got an opti"),
        ({"factory": "sgd"}, "mine must be a function that returns an optax optimizer, got 'sgd'"),
        ({"space": {"rate": 1}}, "rate in the space of mine must be a distribution such as nnjax.log"),
        ({"space": RATE | spaces("betta1")}, "a hyper-parameter in the space of mine must be one of lear"),
        ({"space": {}}, "the parameter learning_rate of mine must have a default value, or a"),
        ({"factory": lambda learning_rate, /: None}, "mine must accept learning_rate as a keyword, got"),
        ({"standard_space": RATE}, "learning_rate must be in space or in standard_space of mine, got both"),
        ({"default": {"b1": 0.5}}, "a name in default of mine must be one of learning_rate, got 'b1'"),
        ({"default": {"learning_rate": None}}, "the default learning_rate of mine must be a finite n"),
        ({"schedules": ("cosin",)}, "a schedule of mine must be one of constant, linear, cosine, .*did you"),
        ({"schedules": ()}, "schedules of mine must have at least one name, or be None, got"),
        ({"cost": 0}, "cost of mine must be positive and finite, got 0"),
        ({"batch_multipliers": ()}, "batch_multipliers of mine must be a tuple such as"),
        ({"batch_multipliers": (0,)}, "a batch multiplier of mine must be a positive integer, got 0"),
        ({"freezes": True}, "a hyper-parameter in the space of mine must be one of .*, got 'budget'"),
    ],
)  # fmt: skip
def test_errors_of_users(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_tunable("mine", Tunable(**{"factory": optax.adam, "space": RATE} | change))


def test_an_optimizer_with_decoupled_decay_is_built_from_traced_numbers():
    def step(rate, decay):
        optimizer = with_decoupled_decay(optax.sgd)(learning_rate=rate, weight_decay=decay)
        return optimizer.update(jnp.array(2.0), optimizer.init(jnp.array(1.0)), jnp.array(1.0))[0]

    updates = jax.jit(jax.vmap(step))(jnp.array([0.1, 0.2]), jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(updates, [-0.2, -0.5], rtol=1e-6)

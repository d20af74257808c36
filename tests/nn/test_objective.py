from dataclasses import dataclass

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnjax
import reference
from nnjax.nn import Objective, mean_cost
from nnjax.nn._shape_checks import check_split

KEY = jax.random.key(0)


def batch(n, n_in, n_out, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, n_in)), rng.random((n, n_out))


@pytest.mark.usefixtures("x64")
def test_quadratic_cost_sums_over_outputs_and_averages_over_examples():
    params = nnjax.init(KEY, (5, 4, 3))
    x, y = batch(7, 5, 3)
    expected = reference.cost(reference.as_numpy(params), x, y)
    c = mean_cost(params, Objective(), jnp.asarray(x), jnp.asarray(y), KEY)
    assert float(c) == pytest.approx(expected, rel=1e-14)


@given(
    sizes=st.sampled_from([(1, 1), (5, 6, 3, 2)]),  # few shapes, because each one compiles
    n=st.sampled_from([1, 7]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=12)
def test_gradient_of_a_batch_is_the_mean_of_its_examples_gradients(sizes, n, seed):
    with jax.enable_x64(True):
        params = nnjax.init(jax.random.key(seed), sizes)
        x, y = map(jnp.asarray, batch(n, sizes[0], sizes[-1], seed))
        gradient = jax.jit(jax.grad(mean_cost))
        grads = gradient(params, Objective(), x, y, KEY)
        one_by_one = [gradient(params, Objective(), x[i : i + 1], y[i : i + 1], KEY) for i in range(n)]
        mean = jax.tree.map(lambda *g: np.mean(g, axis=0), *one_by_one)
        assert reference.distance(grads, mean) < 1e-14
        expected = reference.backprop(reference.as_numpy(params), np.asarray(x), np.asarray(y))
        assert reference.distance(grads, expected) < 1e-14


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("cost", [nnjax.quadratic, nnjax.sigmoid_cross_entropy, nnjax.softmax_cross_entropy])
def test_gradients_agree_with_finite_differences(cost):
    output = nnjax.sigmoid if cost is nnjax.quadratic else nnjax.identity
    objective = Objective(nnjax.Dense(nnjax.tanh, output), cost)
    params = nnjax.init(KEY, (4, 5, 3))
    x, labels = jnp.asarray(batch(6, 4, 3)[0]), jnp.array([0, 1, 2, 0, 1, 2])

    c = jax.jit(lambda params: mean_cost(params, objective, x, labels, KEY))

    flat, unravel = jax.flatten_util.ravel_pytree(params)
    grads, _ = jax.flatten_util.ravel_pytree(jax.grad(mean_cost)(params, objective, x, labels, KEY))
    h = 1e-6
    for i in range(flat.size):
        e = jnp.zeros_like(flat).at[i].set(h)
        slope = float(c(unravel(flat + e)) - c(unravel(flat - e))) / (2 * h)
        assert slope == pytest.approx(float(grads[i]), abs=1e-8)


def test_cross_entropies_are_the_books_formulas_and_stable():
    z, y = np.array([2.0, -1.0, 0.5], np.float32), np.array([1.0, 0.0, 0.0], np.float32)
    s, p = 1 / (1 + np.exp(-z)), np.exp(z) / np.exp(z).sum()
    expected = -np.sum(y * np.log(s) + (1 - y) * np.log(1 - s))
    assert float(nnjax.sigmoid_cross_entropy(z, y)) == pytest.approx(expected, rel=1e-6)
    assert float(nnjax.softmax_cross_entropy(z, y)) == pytest.approx(-np.log(p[0]), rel=1e-6)
    assert float(nnjax.sigmoid_cross_entropy(np.float32([200]), np.float32([0]))) == 200.0


def test_cross_entropy_outputs_are_decoded_as_activations():
    """With a cost that takes z, an activation above 0.5 means z > 0."""
    objective = Objective(nnjax.Dense(output=nnjax.identity), nnjax.sigmoid_cross_entropy, nnjax.is_digit(9))
    for z, label in ((-0.1, 0), (0.1, 1), (0.6, 1)):
        params = (nnjax.Layer(jnp.zeros((1, 2)), jnp.array([z])),)
        assert int(nnjax.predict(params, jnp.zeros((1, 2)), objective)[0]) == label


def l2(rate, params):
    return rate * sum(jnp.sum(layer.w**2) for layer in params)


def test_penalty_is_added_and_its_number_is_traced():
    params = nnjax.init(KEY, (4, 3))
    x, labels = jnp.ones((2, 4)), jnp.array([0, 1])
    traces = []

    @jax.jit
    def c(objective):
        traces.append(objective)
        return mean_cost(params, objective, x, labels, KEY)

    plain = float(c(Objective()))
    for rate in (0.1, 0.2):
        penalized = float(c(Objective(penalty=jax.tree_util.Partial(l2, rate))))
        assert penalized - plain == pytest.approx(rate * float(jnp.sum(params[0].w ** 2)), rel=1e-5)
    assert len(traces) == 2
    rates = jnp.array([0.1, 0.2, 0.3])
    costs = jax.vmap(lambda rate: c(Objective(penalty=jax.tree_util.Partial(l2, rate))))(rates)
    assert float(costs[1]) == pytest.approx(penalized, rel=1e-6)


def test_equal_objectives_compile_once():
    traces = []

    @jax.jit
    def f(objective):
        traces.append(objective)
        return 0

    for _ in range(2):
        f(Objective(nnjax.Dense(nnjax.relu, nnjax.identity), nnjax.softmax_cross_entropy))
    assert len(traces) == 1


def test_uint8_is_scaled_and_floats_are_not():
    params = nnjax.init(KEY, (4, 2))
    grey = np.array([[0, 51, 102, 255]], np.uint8)
    as_floats = jnp.asarray(grey / np.float32(255))
    labels = jnp.array([1])
    costs = [mean_cost(params, Objective(), jnp.asarray(x), labels, KEY) for x in (grey, as_floats)]
    assert float(costs[0]) == float(costs[1])


@pytest.mark.parametrize(
    ("objective", "sizes", "num_classes", "word"),
    [
        (Objective(), (5, 3, 2), 2, "sizes must begin with 4, .* got 5"),
        (Objective(), (4, 3, 2), 3, "output layer must have at least 3 .* got 2"),
        (Objective(code=nnjax.binary), (4, 3), 10, "output layer must have at least 4 .* got 3"),
        (Objective(code=nnjax.binary), (4, 5), 12, "at most 10 .* got 12"),
        (Objective(code=nnjax.is_digit(9)), (4, 1), 5, "less than the 5 classes"),
        (
            Objective(nnjax.Dense(output=nnjax.identity), nnjax.softmax_cross_entropy, nnjax.is_digit(1)),
            (4, 1),
            10,
            "sigmoid_cross_entropy",
        ),
        (Objective(forward=lambda params, x, key: params["w"] @ x), (4, 2), 2, "forward must accept"),
        (Objective(cost=nnjax.sigmoid_cross_entropy), (4, 2), 2, "output=identity"),
    ],
)
def test_what_does_not_fit_raises(objective, sizes, num_classes, word):
    images, labels = np.zeros((6, 4), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match=word):
        check_split(objective, nnjax.init(KEY, sizes), images, labels, num_classes)


@pytest.mark.parametrize(
    "params", [(), {"w": np.ones((2, 4), int)}, {"w": jnp.ones((2, 4)), "f": jnp.sin}, {"v": jnp.ones(3)}]
)
def test_params_that_cannot_be_trained_raise(params):
    objective = Objective(forward=lambda params, x, key: params["w"] @ x)
    images, labels = np.zeros((6, 4), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match=r"params|forward must accept"):
        check_split(objective, params, images, labels, 2)


def test_integer_target_vectors_are_targets_and_not_labels():
    params = nnjax.init(KEY, (4, 2))
    x, targets = jnp.ones((2, 4)), np.array([[0, 1], [1, 1]])
    costs = [mean_cost(params, Objective(), x, jnp.asarray(targets, dtype), KEY) for dtype in (int, float)]
    assert float(costs[0]) == float(costs[1])


def test_a_cost_with_a_traced_number_serves_training_and_evaluation():
    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Weighted:
        weight: float

        def __call__(self, a, y):
            return self.weight * nnjax.quadratic(a, y)

    params, x = nnjax.init(KEY, (4, 2)), jnp.ones((2, 4))
    for weight in (1.0, 2.0):
        objective = Objective(cost=Weighted(weight))
        assert nnjax.predict(params, x, objective).tolist() == nnjax.predict(params, x).tolist()
        c = mean_cost(params, objective, x, jnp.array([0, 1]), KEY)
        plain = mean_cost(params, Objective(), x, jnp.array([0, 1]), KEY)
        assert float(c) == pytest.approx(weight * float(plain))


def test_inference_drops_what_only_training_needs():
    dropout, net = nnjax.DenseWithDropout(nnjax.relu, nnjax.identity), nnjax.ConvNet((8, 8), 3, dropout=0.5)
    training = Objective(
        nnjax.Augment(dropout, (8, 8)), code=nnjax.LabelSmoothing(0.2), penalty=lambda params: 0.0
    )
    assert training.inference() == Objective(nnjax.Dense(nnjax.relu, nnjax.identity))
    assert nnjax.Augment(net, (8, 8)).inference() == nnjax.ConvNet((8, 8), 3)


@pytest.mark.parametrize("forward", [nnjax.Augment(nnjax.Dense(), (8, 8)), nnjax.DenseWithDropout()])
def test_a_wrapped_forward_with_an_activation_does_not_fit_a_cross_entropy(forward):
    objective = Objective(forward, nnjax.softmax_cross_entropy)
    images, labels = np.zeros((6, 64), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match="output must be identity"):
        check_split(objective, nnjax.init(KEY, (64, 10)), images, labels, 10)


def test_an_augmentation_for_images_of_another_shape_does_not_fit():
    objective = Objective(nnjax.Augment(nnjax.Dense(), (7, 7)))
    images, labels = np.zeros((6, 64), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match="forward must accept params"):
        check_split(objective, nnjax.init(KEY, (64, 10)), images, labels, 10)

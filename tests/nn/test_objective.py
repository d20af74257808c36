from dataclasses import dataclass
from typing import NamedTuple

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
PARAMS = reference.random_params((4, 2))


def batch(n, n_in, n_out, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, n_in)), rng.random((n, n_out))


# Compiled, because every operation outside of jit is a program.
cost_and_gradient = jax.jit(jax.value_and_grad(mean_cost))


@jax.jit
def gradient_of_each(params, x, y):
    def gradient(x, y):
        return jax.grad(mean_cost)(params, Objective(), x[None], y[None], KEY)

    return jax.vmap(gradient)(x, y)


@given(shape=st.sampled_from([((1, 1), 1), ((5, 6, 3, 2), 7)]), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=12)
def test_cost_and_gradient_of_a_mini_batch_are_means_over_its_examples_as_in_the_book(shape, seed):
    """The quadratic cost is summed over the outputs. Few shapes, because each one compiles."""
    sizes, n = shape
    params, (x, y) = reference.random_params(sizes, seed, np.float64), batch(n, sizes[0], sizes[-1], seed)
    with jax.enable_x64(True):
        cost, grads = cost_and_gradient(params, Objective(), x, y, KEY)
        each = gradient_of_each(params, x, y)
    assert float(cost) == pytest.approx(reference.cost(params, x, y), rel=1e-14)
    mean = jax.tree.map(lambda g: np.asarray(g).mean(axis=0), each)
    assert reference.distance(grads, mean) < 1e-14
    assert reference.distance(grads, reference.backprop(params, x, y)) < 1e-14


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("cost", [nnjax.quadratic, nnjax.sigmoid_cross_entropy, nnjax.softmax_cross_entropy])
def test_gradients_agree_with_finite_differences(cost):
    output = nnjax.sigmoid if cost is nnjax.quadratic else nnjax.identity
    objective = Objective(nnjax.Dense(nnjax.tanh, output), cost)
    flat, unravel = jax.flatten_util.ravel_pytree(reference.random_params((4, 5, 3), dtype=np.float64))
    x, labels = batch(6, 4, 3)[0], np.array([0, 1, 2, 0, 1, 2])
    h = 1e-6

    @jax.jit
    def gradient_and_differences(flat):
        def c(flat):
            return mean_cost(unravel(flat), objective, x, labels, KEY)

        steps = h * jnp.eye(flat.size)
        differences = jax.vmap(c)(flat[None] + steps) - jax.vmap(c)(flat[None] - steps)
        return jax.grad(c)(flat), differences

    gradient, differences = map(np.asarray, gradient_and_differences(flat))
    np.testing.assert_allclose(gradient, differences / (2 * h), rtol=0, atol=1e-8)


def test_cross_entropies_are_the_books_formulas_and_do_not_overflow():
    z, y = np.array([2.0, -1.0, 0.5], np.float32), np.array([1.0, 0.0, 0.0], np.float32)
    s, p = 1 / (1 + np.exp(-z)), np.exp(z) / np.exp(z).sum()
    expected = -np.sum(y * np.log(s) + (1 - y) * np.log(1 - s))
    sigmoid_cost, softmax_cost = jax.jit(nnjax.sigmoid_cross_entropy), jax.jit(nnjax.softmax_cross_entropy)
    assert float(sigmoid_cost(z, y)) == pytest.approx(expected, rel=1e-6)
    assert float(softmax_cost(z, y)) == pytest.approx(-np.log(p[0]), rel=1e-6)
    large = np.float32([200, -200, -200])
    assert float(sigmoid_cost(large, np.float32([0, 0, 0]))) == 200.0
    assert float(softmax_cost(large, np.float32([0, 1, 0]))) == 400.0


def test_cross_entropy_outputs_are_decoded_as_activations():
    """With a cost that takes z, an activation above 0.5 means z > 0."""
    objective = Objective(nnjax.Dense(output=nnjax.identity), nnjax.sigmoid_cross_entropy, nnjax.is_digit(9))
    for z, label in ((-0.1, 0), (0.1, 1), (0.6, 1)):
        params = (nnjax.Layer(np.zeros((1, 2), np.float32), np.float32([z])),)
        assert nnjax.predict(params, np.zeros((1, 2), np.float32), objective).item() == label


def l2(rate, params):
    return rate * sum(jnp.sum(layer.w**2) for layer in params)


def test_penalty_is_added_and_its_number_is_traced():
    x, labels = np.ones((2, 4), np.float32), np.array([0, 1])
    traces = []

    @jax.jit
    def c(objective):
        traces.append(objective)
        return mean_cost(PARAMS, objective, x, labels, KEY)

    def with_l2(rate):
        return c(Objective(penalty=jax.tree_util.Partial(l2, rate)))

    plain = float(c(Objective()))
    for rate in (0.1, 0.2):
        penalized = float(with_l2(rate))
        assert penalized - plain == pytest.approx(rate * np.sum(PARAMS[0].w ** 2), rel=1e-5)
    assert len(traces) == 2
    costs = jax.jit(jax.vmap(with_l2))(np.float32([0.1, 0.2, 0.3]))
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


def cost_of(x, targets, objective=Objective()):
    return float(cost_and_gradient(PARAMS, objective, x, targets, KEY)[0])


def test_uint8_is_scaled_and_floats_are_not():
    gray = np.array([[0, 51, 102, 255]], np.uint8)
    costs = [cost_of(x, np.array([1])) for x in (gray, gray / np.float32(255))]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)


def shapes_of_params(sizes):
    return jax.eval_shape(lambda: nnjax.init(KEY, sizes))


@pytest.mark.parametrize(
    ("objective", "sizes", "num_classes", "message"),
    [
        (Objective(), (5, 3, 2), 2, "the first of sizes must be 4, .* got 5"),
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
def test_models_and_objectives_that_do_not_fit_the_data_raise(objective, sizes, num_classes, message):
    images, labels = np.zeros((6, 4), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match=message):
        check_split(objective, shapes_of_params(sizes), images, labels, num_classes)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ((), r"params must contain at least one array, got \(\)"),
        (
            {"w": np.ones((2, 4), int)},
            "params must be a pytree of floating-point arrays, got a leaf of int64",
        ),
        ({"w": np.ones((2, 4)), "f": jnp.sin}, "params must be a pytree of floating-point arrays"),
        ({"v": np.ones(3)}, "forward must accept params and an input of shape"),
    ],
)
def test_params_that_cannot_be_trained_raise(params, message):
    objective = Objective(forward=lambda params, x, key: params["w"] @ x)
    images, labels = np.zeros((6, 4), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match=message):
        check_split(objective, params, images, labels, 2)


def test_integer_target_vectors_are_targets_and_not_labels():
    x, targets = np.ones((2, 4), np.float32), np.array([[0, 1], [1, 1]])
    costs = [cost_of(x, targets.astype(dtype)) for dtype in (np.int32, np.float32)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)


def test_a_cost_with_a_traced_number_works_in_training_and_evaluation():
    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Weighted:
        weight: float

        def __call__(self, a, y):
            return self.weight * nnjax.quadratic(a, y)

    x, labels = np.ones((2, 4), np.float32), np.array([0, 1])
    for weight in (1.0, 2.0):
        objective = Objective(cost=Weighted(weight))
        assert nnjax.predict(PARAMS, x, objective).tolist() == nnjax.predict(PARAMS, x).tolist()
        assert cost_of(x, labels, objective) == pytest.approx(weight * cost_of(x, labels))


def test_inference_removes_dropout_augmentation_label_smoothing_and_penalty():
    dropout, net = nnjax.DenseWithDropout(nnjax.relu, nnjax.identity), nnjax.ConvNet((8, 8), 3, dropout=0.5)
    training = Objective(
        nnjax.Augment(dropout, (8, 8)), code=nnjax.LabelSmoothing(0.2), penalty=lambda params: 0.0
    )
    assert training.inference() == Objective(nnjax.Dense(nnjax.relu, nnjax.identity))
    assert nnjax.Augment(net, (8, 8)).inference() == nnjax.ConvNet((8, 8), 3)


class WithAttributes(NamedTuple):
    """A forward function as Equinox writes it: `inference` is a setting and `output` a layer."""

    inference: bool = False
    output: str = "a layer"

    def __call__(self, params, x, key=None):
        return nnjax.feedforward(params, x, output=nnjax.identity)


def test_other_attributes_of_a_forward_function_do_not_matter():
    objective = Objective(WithAttributes(), nnjax.softmax_cross_entropy)
    assert objective.inference() == objective
    images, labels = np.zeros((6, 64), np.uint8), np.zeros(6, np.int32)
    check_split(objective, shapes_of_params((64, 10)), images, labels, 10)


@pytest.mark.parametrize("forward", [nnjax.Augment(nnjax.Dense(), (8, 8)), nnjax.DenseWithDropout()])
def test_a_wrapped_forward_with_an_activation_does_not_fit_a_cross_entropy(forward):
    objective = Objective(forward, nnjax.softmax_cross_entropy)
    images, labels = np.zeros((6, 64), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match="output must be identity"):
        check_split(objective, shapes_of_params((64, 10)), images, labels, 10)


def test_an_augmentation_for_images_of_another_shape_does_not_fit():
    objective = Objective(nnjax.Augment(nnjax.Dense(), (7, 7)))
    images, labels = np.zeros((6, 64), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match="forward must accept params"):
        check_split(objective, shapes_of_params((64, 10)), images, labels, 10)

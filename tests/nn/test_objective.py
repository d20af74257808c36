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
from nnjax.nn._shape_checks import check_split
from nnjax.nn.objective import Dense, Objective, gauss_newton_product, mean_cost

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
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    n=st.integers(1, 8),
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


@pytest.mark.parametrize("code", [nnjax.one_hot, nnjax.binary])
def test_codes_decode_what_they_encode(code):
    n_out = code.num_outputs(10)
    for label in range(10):
        y = jnp.asarray(code.encode(jnp.int32(label), n_out), jnp.float32)
        assert y.shape == (n_out,)
        assert int(code.decode(y)) == label
        assert int(code.decode(0.3 + 0.4 * y)) == label


def test_binary_writes_bits_and_reads_the_nearest_valid_digit():
    assert nnjax.binary.encode(jnp.int32(6), 4).tolist() == [0, 1, 1, 0]
    codewords = [[(digit >> bit) & 1 for bit in (3, 2, 1, 0)] for digit in range(10)]
    for a in np.random.default_rng(0).random((200, 4), dtype=np.float32):
        nearest = min(range(10), key=lambda d: sum((np.array(codewords[d]) - a) ** 2))
        assert int(nnjax.binary.decode(a)) == nearest
    assert int(nnjax.binary.decode(jnp.ones(4))) in (7, 9)


def test_is_digit_says_yes_above_a_half():
    code = nnjax.is_digit(9)
    assert [bool(code.encode(jnp.int32(d), 1)[0]) for d in range(10)] == [False] * 9 + [True]
    assert [int(code.decode(jnp.array([a]))) for a in (0.1, 0.5, 0.51)] == [0, 0, 1]


def test_logits_are_read_as_activations():
    """Above a half means z > 0 where the cost takes z: -0.1 is a no, 0.1 a yes."""
    objective = Objective(nnjax.Dense(output=nnjax.identity), nnjax.sigmoid_cross_entropy, nnjax.is_digit(9))
    for z, answer in ((-0.1, 0), (0.1, 1), (0.6, 1)):
        params = (nnjax.Layer(jnp.zeros((1, 2)), jnp.array([z])),)
        assert int(nnjax.predict(params, jnp.zeros((1, 2)), objective)[0]) == answer


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
        penalised = float(c(Objective(penalty=jax.tree_util.Partial(l2, rate))))
        assert penalised - plain == pytest.approx(rate * float(jnp.sum(params[0].w ** 2)), rel=1e-5)
    assert len(traces) == 2
    rates = jnp.array([0.1, 0.2, 0.3])
    many = jax.vmap(lambda rate: c(Objective(penalty=jax.tree_util.Partial(l2, rate))))(rates)
    assert float(many[1]) == pytest.approx(penalised, rel=1e-6)


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
        (Objective(), (5, 3, 2), 2, "4 pixels.*takes 5"),
        (Objective(), (4, 3, 2), 3, "output layer has 2"),
        (Objective(code=nnjax.binary), (4, 3), 10, "output layer has 3"),
        (Objective(code=nnjax.binary), (4, 5), 12, "cannot write 12"),
        (Objective(code=nnjax.is_digit(9)), (4, 1), 5, "beyond"),
        (
            Objective(nnjax.Dense(output=nnjax.identity), nnjax.softmax_cross_entropy, nnjax.is_digit(1)),
            (4, 1),
            10,
            "sigmoid_cross_entropy",
        ),
        (Objective(forward=lambda params, x, key: params["w"] @ x), (4, 2), 2, "forward cannot take"),
        (Objective(cost=nnjax.sigmoid_cross_entropy), (4, 2), 2, "output=identity"),
    ],
)
def test_what_does_not_fit_is_told(objective, sizes, num_classes, word):
    images, labels = np.zeros((6, 4), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match=word):
        check_split(objective, nnjax.init(KEY, sizes), images, labels, num_classes)


@pytest.mark.parametrize(
    "params", [(), {"w": np.ones((2, 4), int)}, {"w": jnp.ones((2, 4)), "f": jnp.sin}, {"v": jnp.ones(3)}]
)
def test_params_that_cannot_train_are_told(params):
    objective = Objective(forward=lambda params, x, key: params["w"] @ x)
    images, labels = np.zeros((6, 4), np.uint8), np.zeros(6, np.int32)
    with pytest.raises(ValueError, match=r"params|forward cannot take"):
        check_split(objective, params, images, labels, 2)


def test_whole_targets_are_targets_and_not_labels():
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


@pytest.mark.parametrize("digit", [-1, -9, 9.5])
def test_is_digit_wants_a_label(digit):
    with pytest.raises(ValueError, match="is_digit"):
        nnjax.is_digit(digit)


@pytest.mark.parametrize("cost", [nnjax.quadratic, nnjax.softmax_cross_entropy])
def test_the_gauss_newton_product_is_that_of_the_matrix_formed(x64, cost):
    """JᵀHJ as matrices, for a network small enough to form them."""
    params = nnjax.init(jax.random.key(0), (4, 3, 3))
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    images, labels = jax.random.uniform(jax.random.key(1), (5, 4)), jnp.array([0, 1, 2, 0, 1])
    objective = Objective(forward=Dense(output=nnjax.identity), cost=cost)

    def outputs(flat):
        return jax.vmap(lambda x: objective.forward(unflatten(flat), x))(images).ravel()

    def cost_of(outputs):
        return jnp.mean(jax.vmap(cost)(outputs.reshape(5, 3), jnp.eye(3)[labels]))

    j, h = jax.jacobian(outputs)(flat), jax.hessian(cost_of)(outputs(flat))
    v = jax.random.normal(jax.random.key(2), flat.shape)
    product = gauss_newton_product(params, unflatten(v), objective, images, labels, jax.random.key(3))
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(product)[0], j.T @ h @ j @ v, atol=1e-12)

"""The code of the book's chapter 1 runs, and its parts agree with the equations."""

import re

import jax
import numpy as np
import pytest

import reference
from nnjax import book


@pytest.fixture
def net():
    return book.Network([4, 3, 2], key=jax.random.key(0))


def params_of(net):
    return [(np.float64(w), np.float64(b)[:, 0]) for w, b in zip(net.weights, net.biases, strict=True)]


def pairs(n, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.random((4, 1)), rng.random((2, 1))) for _ in range(n)]


def stacked(pairs):
    return [np.concatenate([p[i] for p in pairs], axis=1).T for i in (0, 1)]


def test_shapes_are_those_of_the_book(net):
    assert (net.sizes, net.num_layers) == ([4, 3, 2], 3)
    assert [w.shape for w in net.weights] == [(3, 4), (2, 3)]
    assert [b.shape for b in net.biases] == [(3, 1), (2, 1)]
    assert net.feedforward(np.ones((4, 1))).shape == (2, 1)


def test_networks_are_random_unless_they_get_a_key():
    first, second = book.Network([4, 2]), book.Network([4, 2])
    assert np.abs(first.weights[0] - second.weights[0]).max() > 0
    weights = [book.Network([4, 2], key=jax.random.key(3)).weights[0] for _ in range(2)]
    np.testing.assert_array_equal(*weights)


def test_feedforward_and_backprop_agree_with_the_equations(net):
    ((x, y),) = pairs(1)
    np.testing.assert_allclose(
        net.feedforward(x)[:, 0], reference.forward(params_of(net), x.T)[-1][0], rtol=1e-5
    )
    nabla_b, nabla_w = net.backprop(x, y)
    for (dw, db), w, b in zip(reference.backprop(params_of(net), x.T, y.T), nabla_w, nabla_b, strict=True):
        np.testing.assert_allclose(w, dw, atol=1e-6)
        np.testing.assert_allclose(b[:, 0], db, atol=1e-6)


def test_update_mini_batch_takes_one_step_of_gradient_descent(net):
    batch = pairs(5)
    expected = reference.descend(params_of(net), *stacked(batch), 3.0)
    net.update_mini_batch(batch, 3.0)
    assert reference.distance(params_of(net), expected) < 1e-5


def test_integer_columns_are_targets(net):
    """XOR as columns of integers."""
    data = [
        (np.array([[a], [b], [0], [1]]), np.array([[a ^ b], [1 - (a ^ b)]])) for a in (0, 1) for b in (0, 1)
    ]
    expected = reference.descend(params_of(net), *stacked(data), 3.0)
    net.update_mini_batch(data, 3.0)
    assert reference.distance(params_of(net), expected) < 1e-5
    net.SGD(data, 1, 2, 3.0)


def test_lists_that_are_not_pairs_of_columns_raise(net):
    with pytest.raises(ValueError, match="must not be empty"):
        net.evaluate([])
    with pytest.raises(ValueError, match=r"x must be a column \(n, 1\) in each pair, got the shape \(4,\)"):
        net.evaluate([(np.ones(4), 1)])


def test_weights_and_biases_can_be_assigned(net):
    net.weights = [np.zeros_like(w) for w in net.weights]
    net.biases = [np.zeros_like(b) for b in net.biases]
    np.testing.assert_array_equal(net.feedforward(np.ones((4, 1))), np.full((2, 1), 0.5))


def test_sigmoid_and_cost_derivative_agree_with_the_equations():
    z = np.linspace(-3, 3, 7)
    s = reference.sigmoid(z)
    np.testing.assert_allclose(book.sigmoid(z), s, rtol=1e-5)
    np.testing.assert_allclose(book.sigmoid_prime(z), s * (1 - s), rtol=1e-4)
    assert float(book.sigmoid_prime(0.0)) == 0.25
    np.testing.assert_allclose(book.sigmoid(np.array([0, 1])), reference.sigmoid(np.array([0, 1])), rtol=1e-6)
    a, y = np.random.default_rng(0).random((2, 3, 1))
    np.testing.assert_allclose(book.Network([1, 3]).cost_derivative(a, y), a - y, rtol=1e-5, atol=1e-6)


def test_evaluate_compares_the_largest_output(net):
    test_data = [(x, i % 2) for i, (x, _) in enumerate(pairs(30))]
    outputs = reference.forward(params_of(net), np.concatenate([x for x, _ in test_data], axis=1).T)[-1]
    assert net.evaluate(test_data) == sum(
        a.argmax() == y for a, (_, y) in zip(outputs, test_data, strict=True)
    )


def test_the_code_of_the_book_trains_and_prints(capsys):
    from nnjax import book as mnist_loader
    from nnjax import book as network

    training_data, _, test_data = mnist_loader.load_data_wrapper("digits")
    training_data = training_data[:1200]  # a multiple of the batch size, so one step is compiled
    net = network.Network([64, 30, 10], key=jax.random.key(0))
    net.SGD(zip(*zip(*training_data, strict=True), strict=True), 20, 10, 3.0, test_data=test_data)
    lines = capsys.readouterr().out.splitlines()
    assert [re.fullmatch(r"Epoch (\d+) : \d+ / 296", line)[1] for line in lines] == [
        str(i) for i in range(20)
    ]
    assert int(lines[-1].split()[3]) == net.evaluate(test_data) > 0.9 * 296
    net.SGD(training_data, 2, 10, 3.0)
    assert capsys.readouterr().out.splitlines() == ["Epoch 0 complete", "Epoch 1 complete"]


@pytest.mark.slow
def test_load_data_wrapper_returns_the_shapes_of_the_book(mnist_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(mnist_dir))
    training_data, validation_data, test_data = book.load_data_wrapper()
    assert [len(d) for d in (training_data, validation_data, test_data)] == [50_000, 10_000, 10_000]
    x, y = training_data[0]
    assert (x.shape, y.shape) == ((784, 1), (10, 1))
    assert (x.min(), x.max(), y.argmax(), y.sum()) == (0, 1, 5, 1)
    x, y = test_data[0]
    assert (x.shape, y) == ((784, 1), 7)

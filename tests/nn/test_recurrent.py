"""Recurrent networks are those of Equinox with the same weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.nn import Recurrent, token_cross_entropy

KEY, TIME, N_IN, N = jax.random.key(0), 5, 3, 4


def equinox_states(cell, params, x):
    """The states h of an Equinox cell with the weights of `params`."""
    module = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}[cell](N_IN, N, key=KEY)
    w, b = params.cell
    module = eqx.tree_at(lambda m: (m.weight_ih, m.weight_hh, m.bias), module, (w[:, :N_IN], w[:, N_IN:], b))
    if cell == "gru":  # Equinox has a second bias, and calls 1 - u the update gate
        module = eqx.tree_at(lambda m: m.bias_n, module, jnp.zeros(N))
    state, states = (jnp.zeros(N),) * 2 if cell == "lstm" else jnp.zeros(N), []
    for row in x:
        state = module(row, state)
        states.append(state[0] if cell == "lstm" else state)
    return jnp.stack(states)


def elman_states(params, x):
    w, b = params.cell
    h, states = jnp.zeros(N), []
    for row in x:
        h = jnp.tanh(w[:, :N_IN] @ row + w[:, N_IN:] @ h + b)
        states.append(h)
    return jnp.stack(states)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_outputs_and_gradients_are_those_of_an_independent_implementation(cell, x64):
    x = jax.random.normal(KEY, (TIME, N_IN))
    params = Recurrent(cell).init(jax.random.key(1), N_IN, N, 2)
    params = jax.tree.map(lambda p: p + 0.1, params)  # biases that are not 0
    states_of = elman_states if cell == "rnn" else lambda params, x: equinox_states(cell, params, x)

    def expected(params):
        return states_of(params, x) @ params.output.w.T + params.output.b[None]

    every, last = Recurrent(cell, every_step=True), Recurrent(cell)
    np.testing.assert_allclose(every(params, x), expected(params), atol=1e-12)
    np.testing.assert_allclose(last(params, x), expected(params)[-1], atol=1e-12)
    gradient = jax.grad(lambda params: jnp.sum(every(params, x) ** 2))(params)
    expected_gradient = jax.grad(lambda params: jnp.sum(expected(params) ** 2))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), gradient, expected_gradient)


def test_tokens_are_rows_of_the_embedding():
    params = Recurrent().init(KEY, N_IN, N, 2, vocabulary=7)
    tokens = jnp.array([3, 0, 6])
    vectors = Recurrent()(params._replace(embedding=None), params.embedding[tokens])
    np.testing.assert_array_equal(Recurrent()(params, tokens), vectors)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_rows_of_images_are_read_by_fit_and_sweep(cell, digits):
    forward = Recurrent(cell)
    objective = nnjax.Objective(forward, nnjax.softmax_cross_entropy)
    grid = nnjax.sweep(
        KEY, digits, init=lambda key: forward.init(key, 8, 16, 10), objective=objective, seeds=2,
        learning_rate=0.003, optimizer=optax.adam, epochs=30,
    )  # fmt: skip
    assert grid.test_accuracy.isel(epoch=-1).min() > 0.9


@pytest.mark.slow
def test_a_network_remembers_the_first_token():
    """The target of every position is the first token, so a network without a state cannot know it."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, 3, (300, 6))
    targets = np.repeat(tokens[:, :1], 6, axis=1)
    data = nnjax.Dataset.from_arrays((tokens, targets), test=(tokens[:100], targets[:100]))
    forward = Recurrent(every_step=True)
    objective = nnjax.Objective(forward, token_cross_entropy, code=None)
    params = forward.init(KEY, 4, 8, 3, vocabulary=3)
    run = nnjax.fit(KEY, params, data, objective=objective, learning_rate=2.0, epochs=12)
    assert run.history.test_cost[-1] < 0.1 < np.log(3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.array([[0, 3]]), "inputs must be tokens from 0 to 2, for a vocabulary of 3, got 0 to 3"),
        (np.array([[-1, 2]]), "got -1 to 2"),
        (np.array([[0, 1]], np.uint8), "inputs must be int32 tokens for an embedding, got uint8"),
    ],
)
def test_tokens_out_of_the_vocabulary_raise(inputs, message):
    forward = Recurrent(every_step=True)
    data = nnjax.Dataset.from_arrays((inputs, np.array([[0, 1]])))
    objective = nnjax.Objective(forward, token_cross_entropy, code=None)
    with pytest.raises(ValueError, match=message):
        nnjax.fit(KEY, forward.init(KEY, 4, 8, 3, vocabulary=3), data, objective=objective, learning_rate=1.0,
                  batch_size=1)  # fmt: skip


@pytest.mark.parametrize("part", [0, 1])
def test_the_tokens_of_every_split_are_checked(part):
    """The test split has the same shapes and good tokens."""
    forward, good = Recurrent(every_step=True), np.array([[0, 2]])
    train = [good, good]
    train[part] = np.array([[0, 3]])
    data = nnjax.Dataset.from_arrays(tuple(train), test=(good, good))
    objective = nnjax.Objective(forward, token_cross_entropy, code=None)
    params = forward.init(KEY, 4, 8, 3, vocabulary=3)
    with pytest.raises(ValueError, match=r"must be tokens from 0 to 2, for a vocabulary of 3, got 0 to 3"):
        nnjax.fit(KEY, params, data, objective=objective, learning_rate=1.0, batch_size=1)

"""The names of the book's program, as a thin layer on the functional core.

The code of chapter 1 of Nielsen, *Neural Networks and Deep Learning*, runs with changed imports:

    from nnjax import book as mnist_loader
    from nnjax import book as network
    training_data, validation_data, test_data = mnist_loader.load_data_wrapper()
    net = network.Network([784, 30, 10])
    net.SGD(training_data, 30, 10, 3.0, test_data=test_data)

Shapes are the book's: a vector is a column (n, 1), and data are lists of pairs (x, y).
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from nnjax.data import Dataset, Split, load
from nnjax.nn import dense
from nnjax.nn._shape_checks import num_outputs
from nnjax.nn.dense import Layer, Params, feedforward, init
from nnjax.nn.metrics import count_correct
from nnjax.nn.objective import Objective, one_hot, quadratic, to_input, to_target
from nnjax.optim.optimizers import make_optimizer
from nnjax.training._fit import fit
from nnjax.training.run import Run
from nnjax.training.step import init_state, train_step

Column = Float[np.ndarray | Array, "n 1"]
Pairs = Iterable[tuple[Column, Any]]

_step = jax.jit(lambda *arguments: train_step(*arguments).params)
_columns_forward = jax.jit(jax.vmap(feedforward, in_axes=(None, 1), out_axes=1))
_gradient = jax.jit(jax.grad(lambda params, x, y: quadratic(feedforward(params, x), y)))


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z), elementwise."""
    return dense.sigmoid(jnp.asarray(z, float))


def sigmoid_prime(z: Array) -> Array:
    """The derivative of the sigmoid, elementwise."""
    return jax.grad(lambda z: jnp.sum(sigmoid(z)))(jnp.asarray(z, float))


def load_data_wrapper(name: str = "mnist") -> tuple[list, list, list]:
    """Loads a data set as lists of pairs (x, y), in the book's order.

    Args:
      name: as for `nnjax.load`.

    Returns:
      training_data, validation_data, test_data. x is a column (784, 1) of gray values from 0.0 to 1.0. y is
      a column (10, 1), 1.0 at the digit, in the training data, and the digit in the other two.
    """
    data = load(name)
    dtype = jnp.result_type(float)

    def columns(rows: Array) -> np.ndarray:
        return np.reshape(rows, (len(rows), -1, 1))

    def pairs(split: Split, y: np.ndarray) -> list:
        return list(zip(columns(to_input(jnp.asarray(split.inputs), dtype)), y, strict=True))

    def vectorized_result(digit: Array) -> Array:
        return to_target(digit, one_hot, num_outputs(one_hot, data), dtype)

    return (
        pairs(data.train, columns(jax.vmap(vectorized_result)(jnp.asarray(data.train.targets)))),
        pairs(data.validation, np.asarray(data.validation.targets)),
        pairs(data.test, np.asarray(data.test.targets)),
    )


class Network:
    """A network with the book's attributes and methods; you may assign to `weights` and `biases`.

    Args:
      sizes: the number of inputs, then of neurons in each layer, as in [784, 30, 10].
      key: a `jax.random.key` for the initial weights and the shuffling; by default a random one, as in
        the book.
    """

    def __init__(self, sizes: Sequence[int], key: Array | None = None):
        init_key, self._key = jax.random.split(jax.random.key(secrets.randbits(31)) if key is None else key)
        self._set_params(init(init_key, sizes))
        self.num_layers = len(sizes)
        self.sizes = list(sizes)

    def _set_params(self, params: Params) -> None:
        self.weights = [np.array(layer.w) for layer in params]
        self.biases = [np.array(layer.b)[:, None] for layer in params]

    @property
    def _params(self) -> Params:
        return tuple(
            Layer(jnp.asarray(w, float), jnp.asarray(b, float)[:, 0])
            for w, b in zip(self.weights, self.biases, strict=True)
        )

    def feedforward(self, a: Column) -> Column:
        """The output column of the network for the input column `a`."""
        return np.asarray(_columns_forward(self._params, jnp.asarray(a, float)))

    def SGD(
        self,
        training_data: Pairs,
        epochs: int,
        mini_batch_size: int,
        eta: float,
        test_data: Pairs | None = None,
    ) -> None:
        """Trains by mini-batch stochastic gradient descent, and prints a line per epoch as in the book.

        Args:
          training_data: pairs (x, y) of columns.
          epochs: the number of times that every pair is used.
          mini_batch_size: pairs in a mini-batch.
          eta: the learning rate.
          test_data: pairs (x, digit); if passed, the line contains the number of correct predictions.
        """
        test = None if test_data is None else _stack(test_data)
        data = Dataset.from_arrays(train=_stack(training_data), test=test, num_classes=self.sizes[-1])

        def report(run: Run) -> None:
            self._set_params(run.params)
            epoch = len(run.history) - 1
            if test is None:
                print(f"Epoch {epoch} complete", flush=True)
            else:
                correct = run.history.test_correct[-1]  # pyright: ignore[reportOptionalSubscript]
                print(f"Epoch {epoch} : {correct} / {len(data.test.targets)}", flush=True)

        self._key, key = jax.random.split(self._key)
        fit(
            key,
            self._params,
            data,
            learning_rate=eta,
            epochs=epochs,
            batch_size=mini_batch_size,
            callback=report,
        )

    def update_mini_batch(self, mini_batch: Pairs, eta: float) -> None:
        """Takes one step of gradient descent on `mini_batch`, a list of pairs (x, y) of columns."""
        optimizer = make_optimizer(optax.sgd, {"learning_rate": eta})
        state = init_state(self._key, self._params, optimizer)
        inputs, targets = map(jnp.asarray, _stack(mini_batch))
        self._set_params(
            _step(state.params, state.opt_state, inputs, targets, state.key, Objective(), optimizer)
        )

    def backprop(self, x: Column, y: Column) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The gradient of one example's cost: `nabla_b` and `nabla_w`, shaped like `biases` and `weights`."""
        grads = _gradient(self._params, jnp.asarray(x, float)[:, 0], jnp.asarray(y, float)[:, 0])
        return [np.array(g.b)[:, None] for g in grads], [np.array(g.w) for g in grads]

    def evaluate(self, test_data: Pairs) -> int:
        """The number of pairs (x, digit) for which the digit is the output with the largest activation."""
        return int(count_correct(self._params, *_stack(test_data)))

    def cost_derivative(self, output_activations: Column, y: Column) -> Column:
        """∂C_x/∂a for the column of output activations."""
        a, y = jnp.asarray(output_activations, float), jnp.asarray(y, float)
        return np.asarray(jax.grad(quadratic)(a, y))


def _stack(pairs: Pairs) -> Split:
    """The book's pairs as arrays: columns become rows, digits stay integers."""
    pairs = list(pairs)
    if not pairs:
        raise ValueError("the list of pairs (x, y) must not be empty, got []")
    x, y = np.asarray([x for x, _ in pairs], jnp.result_type(float)), np.asarray([y for _, y in pairs])
    if x.ndim != 3 or x.shape[2] != 1:
        raise ValueError(f"x must be a column (n, 1) in each pair, got the shape {x.shape[1:]}")
    return Split(x[:, :, 0], y[:, :, 0] if y.ndim == 3 else y)

"""Many networks as one pytree with a leading axis, trained side by side by one compiled program.

An epoch of a population is `vmap` of `train.epoch`, or the same epoch by blocks (`blocked`) where that
is faster. Where all networks share its mini-batches, the images carry no network axis, and XLA makes
one large product of the first layers of all.

Networks of different widths become one shape by `pad`: a padded unit's weights and bias are zero.
It feeds nothing, for what it feeds it feeds with zero weights; and it learns nothing, for its
gradients are masked once, before the optimizer (`Masked`). So `feedforward` knows nothing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Num

from nnjax import blocked, parallel, train
from nnjax.network import Layer, Params, sizes_of
from nnjax.objective import Objective
from nnjax.optimizers import Optimizer, masked
from nnjax.train import TrainState


def pad(params: Params, sizes: Sequence[int]) -> Params:
    """A dense network widened to `sizes` by units whose weights and biases are zero.

    >>> pad((Layer(jnp.ones((1, 2)), jnp.ones(1)),), (2, 2))[0].w.tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """

    def widened(layer, n_in, n_out):
        more_out, more_in = n_out - layer.w.shape[0], n_in - layer.w.shape[1]
        return Layer(jnp.pad(layer.w, ((0, more_out), (0, more_in))), jnp.pad(layer.b, (0, more_out)))

    return tuple(widened(layer, *ends) for layer, ends in zip(params, pairwise(sizes), strict=True))


def crop(params: Params, sizes: Sequence[int]) -> Params:
    """The network that `pad` widened, at its own sizes again."""
    return tuple(
        Layer(layer.w[:n_out, :n_in], layer.b[:n_out])
        for layer, (n_in, n_out) in zip(params, pairwise(sizes), strict=True)
    )


def mask(sizes: Sequence[int], padded: Sequence[int]) -> Params:
    """Which numbers of a network widened from `sizes` to `padded` are its own: True, to broadcast.

    >>> mask((3, 1, 2), (3, 2, 2))[1].w.tolist()
    [[True, False]]
    """
    # Inputs and outputs are never widened, so that one row or column of True will do for all.
    hidden = [np.arange(to) < n for n, to in zip(sizes[1:-1], padded[1:-1], strict=True)]
    own = [np.ones(1, bool), *hidden, np.ones(1, bool)]
    return tuple(
        Layer(jnp.asarray(rows[:, None] & columns), jnp.asarray(rows)) for columns, rows in pairwise(own)
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Masked:
    """An optimizer that sees zero as the gradient of each number which `mask` says is padding."""

    optimizer: Optimizer
    mask: Any

    def init(self, params: Any) -> optax.OptState:
        """The optimizer's state before the first step."""
        return self.optimizer.init(params)

    def apply(
        self, grads: Any, opt_state: optax.OptState, params: Any, **extra: Any
    ) -> tuple[Any, optax.OptState]:
        """Parameters and optimizer state after one step, padding as it was."""
        grads = masked(self.mask, grads)
        return self.optimizer.apply(grads, opt_state, params, **extra | {"grad": grads})


def stack(trees: Sequence[Any]) -> Any:
    """Pytrees of one shape as one, each leaf with a leading axis that counts them."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _axes(shared_batches: bool) -> TrainState:
    """The axis of each part of a population's state: a key of all's own, or one for each."""
    return TrainState(0, 0, None if shared_batches else 0, None)  # pyright: ignore[reportArgumentType]


def start(key: Array, params: Any, optimizers: Any) -> TrainState:
    """The state of a population before its first epoch; `key` is one for all, or one for each."""
    axes = _axes(key.ndim == 0)
    return jax.vmap(train.start, in_axes=(axes.key, 0, 0), out_axes=axes)(key, params, optimizers)


@partial(jax.jit, static_argnames=("batch_size", "mesh"), donate_argnames="states")
def epoch(
    states: TrainState,
    images: Num[Array, "n pixels"],
    labels: Num[Array, "n ..."],
    objectives: Objective,
    optimizers: Optimizer | Masked,
    batch_size: int,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Float[Array, " networks"]]:
    """`train.epoch` for every network of a population; `states` is donated.

    Args:
      states: as `start` gives it; with one key the networks share each epoch's mini-batches.
      objectives, optimizers: their leaves have a leading axis too, a value for each network.
      mesh: devices that share the networks, whose number theirs must divide.

    Returns:
      The states after the epoch, and each network's mean cost over the epoch's examples.
    """
    shared_batches = states.key.ndim == 0
    axes, data = _axes(shared_batches), (images, labels)
    optimizer, masks = (
        (optimizers.optimizer, optimizers.mask) if isinstance(optimizers, Masked) else (optimizers, None)
    )
    devices = parallel.devices(mesh)
    if shared_batches and (
        steps := blocked.length(states.params, objectives, optimizer, batch_size, devices)
    ):
        by_blocks = partial(blocked.epoch, batch_size=batch_size, steps=steps)
        of_all = parallel.shared_out(by_blocks, (axes, None, None, 0, 0, 0), (axes, 0), mesh)
        return of_all(states, *data, objectives, optimizer.numbers["learning_rate"], masks)
    of_one = partial(train.epoch, batch_size=batch_size)
    of_all = parallel.vmap(of_one, (axes, None, None, 0, 0), (axes, 0), mesh)
    return of_all(states, *data, objectives, optimizers)


def place(states: TrainState, mesh: Mesh | None) -> TrainState:
    """A population's states on the device, or each network on its device of a mesh."""
    if mesh is None:
        return jax.device_put(states)
    everywhere, along = parallel.everywhere(mesh), parallel.along(mesh)
    axes = _axes(states.key.ndim == 0)
    return TrainState(
        *(
            parallel.put(part, everywhere if axis is None else along)
            for part, axis in zip(states, axes, strict=True)
        )
    )


def sees_padding(
    params: Params,
    padded: Sequence[int],
    objective: Objective,
    optimizer: Optimizer,
    images: Num[Array, "m pixels"],
    labels: Num[Array, "m ..."],
) -> bool:
    """Whether padding would change how a network trains: whether anything mixes its units.

    Muon orthogonalises whole matrices, dropout and noise are drawn shape by shape, softmax as an
    activation divides by a sum over the layer. Found out by two steps on the images with either,
    in double precision. What does not move tells nothing, and counts as changed.
    """
    sizes, key = sizes_of(params), jax.random.key(0)
    step = jax.jit(train.step)

    def moved(params: Params, optimizer: Optimizer | Masked) -> np.ndarray:
        now, opt_state = params, optimizer.init(params)
        for _ in range(2):
            now, opt_state, _ = step(now, opt_state, images, labels, key, objective, optimizer)
        change = crop(jax.tree.map(jnp.subtract, now, params), sizes)
        return np.concatenate([np.ravel(part) for part in jax.tree.leaves(change)])

    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        alone = moved(params, optimizer)
        among = moved(pad(params, padded), Masked(optimizer, mask(sizes, padded)))
    size = np.abs(alone).max()
    return not 0 < size < np.inf or not np.allclose(among, alone, rtol=0, atol=1e-9 * size)

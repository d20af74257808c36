"""Many networks as one pytree with a leading axis, trained in one compiled program.

An epoch of a population is `vmap` of `train_epoch` or, if that is faster, the same epoch in blocks
(`_blocked`). If all networks share their mini-batches, the inputs have no network axis, and XLA computes
the first layers of all networks as one large matrix product.

`pad` gives networks of different widths the same shape. The weights and the bias of a padded unit are
zero. It contributes nothing, because the weights from it are zero, and it learns nothing, because
`PaddingMask` zeroes its gradients before the optimizer. So `feedforward` works without changes.
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

from nnjax.nn.dense import Layer, Params, sizes_of
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Optimizer, mask_gradients
from nnjax.runtime import sharding
from nnjax.sweep import _blocked
from nnjax.sweep._threads import map_axes
from nnjax.training import epoch, step
from nnjax.training._observe import Watches
from nnjax.training.step import EpochOrder, TrainState


def pad(params: Params, sizes: Sequence[int]) -> Params:
    """A dense network widened to `sizes` with units whose weights and biases are zero.

    >>> pad((Layer(jnp.ones((1, 2)), jnp.ones(1)),), (2, 2))[0].w.tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """

    def pad_layer(layer, n_in, n_out):
        more_out, more_in = n_out - layer.w.shape[0], n_in - layer.w.shape[1]
        return Layer(jnp.pad(layer.w, ((0, more_out), (0, more_in))), jnp.pad(layer.b, (0, more_out)))

    return tuple(pad_layer(layer, *ends) for layer, ends in zip(params, pairwise(sizes), strict=True))


def crop(params: Params, sizes: Sequence[int]) -> Params:
    """The network without the units that `pad` added."""
    return tuple(
        Layer(layer.w[:n_out, :n_in], layer.b[:n_out])
        for layer, (n_in, n_out) in zip(params, pairwise(sizes), strict=True)
    )


def padding_mask(sizes: Sequence[int], padded: Sequence[int]) -> Params:
    """False at the parameters that `pad` adds, True elsewhere; broadcasts to the parameters.

    >>> padding_mask((3, 1, 2), (3, 2, 2))[1].w.tolist()
    [[True, False]]
    """
    # Inputs and outputs are never padded, so a single True is broadcast over them.
    hidden = [np.arange(to) < n for n, to in zip(sizes[1:-1], padded[1:-1], strict=True)]
    real = [np.ones(1, bool), *hidden, np.ones(1, bool)]
    return tuple(
        Layer(jnp.asarray(rows[:, None] & columns), jnp.asarray(rows)) for columns, rows in pairwise(real)
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PaddingMask:
    """An optimizer in which the gradient of every padded parameter is set to zero."""

    optimizer: Optimizer
    mask: Any

    def init(self, params: Any) -> optax.OptState:
        """The optimizer's state before the first step."""
        return self.optimizer.init(params)

    def apply(
        self, grads: Any, opt_state: optax.OptState, params: Any, **extra: Any
    ) -> tuple[Any, optax.OptState, Any]:
        """As `Optimizer.apply`; padded parameters do not change."""
        grads = mask_gradients(self.mask, grads)
        return self.optimizer.apply(grads, opt_state, params, **extra | {"grad": grads})


def stack(trees: Sequence[Any]) -> Any:
    """Pytrees of the same shapes as one pytree, each leaf with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def states_of(states: TrainState) -> list[TrainState]:
    """The state of each network of a population, in host memory."""
    on_host = jax.tree.map(lambda x: x if sharding.is_key(x) else sharding.to_numpy(x), states)
    return [
        map_axes(lambda axis, x, i=i: x if axis is None else x[i], axes_of(states), on_host)
        for i in range(len(jax.tree.leaves(states.params)[0]))
    ]


def join_states(template: TrainState, states: Sequence[TrainState]) -> TrainState:
    """The population of the networks with these states, with the axes of `template`."""
    return map_axes(
        # A shared part is copied, because training donates it, and other populations may have it too.
        lambda axis, *parts: jnp.copy(parts[0]) if axis is None else jnp.stack(parts),
        axes_of(template),
        *states,
    )


def axes_of(states: TrainState) -> TrainState:
    """The network axis of each part of a population's state; a shared key has none."""
    return _state_axes(states.key.ndim == 0, states.order is not None)


def _state_axes(shared_batches: bool, has_order: bool) -> TrainState:
    axis: Any = None if shared_batches else 0
    # Without an axis, the epoch remains a scalar, and an order is drawn only in the first step of an epoch.
    order = EpochOrder(None, axis) if has_order else None  # pyright: ignore[reportArgumentType]
    return TrainState(0, 0, axis, None, 0, order)  # pyright: ignore[reportArgumentType]


def init_states(
    key: Array, params: Any, optimizers: Any, watches: Watches | None = None, num_examples: int | None = None
) -> TrainState:
    """The state of a population before its first epoch.

    Args:
      key: one key for all networks, or an array with one key per network.
      params, optimizers: pytrees whose leaves have a leading network axis.
      watches: the watches that are computed in the steps, by name.
      num_examples: the number of training examples, if several programs train parts of an epoch.
    """
    axes = _state_axes(key.ndim == 0, num_examples is not None)

    def init(key, params, optimizer):
        order = None if num_examples is None else step.no_order(num_examples)
        return step.init_state(key, params, optimizer, watches)._replace(order=order)

    return jax.vmap(init, in_axes=(axes.key, 0, 0), out_axes=axes)(key, params, optimizers)


@partial(
    jax.jit, static_argnames=("batch_size", "mesh", "num_steps", "drop_remainder"), donate_argnames="states"
)
def train_epoch(
    states: TrainState,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objectives: Objective,
    optimizers: Optimizer | PaddingMask,
    batch_size: int,
    mesh: Mesh | None = None,
    watches: Watches | None = None,
    num_steps: int | None = None,
    drop_remainder: bool = False,
) -> tuple[TrainState, Float[Array, " networks"], dict[str, Array]]:
    """`training.train_epoch` for every network of a population; `states` is donated.

    Args:
      states: as returned by `init_states`; with one key the networks share each epoch's mini-batches.
      inputs, targets: the training examples, the same for all networks.
      objectives, optimizers: pytrees whose leaves have a leading network axis.
      batch_size: examples in a mini-batch.
      mesh: devices that share the networks; they must divide the number of networks.
      watches, num_steps, drop_remainder: as for `training.train_epoch`.

    Returns:
      The new states; each network's mean cost over the examples; and the values of each watch, with a leading
      network axis.
    """
    shared_batches = states.key.ndim == 0
    axes, data = axes_of(states), (inputs, targets)
    optimizer, masks = (
        (optimizers.optimizer, optimizers.mask) if isinstance(optimizers, PaddingMask) else (optimizers, None)
    )
    devices = sharding.num_devices(mesh)
    is_whole_epoch = num_steps is None and not watches
    if (shared_batches and is_whole_epoch) and (
        steps := _blocked.block_steps(states.params, objectives, optimizer, batch_size, devices)
    ):
        by_blocks = partial(
            _blocked.train_epoch, batch_size=batch_size, steps=steps, drop_remainder=drop_remainder
        )
        train_all = sharding.shard_networks(by_blocks, (axes, None, None, 0, 0, 0), (axes, 0), mesh)
        return *train_all(states, *data, objectives, optimizer.hyperparams["learning_rate"], masks), {}

    def train_one(state, inputs, targets, objective, optimizer, watches):
        return epoch.train_epoch(
            state, inputs, targets, objective, optimizer, batch_size, None, watches, num_steps, drop_remainder
        )

    train_all = sharding.vmap(train_one, (axes, None, None, 0, 0, None), (axes, 0, 0), mesh)
    return train_all(states, *data, objectives, optimizers, watches)


def place(states: TrainState, mesh: Mesh | None) -> TrainState:
    """A population's states on the device, or each network on its device of a mesh."""
    if mesh is None:
        return jax.device_put(states)
    shared, split = sharding.replicated(mesh), sharding.batch_sharded(mesh)

    def put(axis, part):
        return sharding.device_put_global(part, shared if axis is None else split)

    return jax.tree.map(put, axes_of(states), states, is_leaf=lambda axis: axis is None)


def padding_changes_training(
    params: Params,
    padded: Sequence[int],
    objective: Objective,
    optimizer: Optimizer,
    inputs: Num[Array, "m ..."],
    targets: Num[Array, "m ..."],
) -> bool:
    """Whether padding changes the training of a network, because a computation mixes its units.

    For example, Muon orthogonalizes complete matrices, dropout draws noise of the padded shape, and softmax
    as an activation divides by a sum over the layer. So the function compares two steps with and without
    padding, in double precision. If the parameters do not change in two steps, nothing can be compared,
    and the result is True.
    """
    sizes, key = sizes_of(params), jax.random.key(0)
    train_step = jax.jit(lambda *arguments: step.train_step(*arguments)[:2])

    def change_after_two_steps(params: Params, optimizer: Optimizer | PaddingMask) -> np.ndarray:
        now, opt_state = params, optimizer.init(params)
        for _ in range(2):
            now, opt_state = train_step(now, opt_state, inputs, targets, key, objective, optimizer)
        change = crop(jax.tree.map(jnp.subtract, now, params), sizes)
        return np.concatenate([np.ravel(part) for part in jax.tree.leaves(change)])

    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        alone = change_after_two_steps(params, optimizer)
        masked = PaddingMask(optimizer, padding_mask(sizes, padded))
        in_padding = change_after_two_steps(pad(params, padded), masked)
    size = np.abs(alone).max()
    return not 0 < size < np.inf or not np.allclose(in_padding, alone, rtol=0, atol=1e-9 * size)

"""Blocked SGD: the first layers of many networks, updated once per block of T mini-batches.

The result is exact (up to rounding). Plain SGD changes a first layer only by outer products of its deltas
with the inputs. Let w, b be the layer at the start of a block, x_t the inputs of mini-batch t, and
δ_s = η ∂C/∂z_s of each earlier mini-batch s:

    z_t = x_t wᵀ + b − Σ_{s<t} (x_t x_sᵀ + 1) δ_s,        w ← w − Σ_s δ_sᵀ x_s,   b ← b − Σ_s Σ δ_s.

So one large product computes x wᵀ for all mini-batches of a block, one Gram matrix x xᵀ serves all
networks, and the steps in between touch only small arrays. The large w is read and written once per block
(docs/blocked.md).
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from nnjax.nn.dense import Dense, DenseFromPreactivations, Layer, is_dense
from nnjax.nn.objective import Objective, mean_cost, to_input
from nnjax.optim.optimizers import Optimizer, mask_gradients
from nnjax.training.epoch import batch_sizes, mean_over_examples, shuffle_epoch
from nnjax.training.step import TrainState


def block_steps(
    params: Any, objective: Objective, optimizer: Optimizer, batch_size: int, devices: int
) -> int:
    """The number of mini-batches in a block, or 0 if blocking is impossible or not faster.

    Blocking needs plain SGD on dense networks of at least two layers, without penalty. With T mini-batches
    of m examples in a block, each step multiplies T m numbers per hidden unit, and the Gram matrix costs as
    much as T m / 2 hidden units. So the number of inputs and the number of hidden units on a device limit T.
    """
    if not (optimizer.is_plain_sgd and is_dense(params) and len(params) > 1):
        return 0
    if type(objective.forward) is not Dense or objective.penalty is not None:
        return 0
    networks, units, pixels = params[0].w.shape
    steps = min(pixels // 3, networks * units // (2 * devices)) // batch_size
    return steps if steps > 1 else 0


def train_epoch(
    states: TrainState,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objectives: Objective,
    learning_rates: Float[Array, " networks"],
    masks: Any,
    batch_size: int,
    steps: int,
    drop_remainder: bool = False,
) -> tuple[TrainState, Float[Array, " networks"]]:
    """An epoch of networks that share mini-batches, in blocks of `steps` mini-batches.

    Args:
      states: with one key for all networks; not donated.
      inputs, targets, objectives, batch_size: as in `_population.train_epoch`.
      learning_rates: one for each network.
      masks: the stacked results of `padding_mask`, or None.
      steps: mini-batches in a block.
      drop_remainder: whether a smaller last mini-batch of an epoch is dropped.
    """
    examples, key = shuffle_epoch(states, (inputs, targets), batch_size, drop_remainder)
    forward = objectives.forward
    from_z = replace(objectives, forward=DenseFromPreactivations(forward.activation, forward.output))

    def block(params, batches):
        inputs, targets = batches
        return _block(params, inputs, targets, from_z, learning_rates, masks, key)

    def in_batches(first, blocks, steps, m):
        """Blocks of mini-batches of m examples, from the example `first` on."""
        count = blocks * steps * m
        return jax.tree.map(
            lambda a: a[first : first + count].reshape(blocks, steps, m, *a.shape[1:]), examples
        )

    n_full, n_rest = divmod(len(inputs), batch_size)
    n_rest = 0 if drop_remainder else n_rest
    n_blocks, n_odd = divmod(n_full, steps)
    params, costs = states.params, []
    # Full blocks, then the remaining full mini-batches, then the remaining examples.
    for first, blocks, size, m in (
        (0, n_blocks, steps, batch_size),
        (n_blocks * steps * batch_size, 1, n_odd, batch_size),
        (n_full * batch_size, 1, 1, n_rest),
    ):
        if blocks * size * m:
            params, block_costs = jax.lax.scan(block, params, in_batches(first, blocks, size, m))
            costs.append(block_costs.reshape(blocks * size, -1))
    sizes = batch_sizes(len(inputs), batch_size, drop_remainder)
    mean = jax.vmap(lambda costs: mean_over_examples(costs, sizes), in_axes=1)
    return states._replace(params=params, step=states.step + len(sizes)), mean(jnp.concatenate(costs))


def _block(params, inputs, targets, from_z, learning_rates, masks, key):
    """The parameters after a block of mini-batches, and the cost of each network in each step.

    `inputs` are (steps, m, ...); z and δ have the shape (steps, m, networks, n).
    """
    (w, b), *rest = params
    x = to_input(inputs.reshape(-1, w.shape[-1]), w.dtype)
    by_step = inputs.shape[:2]
    z = (jnp.einsum("np,khp->nkh", x, w) + b[None]).reshape(*by_step, *b.shape)
    gram = (x @ x.T + 1).reshape(*by_step, *by_step)
    gradients = jax.vmap(
        jax.value_and_grad(mean_cost, (0, 2)), in_axes=(0, 0, 1, None, None), out_axes=(0, (0, 1))
    )

    def step(carry, batch):
        rest, deltas = carry
        t, z, gram, targets = batch
        z = z - jnp.tensordot(gram, deltas, 2)
        cost, (grads, delta) = gradients(tuple(rest), from_z, z, targets, key)
        if masks is not None:
            grads = mask_gradients(masks[1:], grads)
        rest = jax.tree.map(
            lambda w, g: w - g * learning_rates.reshape(-1, *[1] * (g.ndim - 1)).astype(g.dtype), rest, grads
        )
        deltas = deltas.at[t].set(delta * learning_rates[None, :, None].astype(delta.dtype))
        return (rest, deltas), cost

    (rest, deltas), costs = jax.lax.scan(
        step, (tuple(rest), jnp.zeros_like(z)), (jnp.arange(len(z)), z, gram, targets)
    )
    deltas = deltas.reshape(len(x), *b.shape)
    first = Layer(w - jnp.einsum("nkh,np->khp", deltas, x), b - deltas.sum(0))
    return (first, *rest), costs

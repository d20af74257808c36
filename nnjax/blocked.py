"""Blocked SGD: the first layers of many networks, changed once for a block of T mini-batches. Exactly.

Plain SGD changes a first layer only by outer products of its deltas with the images. With w, b at
the beginning of a block, x_t the images of its mini-batch t, and δ_s = η ∂C/∂z_s of those before,

    z_t = x_t wᵀ + b − Σ_{s<t} (x_t x_sᵀ + 1) δ_s,        w ← w − Σ_s δ_sᵀ x_s,   b ← b − Σ_s Σ δ_s.

So one large product gives x wᵀ for the whole block, one Gram matrix x xᵀ serves all networks, and the
steps in between touch small arrays only: the large w is read and written once a block, not once a step.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Num

from nnjax.network import Layer, is_dense
from nnjax.objective import Dense, Objective, Onward, as_input, mean_cost
from nnjax.optimizers import Optimizer, masked
from nnjax.train import TrainState, mean_over_examples, shuffled


def length(params: Any, objective: Objective, optimizer: Optimizer, batch_size: int, devices: int) -> int:
    """The mini-batches in a block that suit the sizes, or 0 where SGD cannot or need not be blocked.

    It can be for plain SGD on a population of dense networks of two layers or more, without penalty. A
    block of T m examples costs each step a product with T m numbers for each hidden unit, and the Gram
    matrix as much as T m / 2 hidden units in all: so both the pixels and a device's units bound it.
    """
    plain = optimizer.factory is optax.sgd and not optimizer.options
    if not (plain and list(optimizer.numbers) == ["learning_rate"] and is_dense(params) and len(params) > 1):
        return 0
    if type(objective.forward) is not Dense or objective.penalty is not None:
        return 0
    networks, units, pixels = params[0].w.shape
    steps = min(pixels // 3, networks * units // (2 * devices)) // batch_size
    return steps if steps > 1 else 0


def epoch(
    states: TrainState,
    images: Num[Array, "n pixels"],
    labels: Num[Array, "n ..."],
    objectives: Objective,
    rates: Float[Array, " networks"],
    masks: Any,
    batch_size: int,
    steps: int,
) -> tuple[TrainState, Float[Array, " networks"]]:
    """`population.epoch` of networks that share mini-batches, by blocks of so many `steps`.

    Args:
      states: with one key for all networks; not donated by itself.
      rates: the learning rate of each.
      masks: which numbers of each network are its own, or None for all.
    """
    examples, key = shuffled(states, images, labels)
    onwards = replace(objectives, forward=Onward(objectives.forward.activation, objectives.forward.output))

    def block(params, batches):
        images, labels = batches
        return _block(params, images, labels, onwards, rates, masks, key)

    def in_batches(first, blocks, steps, m):
        """From `first` on, so many blocks of mini-batches of m."""
        several = blocks * steps * m
        return jax.tree.map(
            lambda a: a[first : first + several].reshape(blocks, steps, m, *a.shape[1:]), examples
        )

    n_full, n_rest = divmod(len(images), batch_size)
    n_blocks, n_odd = divmod(n_full, steps)
    params, costs = states.params, []
    # Whole blocks, then the mini-batches that are left over, then the examples.
    for first, blocks, size, m in (
        (0, n_blocks, steps, batch_size),
        (n_blocks * steps * batch_size, 1, n_odd, batch_size),
        (n_full * batch_size, 1, 1, n_rest),
    ):
        if blocks * size * m:
            params, seen = jax.lax.scan(block, params, in_batches(first, blocks, size, m))
            costs.append(seen.reshape(blocks * size, -1))
    mean = jax.vmap(lambda costs: mean_over_examples(costs, batch_size, len(images)), in_axes=1)
    return states._replace(params=params, epoch=states.epoch + 1), mean(jnp.concatenate(costs))


def _block(params, images, labels, onwards, rates, masks, key):
    """The parameters after a block of mini-batches, and the cost of each network at each step.

    `images` are (steps, m, pixels); z and δ lay the networks side by side, as (steps, m, networks, n).
    """
    (w, b), *rest = params
    x = as_input(images.reshape(-1, images.shape[-1]), w.dtype)
    by_step = images.shape[:2]
    z = (jnp.einsum("np,khp->nkh", x, w) + b[None]).reshape(*by_step, *b.shape)
    gram = (x @ x.T + 1).reshape(*by_step, *by_step)
    gradients = jax.vmap(
        jax.value_and_grad(mean_cost, (0, 2)), in_axes=(0, 0, 1, None, None), out_axes=(0, (0, 1))
    )

    def step(carry, batch):
        rest, deltas = carry
        t, z, gram, labels = batch
        z = z - jnp.tensordot(gram, deltas, 2)
        cost, (grads, delta) = gradients(tuple(rest), onwards, z, labels, key)
        if masks is not None:
            grads = masked(masks[1:], grads)
        rest = jax.tree.map(
            lambda w, g: w - g * rates.reshape(-1, *[1] * (g.ndim - 1)).astype(g.dtype), rest, grads
        )
        deltas = deltas.at[t].set(delta * rates[None, :, None].astype(delta.dtype))
        return (rest, deltas), cost

    (rest, deltas), costs = jax.lax.scan(
        step, (tuple(rest), jnp.zeros_like(z)), (jnp.arange(len(z)), z, gram, labels)
    )
    deltas = deltas.reshape(len(x), *b.shape)
    first = Layer(w - jnp.einsum("nkh,np->khp", deltas, x), b - deltas.sum(0))
    return (first, *rest), costs

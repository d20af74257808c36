"""The state of a training, and the step of stochastic gradient descent on one mini-batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num

from nnjax.nn.curvature import gauss_newton_product
from nnjax.nn.objective import Objective, mean_cost
from nnjax.optim.ema import eval_params
from nnjax.optim.optimizers import Optimizer
from nnjax.training._observe import Watches, init_watches


class EpochOrder(NamedTuple):
    """The order of the examples in an epoch.

    Attributes:
      epoch: the number of the epoch; -1 if no order has been drawn yet.
      rows: the examples' indices in this order.
    """

    epoch: Int[Array, ""]
    rows: Int[Array, " n"]


class TrainState(NamedTuple):
    """Everything that training changes. A checkpoint contains it, except for `order`.

    Attributes:
      params: the parameters after the last step.
      opt_state: the optimizer's state.
      key: the key of the run, which does not change.
      step: the number of finished steps.
      watched: the states of the watches, by name.
      order: the order of the examples in the current epoch, if several programs train parts of an epoch. It
        follows from `key` and `step`, and saves the time of drawing it again. None: every program draws it.
    """

    params: Any
    opt_state: optax.OptState
    key: Array
    step: Int[Array, ""]
    watched: dict[str, Any]
    order: EpochOrder | None = None

    @property
    def eval_params(self) -> Any:
        """The parameters to evaluate and to save, which may be an average: see `optim.ema.eval_params`."""
        return eval_params(self.params, self.opt_state)


def init_state(key: Array, params: Any, optimizer: Optimizer, watches: Watches | None = None) -> TrainState:
    """The state before the first step, as copies that `train_epoch` may donate."""
    params = copy_tree(params)
    watched = init_watches(watches, params)
    return copy_tree(TrainState(params, optimizer.init(params), key, jnp.int32(0), watched))


@jax.jit
def copy_tree(tree: Any) -> Any:
    """Copies of all leaves, made by one program, which starts faster than one for each shape."""
    # The first epoch returns strongly typed leaves; a weakly typed one would cause a second compilation.
    return jax.tree.map(lambda x: jnp.array(x, jnp.result_type(x)), tree)


def no_order(n: int) -> EpochOrder:
    """An order of n examples that the next step replaces by that of its epoch."""
    return EpochOrder(jnp.int32(-1), jnp.arange(n))


class StepResult(NamedTuple):
    """The results of a step.

    Attributes:
      params, opt_state: the parameters and the optimizer's state after the step.
      cost: the cost of the mini-batch before the step.
      grads: the gradient of this cost.
      updates: what the optimizer added to the parameters.
    """

    params: Any
    opt_state: optax.OptState
    cost: Float[Array, ""]
    grads: Any
    updates: Any


def train_step(
    params: Any,
    opt_state: optax.OptState,
    inputs: Num[Array, "m ..."],
    targets: Num[Array, "m ..."],
    key: Array,
    objective: Objective,
    optimizer: Optimizer,
    mesh: Mesh | None = None,
) -> StepResult:
    """One step of gradient descent on one mini-batch: w → w − (η/m) Σ ∂C_x/∂w for plain SGD.

    Args:
      params, opt_state: the parameters and the optimizer's state before the step.
      inputs: (m, ...), as in a `Dataset`; the book's equations 20 and 21 average over m.
      targets: (m,) integer labels, or (m, n_out) target vectors.
      key: the random key for `objective.forward`.
      objective: the objective.
      optimizer: the optimizer.
      mesh: devices that share the mini-batch, or None for one device.

    Returns:
      The new parameters and optimizer state, the cost, the gradient and the updates.
    """
    batch = objective, inputs, targets, key, mesh

    # optax's line searches pass all extra arguments of `update`, such as `curvature`, to value_fn.
    def cost_of(params, curvature=None, obj_fn=None, grad_fn=None):
        return mean_cost(params, *batch)

    cost, grads = jax.value_and_grad(cost_of)(params)
    params, opt_state, updates = optimizer.apply(
        grads, opt_state, params, value=cost, grad=grads, value_fn=cost_of, obj_fn=cost_of,
        grad_fn=lambda params, _: jax.grad(cost_of)(params),
        curvature=lambda v: gauss_newton_product(params, v, *batch),
    )  # fmt: skip
    return StepResult(params, opt_state, cost, grads, updates)

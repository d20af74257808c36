"""Plot the test cost in the plane through three trained networks.

Garipov et al., *Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs*, 2018.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib import pyplot

import nnjax

data, objective = (
    nnjax.load("digits"),
    nnjax.Objective(nnjax.Dense(output=nnjax.identity), nnjax.sigmoid_cross_entropy),
)
settings = {"objective": objective, "initial_weights": nnjax.lecun, "learning_rate": 0.3, "epochs": 20}
grid = nnjax.sweep(jax.random.key(0), data, seeds=3, **settings)
(origin, unravel), (second, _), (third, _) = (ravel_pytree(grid.params(seed=seed)) for seed in range(3))
u = second - origin
along = jnp.vdot(third - origin, u) / jnp.vdot(u, u)
v = third - origin - along * u  # orthogonal to u
x, y = jnp.asarray(data.test.inputs) / 255, jax.nn.one_hot(data.test.targets, 10)


@jax.jit
def cost(point):
    """The mean cost of the test images at origin + a u + b v."""
    params = unravel(origin + point[0] * u + point[1] * v)
    return jax.vmap(lambda x, y: objective.cost(objective.forward(params, x, None), y))(x, y).mean()


a, b = np.meshgrid(*2 * [np.linspace(-0.5, 1.5, 41, dtype=np.float32)])
costs = jax.lax.map(cost, jnp.stack([a.ravel(), b.ravel()], axis=1)).reshape(a.shape)
figure, axis = pyplot.subplots(layout="constrained")
figure.colorbar(axis.contourf(a, b, np.log10(costs), levels=20), label="log10 of the test cost")
axis.plot([0, 1, along], [0, 0, 1], "k^", label="trained networks")
axis.set(xlabel="towards the second network", ylabel="towards the third network")
figure.savefig("loss_landscape.png")

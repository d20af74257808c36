"""A second-order step: the damped Gauss-Newton method by conjugate gradients."""

import jax
import optax


def gauss_newton(
    learning_rate: float = 1.0, damping: float = 0.1, iterations: int = 5
) -> optax.GradientTransformationExtraArgs:
    """w → w − η (G + λI)⁻¹ ∇C, solved approximately by conjugate gradients.

    G is the Gauss-Newton matrix of the mini-batch. The matrix is never computed: `fit` passes a function
    `curvature` that multiplies it by a vector. Use mini-batches of several hundred examples (Martens,
    *Deep learning via Hessian-free optimization*, 2010).

    Args:
      learning_rate: η.
      damping: λ.
      iterations: conjugate-gradient iterations per step.

    >>> gauss_newton(damping=0.01).init({"w": 1.0})
    EmptyState()
    """

    def update(updates, state, params=None, *, curvature, **extra):
        def damped(v):
            return jax.tree.map(lambda gv, v: gv + damping * v, curvature(v), v)

        direction, _ = jax.scipy.sparse.linalg.cg(damped, updates, maxiter=iterations)
        return jax.tree.map(lambda d: -learning_rate * d, direction), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)  # pyright: ignore[reportArgumentType]

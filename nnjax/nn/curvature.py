"""Products of the Hessian and the Gauss-Newton matrix with vectors, and eigenvalues, without the matrices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Array, Float, Num

from nnjax.nn.objective import Objective, example_keys, float_dtype, mean_cost, per_example
from nnjax.runtime.sharding import map_examples


def hessian_product(
    params: Any,
    direction: Any,
    objective: Objective,
    inputs: Num[Array, "m ..."],
    targets: Num[Array, "m ..."],
    key: Array | None,
    mesh: Mesh | None = None,
) -> Any:
    """H v, where H is the second derivative of `mean_cost` with respect to the parameters.

    This is the derivative of the gradient in the direction v (Pearlmutter, *Fast exact multiplication by the
    Hessian*, 1994). The penalty is included. A product costs about as much as two gradients.

    Args:
      params, direction, objective, inputs, targets, key, mesh: as for `gauss_newton_product`.

    Returns:
      H v, a pytree like `params`.

    >>> x, v = jnp.zeros((1, 1)), jnp.array([1.0, 3.0])
    >>> penalty_only = Objective(lambda w, x, key: x, code=None, penalty=lambda w: 2 * w @ w)
    >>> hessian_product(jnp.ones(2), v, penalty_only, x, x, None).tolist()
    [4.0, 12.0]
    """

    def gradient(params):
        return jax.grad(mean_cost)(params, objective, inputs, targets, key, mesh)

    return jax.jvp(gradient, (params,), (direction,))[1]


def gauss_newton_product(
    params: Any,
    direction: Any,
    objective: Objective,
    inputs: Num[Array, "m ..."],
    targets: Num[Array, "m ..."],
    key: Array | None,
    mesh: Mesh | None = None,
) -> Any:
    """G v = Jᵀ H J v for a mini-batch, without forming the matrix G.

    J is the derivative of the outputs with respect to the parameters, H the second derivative of the
    mean cost with respect to the outputs; the penalty is not included. If the outputs are linear in the
    parameters, G is the Hessian of the mean cost (Schraudolph, *Fast curvature matrix-vector products*,
    2002). A product costs about as much as two gradients.

    Args:
      params: any pytree that `objective.forward` takes.
      direction: v, a pytree with the structure and shapes of `params`.
      objective, inputs, targets, key, mesh: as in `mean_cost`.

    Returns:
      G v, a pytree like `params`.
    """
    output, cost = per_example(objective, float_dtype(params))
    keys = example_keys(key, len(inputs))

    def outputs(params):
        return map_examples(jax.vmap(lambda x, key: output(params, x, key)), mesh, inputs, keys)

    def mean(a):
        return jnp.mean(map_examples(jax.vmap(cost), mesh, a, targets))

    a, jv = jax.jvp(outputs, (params,), (direction,))
    hjv = jax.jvp(jax.grad(mean), (a,), (jv,))[1]
    return jax.vjp(outputs, params)[1](hjv)[0]


def largest_eigenvalue(
    product: Callable[[Any], Any], params: Any, iterations: int, key: Array
) -> Float[Array, ""]:
    """The largest eigenvalue of a symmetric matrix A, computed from products of A with vectors.

    The Lanczos method with full reorthogonalization computes the largest eigenvalue of QᵀAQ, where the
    columns of Q are an orthonormal basis of v, Av, A²v, ... for a random vector v. Up to rounding, the result
    is at most the largest eigenvalue of A. An eigenvalue that is far from the others needs few iterations
    (Golub and Van Loan, *Matrix computations*, 4th edition, chapter 10).

    Args:
      product: v ↦ A v, for pytrees like `params`.
      params: a pytree with the structure and shapes of v; its values are not used.
      iterations: the number of products, which is also the number of vectors in memory.
      key: the random key of the first vector.

    Returns:
      The largest eigenvalue, which may not be the largest in absolute value; NaN if a product is not finite.

    >>> stretch = jnp.array([1.0, -9.0, 5.0])
    >>> round(float(largest_eigenvalue(lambda v: stretch * v, stretch, 3, jax.random.key(0))), 3)
    5.0
    """
    with jax.numpy_dtype_promotion("standard"):  # the leaves may differ in dtype
        flat, unravel = ravel_pytree(params)
        iterations = min(iterations, flat.size)

    dtype = flat.dtype if flat.dtype.itemsize >= 4 else jnp.float32  # LAPACK has no smaller floats

    def multiply(v):
        with jax.numpy_dtype_promotion("standard"):
            return ravel_pytree(product(unravel(v.astype(flat.dtype))))[0].astype(dtype)

    def normalize(v, minimum=0.0):
        """v / ‖v‖ and ‖v‖; both zero if ‖v‖ is at most `minimum`."""
        norm = jnp.linalg.norm(v)
        return jnp.where(norm <= minimum, 0, v / norm), jnp.where(norm <= minimum, 0, norm)

    def iterate(carry, i):
        basis, v = carry  # the rows of `basis` from i on are zero
        basis = basis.at[i].set(v)
        av = multiply(v)
        rest = av
        for _ in range(2):  # the first subtraction leaves rounding errors
            rest = rest - basis.T @ (basis @ rest)
        # If only rounding errors remain, the basis is complete, and the other vectors are zero.
        next_v, beta = normalize(rest, jnp.finfo(v.dtype).eps * jnp.linalg.norm(av))
        return (basis, next_v), (v @ av, beta)

    v, _ = normalize(jax.random.normal(key, flat.shape, dtype))
    empty = jnp.zeros((iterations, flat.size), dtype)
    _, (alpha, beta) = jax.lax.scan(iterate, (empty, v), jnp.arange(iterations))
    # A zero vector would add the eigenvalue 0. The first vᵀAv is never larger than the largest eigenvalue.
    alpha = jnp.where(jnp.append(True, beta[:-1] > 0), alpha, alpha[0])
    tridiagonal = jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1)
    return jnp.linalg.eigvalsh(tridiagonal)[-1]

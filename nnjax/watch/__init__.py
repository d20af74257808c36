"""Watches, which observe the steps of training: norms, saturation, curvature and custom functions.

A watch is a function `f(params, grads, updates) -> value`, or a `Watch` if it has a state. It is computed
inside the compiled epoch. `params` are the parameters before the step, `grads` is the gradient of the
mini-batch's cost at these parameters, and `updates` is what the optimizer adds to them. All three have the
same structure.

`saturated_units`, `dead_units`, `probe_gradient_norms`, `hessian_eigenvalue` and `gauss_newton_eigenvalue`
return a `Watch` that is computed on a probe. A probe is a fixed batch of examples.

"For each layer" means one number for each `Layer`, and one for each leaf that is not part of a `Layer`.
"""

from nnjax.watch._hidden_units import dead_units, saturated_units
from nnjax.watch._norms import (
    gradient_cosine,
    gradient_norm,
    gradient_norms,
    parameter_norm,
    update_ratios,
)
from nnjax.watch._probes import gauss_newton_eigenvalue, hessian_eigenvalue, probe_gradient_norms
from nnjax.watch._watch import Watch, as_watch

__all__ = [
    "Watch",
    "as_watch",
    "dead_units",
    "gauss_newton_eigenvalue",
    "gradient_cosine",
    "gradient_norm",
    "gradient_norms",
    "hessian_eigenvalue",
    "parameter_norm",
    "probe_gradient_norms",
    "saturated_units",
    "update_ratios",
]

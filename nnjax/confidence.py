"""How sure a network is of each answer, and how far it may be believed.

An output activation is read as the probability that its neuron should be 1. So a label, written
by the code as 0s and 1s, has the likelihood Π a^y (1−a)^(1−y), and there is one hypothesis more:
that it is nothing the network knows, all outputs silent. With softmax the outputs are the
probabilities of the labels as they stand.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from nnjax.codes import OneHot
from nnjax.evaluate import outputs
from nnjax.objective import Objective, softmax_cross_entropy

_LEAST = 1e-6  # of an activation, so that its logarithm is finite
_TEMPERATURES = jnp.geomspace(0.25, 16.0, 97)


def probabilities(
    a: Float[Array, " n_out"], objective: Objective, num_classes: int, temperature: float | Array = 1.0
) -> Float[Array, " num_classes+1"]:
    """The probability of each label, and last of none of them, for one output of `outputs`.

    Args:
      a: the output activations of one image.
      objective: its code says what labels look like, its cost whether outputs exclude each other.
      num_classes: how many labels there are.
      temperature: what the log-likelihoods are divided by; over 1 for a network that is too sure.

    >>> p = probabilities(jnp.array([0.9, 0.1]), Objective(), 2)
    >>> [f"{x:.2f}" for x in p]
    ['0.89', '0.01', '0.10']
    """
    a = jnp.clip(a.astype(jnp.float32), _LEAST, 1 - _LEAST)
    if objective.cost is softmax_cross_entropy:
        scores = jnp.append(jnp.log(a[:num_classes]), -jnp.inf)
    else:
        y = jax.vmap(objective.code.encode, (0, None))(jnp.arange(num_classes), a.size).astype(a.dtype)
        said, silent = jnp.log(a), jnp.log1p(-a)
        none = jnp.sum(silent) if isinstance(objective.code, OneHot) else -jnp.inf
        scores = jnp.append(y @ said + (1 - y) @ silent, none)
    return jax.nn.softmax(scores / temperature)


def calibrated(
    params: Any, images: Num[Array, "n pixels"], labels: Int[Array, " n"], objective: Objective,
    num_classes: int,
) -> float:  # fmt: skip
    """The temperature at which `probabilities` are most likely to be right about these images.

    That is, the mean of −ln p of the right label is least. With images that were not trained on
    an answer of probability p is then right about that often (Guo, Pleiss, Sun, Weinberger,
    *On Calibration of Modern Neural Networks*, 2017). Tried are 97 values from 1/4 to 16.
    """
    a = outputs(params, images, objective)

    def surprise(temperature):
        p = jax.vmap(lambda a: probabilities(a, objective, num_classes, temperature))(a)
        return -jnp.mean(jnp.log(jnp.maximum(p[jnp.arange(len(a)), labels], _LEAST)))

    return float(_TEMPERATURES[jnp.argmin(jax.lax.map(surprise, _TEMPERATURES))])

"""Extra arguments of an optimizer's update, such as `value` for line searches."""

import inspect
from typing import Any

import optax


def accept_extra_args(transformation: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """A transformation whose `update` accepts every extra argument, and passes on those that it has.

    `optax.with_extra_args_support` does this for transformations without extra arguments. Some, such as
    `optax.contrib.sam`, have one and raise an error for others.

    >>> accept_extra_args(optax.sgd(0.1)).update(1.0, optax.sgd(0.1).init(1.0), value=2.0)[0]
    -0.1
    """
    parameters = inspect.signature(transformation.update).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return optax.with_extra_args_support(transformation)
    names = parameters if isinstance(transformation, optax.GradientTransformationExtraArgs) else ()

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        accepted = {name: value for name, value in extra.items() if name in names}
        return transformation.update(updates, state, params, **accepted)

    return optax.GradientTransformationExtraArgs(transformation.init, update)

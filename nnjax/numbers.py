"""Whole numbers that users give, checked."""

import operator
from typing import Any


def whole_number(name: str, value: Any, most: int | None = None) -> int:
    """`value` as an int of 1 or more; a ValueError, naming it, where it is none.

    >>> whole_number("epochs", 0)
    Traceback (most recent call last):
    ValueError: epochs must be 1 or more, not 0
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if number < 1 or (most is not None and number > most):
        bounds = "1 or more" if most is None else f"from 1 to {most}, the number of training examples"
        raise ValueError(f"{name} must be {bounds}, not {number}")
    return number

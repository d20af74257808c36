"""Numbers that users give, checked."""

import math
import numbers
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


def check_range(name: str, value: Any, least: float, most: float = math.inf) -> None:
    """Raise a ValueError where a number that is known lies outside; what is traced goes through.

    >>> check_range("rate", 1.5, 0, 1)
    Traceback (most recent call last):
    ValueError: rate must be from 0 to 1, not 1.5
    """
    if isinstance(value, numbers.Real) and not least <= float(value) <= most:
        bounds = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} must be {bounds}, not {value}")

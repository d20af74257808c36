"""Checks of arguments: numbers in a range and registered names; and a stable `repr`."""

import difflib
import math
import numbers
import operator
import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """The choice registered as `name`; raises ValueError with the most similar name if there is none.

    >>> lookup("fruit", "aple", {"apple": 1, "pear": 2})
    Traceback (most recent call last):
    ValueError: fruit must be one of apple, pear, got 'aple': did you mean 'apple'?
    """
    if name in choices:
        return choices[name]
    nearest = difflib.get_close_matches(str(name).lower(), choices, n=1)
    hint = f": did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"{kind} must be one of {', '.join(choices)}, got {name!r}{hint}")


def registered_name(kind: str, choice: T, choices: Mapping[str, T]) -> str:
    """The name under which `choices` holds `choice`; raises ValueError if it has none."""
    for name, known in choices.items():
        if known == choice:
            return name
    raise ValueError(
        f"{kind} must be one of {', '.join(choices)}, got {choice!r}: only registered functions can be saved"
    )


def stable_repr(value: Any) -> str:
    """`repr(value)` without memory addresses, so that it is the same in every process.

    >>> stable_repr(stable_repr), stable_repr(0.1)
    ('<function stable_repr>', '0.1')
    """
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def check_positive_int(name: str, value: Any) -> int:
    """`value` as an int of at least 1; raises ValueError with its name for anything else.

    >>> check_positive_int("epochs", 0)
    Traceback (most recent call last):
    ValueError: epochs must be a positive integer, got 0
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return number


def check_range(name: str, value: Any, minimum: float, maximum: float = math.inf) -> None:
    """Raises ValueError if a concrete number is out of range; traced values pass.

    >>> check_range("rate", 1.5, 0, 1)
    Traceback (most recent call last):
    ValueError: rate must be between 0 and 1, got 1.5
    """
    if isinstance(value, numbers.Real) and not minimum <= float(value) <= maximum:
        if maximum < math.inf:
            bounds = f"between {minimum:g} and {maximum:g}"
        else:
            bounds = f"at least {minimum:g}" if minimum else "non-negative"
        raise ValueError(f"{name} must be {bounds}, got {value}")

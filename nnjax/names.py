"""Choices by name, as the command line and model files spell them; and settings in words."""

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def choose(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """The choice called `name`; a ValueError that suggests the nearest one where there is none.

    >>> choose("fruit", "aple", {"apple": 1, "pear": 2})
    Traceback (most recent call last):
    ValueError: unknown fruit 'aple': did you mean 'apple'? (known: apple, pear)
    """
    if name in choices:
        return choices[name]
    nearest = difflib.get_close_matches(str(name).lower(), choices, n=1)
    hint = f"did you mean {nearest[0]!r}? (known: {{}})" if nearest else "choose one of {}"
    raise ValueError(f"unknown {kind} {name!r}: " + hint.format(", ".join(choices)))


def name_of(kind: str, choice: T, choices: Mapping[str, T]) -> str:
    """The name under which `choices` holds `choice`; a ValueError where it has none."""
    for name, known in choices.items():
        if known == choice:
            return name
    raise ValueError(f"{kind} {choice!r} has no name (named are {', '.join(choices)})")


def described(value: Any) -> str:
    """What a setting says of itself, without where in memory it lies.

    >>> described(described), described(0.1)
    ('<function described>', '0.1')
    """
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))

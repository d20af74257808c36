"""Compares the fingerprints of two runs: their settings as text, which may come from different machines.

Floats computed by exp or log differ in the last bit between processors. So for different machines, numbers
count as equal if they are equal up to rounding, and digests of computed floats are not compared.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from nnjax.runtime.environment import environment

PROGRAM = "program"  # the digest of the compiled program
NUM_STEPS = "num_steps"  # the steps of the whole training; recorded only if the schedule depends on them

# Settings that may differ on another machine or with other versions: digests of the program and of computed
# floats.
MACHINE_DEPENDENT = (
    PROGRAM,
    "initial parameters",
    "networks",
    "numbers of the objective",
    "train float data",
    "validation float data",
    "test float data",
)

ROUNDING = 1e-6  # relative difference of floats that are equal up to rounding, in float32

_FLOAT = re.compile(r"(-?\d+\.\d*(?:e[+-]?\d+)?|-?\d+e[+-]?\d+)")
_DIGEST = re.compile("[0-9a-f]{64}")


def machine() -> dict[str, Any]:
    """The versions, the machine and its devices. If they are equal, floats are bit-identical."""
    here = environment()
    return here.pop("versions") | here


def differing(before: Mapping[str, Any], now: Mapping[str, Any], same_machine: bool = True) -> list[str]:
    """The names of the settings that differ.

    >>> differing({"rate": "0.1", "program": "a"}, {"rate": "0.10000000000000002", "program": "b"})
    ['rate', 'program']
    >>> differing({"rate": "0.1"}, {"rate": "0.10000000000000002", "program": "b"}, same_machine=False)
    []
    """

    def equal(name):
        if same_machine or before.get(name) == now.get(name):
            return before.get(name) == now.get(name)
        return name in MACHINE_DEPENDENT or _equal_to_rounding(str(before.get(name)), str(now.get(name)))

    return [name for name in {**before, **now} if not equal(name)]


def _equal_to_rounding(text: str, other: str) -> bool:
    """Whether two texts are equal except for the rounding of the floats in them; integers must be equal."""
    parts, others = _FLOAT.split(text), _FLOAT.split(other)
    if parts[::2] != others[::2]:
        return False
    return all(map(_close, map(float, parts[1::2]), map(float, others[1::2])))


def _close(x: float, y: float) -> bool:
    if x.is_integer() and y.is_integer():  # counts, such as numbers of steps
        return x == y
    return math.isclose(x, y, rel_tol=ROUNDING)


def describe_differences(
    names: list[str],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    template: str = "{name} was {before} and is {now}",
) -> str:
    """The differences of two fingerprints, for an error message.

    >>> describe_differences(["epochs"], {"epochs": 3}, {"epochs": 4})
    'epochs was 3 and is 4'
    """

    def describe(name):
        values = [settings.get(name, "not set") for settings in (before, now)]
        if any(_DIGEST.fullmatch(str(value)) for value in values):  # which is not informative
            return f"different {name}"
        return template.format(name=name, before=values[0], now=values[1])

    if names == [PROGRAM]:
        return "the code of a function has changed"
    return "; ".join(describe(name) for name in names if name != PROGRAM)

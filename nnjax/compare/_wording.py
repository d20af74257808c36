"""Numbers and verdicts in words, for the page of a comparison."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nnjax.compare.verdicts import (
    ALPHA,
    BETTER,
    EQUIVALENT,
    MAX_STUDIES,
    NOT_REACHED,
    UNDECIDED,
    WORSE,
)

SPACE = "\u00a0"  # keeps a number and its unit on one line

# A sign for each verdict, so that verdicts can be distinguished without colours.
SIGNS = {BETTER: "✓", WORSE: "✗", EQUIVALENT: "=", UNDECIDED: "?", NOT_REACHED: "–"}


def number(value: float) -> str:
    """A number with three significant digits.

    >>> number(0.012345), number(2500.0), number(3.2e-7), number(float("nan"))
    ('0.0123', '2,500', '3.2e-07', '–')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0 or 1e-4 <= abs(value) < 1e3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def share(value: float) -> str:
    """A share in percent.

    >>> share(0.034)
    '3\\xa0%'
    """
    return f"{100 * value:.0f}{SPACE}%"


def share_interval(value: float, low: float, high: float) -> str:
    """A share in percent, with its interval in brackets."""
    return f"{share(value)} ({share(low)} to {share(high)})"


def change(effect: float, low: float = math.nan, high: float = math.nan) -> str:
    """A difference of logarithms as a change in percent, with its interval in brackets.

    >>> change(math.log(0.88), math.log(0.84), math.log(0.92)).replace(SPACE, " ")
    '12 % lower (8.0 % to 16 % lower)'
    >>> change(0.01, -0.02, 0.04).replace(SPACE, " ")
    '1.0 % higher (2.0 % lower to 4.1 % higher)'
    >>> change(math.log(30), math.log(20), math.log(45)).replace(SPACE, " ")
    '30 times as high (20 to 45 times)'
    """
    if not math.isfinite(effect):
        return "–"
    has_interval = math.isfinite(low) and math.isfinite(high) and low < high
    if effect > math.log(10):
        times = f"{_factor(effect)} times as high"
        return f"{times} ({_factor(low)} to {_factor(high)} times)" if has_interval else times
    text = f"{_percent(effect)} {_direction(effect)}" if effect else "no difference"
    if not has_interval:
        return text
    ends = sorted((low, high), key=abs)
    if low < 0 < high:
        return f"{text} ({_percent(low)} lower to {_percent(high)} higher)"
    return f"{text} ({_percent(ends[0])} to {_percent(ends[1])} {_direction(effect)})"


def _direction(effect: float) -> str:
    return "lower" if effect < 0 else "higher"


def _percent(effect: float) -> str:
    percent = 100 * abs(math.expm1(effect))
    if effect < 0 and percent > 99:  # 99.97 % and 99.7 % are a factor of ten apart
        return f"{100 - float(f'{100 - percent:.1g}'):.10g}{SPACE}%"
    return f"{percent:.1f}{SPACE}%" if round(percent, 1) < 10 else f"{percent:,.0f}{SPACE}%"


def _factor(effect: float) -> str:
    return f"{float(f'{math.exp(effect):.2g}'):,.10g}"


def p_value(p: float) -> str:
    """A p-value with two digits.

    >>> p_value(0.0391), p_value(1e-5), p_value(1.0)
    ('0.039', 'below 0.001', '1.0')
    """
    return "below 0.001" if p < 0.001 else f"{p:#.2g}"


def counts(verdicts: Sequence[str]) -> tuple[str, str]:
    """The number of problems with each verdict, in words.

    Returns:
      "better" or "worse", whichever is more frequent, and the words after "is better than … on".

    >>> counts(["better", "better", "undecided"])
    ('better', '2 of 3 problems, worse on none; undecided on 1.')
    """
    n = {word: sum(v == word for v in verdicts) for word in SIGNS}
    first, second = (WORSE, BETTER) if n[WORSE] > n[BETTER] else (BETTER, WORSE)
    problems = f"{n[first] or 'none'} of {len(verdicts)} problem{'s' * (len(verdicts) != 1)}"
    others = ", ".join(f"{word} on {n[word]}" for word in (EQUIVALENT, UNDECIDED, NOT_REACHED) if n[word])
    return first, f"{problems}, {second} on {n[second] or 'none'}{'; ' * bool(others)}{others}."


def overall(problems: int, effect: float, p: float, possible: bool, alpha: float = ALPHA) -> str:
    """The result of the test over all problems, as a sentence.

    >>> overall(5, -0.1, 0.0625, False)
    'With 5 problems, the test over all problems cannot be significant.'
    """
    if not possible:
        words = f"{problems} problem{'s' * (problems != 1)}"
        return f"With {words}, the test over all problems cannot be significant."
    if p >= alpha:
        return f"The test over all problems finds no significant difference (p = {p_value(p)})."
    word = BETTER if effect < 0 else WORSE
    return f"Over all {problems} problems together, the candidate is {word} (p = {p_value(p)})."


def studies_needed(verdict: Mapping[str, Any]) -> str:
    """The number of studies that would decide an undecided verdict; a dash if there is no estimate.

    Args:
      verdict: a row of the table of verdicts.

    >>> studies_needed({"verdict": "undecided", "low": -0.5, "studies_needed": 24})
    '24'
    """
    if verdict["verdict"] != UNDECIDED or math.isnan(verdict["low"]):  # a censored metric has no interval
        return "–"
    needed = verdict["studies_needed"]
    return f"over {MAX_STUDIES:,}" if pd.isna(needed) else str(needed)

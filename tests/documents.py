"""Functions that the tests of README and docs share."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, DOCS = ROOT / "README.md", ROOT / "docs"

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")


def run_python(text: str) -> tuple[list[tuple[str, str]], dict]:
    """Runs the Python blocks of a document in order, in one namespace.

    Returns:
      Each block with what it printed, and the namespace.
    """
    names, blocks = {}, []
    for code in re.findall(r"(?s)```python\n(.*?)```", text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            exec(code, names)
        blocks.append((code, printed.getvalue()))
    return blocks, names


def expected_output(code: str) -> list[str]:
    """The documented output of a block: its lines after `#: `."""
    return re.findall("(?m)^#: (.*)", code)


def broken_links(path: Path) -> list[str]:
    """The links of a document to files or headings that do not exist."""
    broken = []
    for link in re.findall(r"\]\((?!http)([^)]+)\)", _without_code(path.read_text())):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    return broken


def _anchors(path: Path) -> Iterator[str]:
    """The anchors that GitHub gives to the headings of a document."""
    for heading in re.findall("(?m)^#+ (.*)", _without_code(path.read_text())):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _without_code(text: str) -> str:
    return re.sub(r"(?s)```.*?```", "", text)


def commands(path: Path) -> list[str]:
    """The `nnjax` commands in the code blocks of a document, without comments."""
    blocks = re.findall(r"(?s)```(?:sh|bash)?\n(.*?)```", path.read_text())
    lines = [
        line.partition("  #")[0].strip()
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if line.startswith("nnjax ")]


def equal_up_to_rounding(text: str, other: str) -> bool:
    """Whether two texts are equal except for one unit in the last digit of fractions.

    Numbers that are computed on another processor may be rounded differently.
    """
    if _NUMBER.split(text) != _NUMBER.split(other):
        return False
    return all(map(_close, _NUMBER.findall(text), _NUMBER.findall(other)))


def _close(number: str, other: str) -> bool:
    if number == other:
        return True
    values = [float(x.replace(",", "")) for x in (number, other)]
    unit = max(map(_last_digit, (number, other)))
    return unit < 1 and abs(values[0] - values[1]) < 1.5 * unit


def _last_digit(number: str) -> float:
    """The place value of the last digit of a number: 0.01 for 94.85."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))

"""What README and guide are tested for alike."""

import contextlib
import io
import re
import warnings
from pathlib import Path


def run_python(text):
    """Run a document's Python blocks in order, in one namespace: each with what it prints, and the names."""
    names, blocks = {}, []
    for code in re.findall(r"(?s)```python\n(.*?)```", text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            exec(code, names)
        blocks.append((code, printed.getvalue()))
    return blocks, names


def links(path: Path):
    """The files that a document links to or shows."""
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text()):
        yield (path.parent / link).resolve()

"""Objects in a user's Python file, such as `mine.py:lookahead_adam`, and the identity of their code."""

import hashlib
import importlib.util
import inspect
import sys
from functools import partial
from pathlib import Path
from typing import Any

from nnjax.runtime.checks import stable_repr
from nnjax.runtime.files import expand_home


def is_reference(text: str) -> bool:
    """Whether a text refers to an object in a Python file, as FILE.py:NAME does.

    >>> is_reference("mine.py:sign_momentum"), is_reference("adamw")
    (True, False)
    """
    return ":" in text or text.endswith(".py")


def load_object(reference: str) -> Any:
    """The object NAME in the Python file of a reference FILE.py:NAME; the file is executed.

    Raises:
      ValueError: a reference without a name, a missing file or name, or a file that cannot be executed.
    """
    file, colon, name = reference.rpartition(":")
    if not (colon and file and name.isidentifier()):
        raise ValueError(f"a reference must have the form FILE.py:NAME, got {reference!r}")
    path = expand_home(file)
    if not path.is_file():
        raise ValueError(f"{reference}: there is no file {file}")
    names = vars(_execute(path))
    if name not in names:
        own = [n for n, v in names.items() if getattr(v, "__module__", "") == _module_name(path)]
        raise ValueError(f"{file} must define {name}, got {', '.join(own) or 'no functions'}")
    return names[name]


def _execute(path: Path) -> Any:
    """The module of a file, which is executed once in each process."""
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} must be a Python file, such as mine.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))  # so that the file can import files of its folder
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}") from None
    except Exception as error:  # the code of a user can raise any exception
        del sys.modules[name]
        raise ValueError(f"{path} cannot be executed: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module


def _module_name(path: Path) -> str:
    """A name in `sys.modules` that depends on the content, so that a changed file is executed again."""
    content = f"{path.resolve()}\n".encode() + path.read_bytes()
    return f"nnjax_user_{path.stem}_{hashlib.sha256(content).hexdigest()[:16]}"


def code_identity(function: Any) -> str | None:
    """What identifies the code of a function: its name and the SHA-256 digest of its source file.

    Returns:
      None if there is no source file, as in an interactive session.
    """
    if isinstance(function, partial):
        inner = code_identity(function.func)
        return inner and f"{inner} {stable_repr((function.args, function.keywords))}"
    target = inspect.unwrap(function if callable(function) else type(function))
    target = target if inspect.isroutine(target) or inspect.isclass(target) else type(target)
    try:
        content = Path(inspect.getsourcefile(target) or "").read_bytes()
    except (TypeError, OSError):
        return None
    return f"{target.__qualname__} {hashlib.sha256(content).hexdigest()}"

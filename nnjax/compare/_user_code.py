"""Objects in a user's Python file, such as `mine.py:lookahead_adam`, and the identity of code."""

import hashlib
import inspect
import numbers
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any, cast

import jax
import numpy as np

from nnjax.compare._problem import Problem, data_digest
from nnjax.compare.problems import PROBLEMS
from nnjax.runtime.files import expand_home
from nnjax.storage import digest

MODULE_PREFIX = "nnjax_user_"


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


class _SourceLoader(SourceFileLoader):
    """Always compiles the source.

    Python would execute the bytecode of an older version that has the same size and was written in the same
    second.
    """

    def get_code(self, fullname: str) -> CodeType:
        try:
            return self.source_to_code(self.get_data(self.path), self.path)
        except ValueError as error:  # null bytes; a SyntaxError since Python 3.11.4
            raise SyntaxError(str(error)) from None


def _execute(path: Path) -> Any:
    """The module of a file, which is executed once in each process."""
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    if path.suffix != ".py":
        raise ValueError(f"{path} must be a Python file, such as mine.py")
    loader = _SourceLoader(name, str(path.resolve()))
    module = module_from_spec(cast(ModuleSpec, spec_from_loader(name, loader)))
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # so that the file can import files of its folder
    try:
        loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        line = f", line {error.lineno}" if error.lineno else ""
        raise ValueError(f"{Path(error.filename or path).name}{line}: {error.msg}") from None
    except (Exception, SystemExit) as error:  # user code can raise anything, and can exit
        del sys.modules[name]
        raise ValueError(f"{path} cannot be executed: {describe_error(error)}") from error
    finally:
        with suppress(ValueError):  # the file may have inserted others before it, or removed it
            sys.path.remove(folder)
    return module


def _module_name(path: Path) -> str:
    """A name in `sys.modules` that depends on the content, so that a changed file is executed again."""
    content = f"{path.resolve()}\n".encode() + path.read_bytes()
    return f"{MODULE_PREFIX}{path.stem}_{hashlib.sha256(content).hexdigest()[:16]}"


def code_identity(code: Any) -> str | None:
    """What identifies a function, a class or a callable object: its source code, and the values it holds.

    The source code is the name and the SHA-256 digest of the file. Values are the arguments of a `partial`,
    the variables and defaults of a nested function or a lambda, and the attributes of an object.

    Returns:
      None if there is no source file, as in an interactive session, or if a value cannot be identified.
    """
    return _identity(code, ())


def problem_identity(problem: Problem) -> dict[str, str] | None:
    """What determines the results of a problem, as texts.

    The name and the version stand for the definition of a problem of the package. Those of a user do not:
    their source code, all fields and all data are part of the identity.

    Returns:
      None if a function of the problem has no source file.
    """
    identity = problem.identity()
    if PROBLEMS.get(problem.name) is problem:
        return identity
    fields = _join(_identity(value, ()) for value in vars(problem).values())
    return identity | {"fields": fields, "data": data_digest(problem)} if fields else None


def _identity(value: Any, outer: tuple[Any, ...]) -> str | None:
    """What identifies a value; `outer` are the values that hold it, which a recursive function also holds."""
    if value is None or isinstance(value, str | bytes | numbers.Number):
        return repr(value)
    if isinstance(value, np.ndarray | jax.Array):
        return digest(value)
    for depth, holder in enumerate(outer):
        if value is holder:
            return f"holder {depth}"
    outer = (*outer, value)
    if isinstance(value, Mapping):
        return _join(_identity(part, outer) for item in value.items() for part in item)
    if isinstance(value, tuple | list):
        return _join(_identity(part, outer) for part in value)
    source, values = _source_and_values(value)
    return _join([source, *(_identity(part, outer) for part in values)])


def _join(parts: Iterable[str | None]) -> str | None:
    """The digest of several parts; None if one of them is None."""
    parts = list(parts)
    return None if None in parts else hashlib.sha256(repr(parts).encode()).hexdigest()


def _source_and_values(code: Any) -> tuple[str | None, list[Any]]:
    """What identifies the source of a callable object, and the values that it holds."""
    if isinstance(code, partial):
        return "partial", [code.func, code.args, code.keywords]
    if inspect.ismethod(code):
        return "method", [code.__func__, code.__self__]
    if inspect.isfunction(code):
        name = code.__code__.co_qualname
        if "<" not in name:  # the file decides its defaults, and it has no variables of another function
            return _source(code, name), []
        positions = hashlib.sha256(repr([*code.__code__.co_positions()]).encode()).hexdigest()
        variables = [cell.cell_contents for cell in code.__closure__ or ()]
        return _source(code, f"{name} {positions}"), [variables, code.__defaults__, code.__kwdefaults__]
    if inspect.isclass(code):
        return _source(code, code.__qualname__), []
    if hasattr(code, "__wrapped__"):  # by `jax.jit`
        return "wrapped", [code.__wrapped__]
    return _source(type(code), type(code).__qualname__), [getattr(code, "__dict__", {})]


def _source(code: Any, name: str) -> str | None:
    """The name of a function or class, and the digest of its source file; None without a file.

    Also None for a class in a function, because its methods can use the variables of the function.
    """
    if inspect.isclass(code) and "<" in name:
        return None
    try:
        content = Path(inspect.getsourcefile(code) or "").read_bytes()
    except (TypeError, OSError):
        return None
    return f"{name} {hashlib.sha256(content).hexdigest()}"


def describe_error(error: BaseException) -> str:
    """The type of an exception, the first line of its text, and where in the user's code it was raised.

    >>> describe_error(ValueError("x must be 1, got 2\\nFor details, see the documentation."))
    'ValueError: x must be 1, got 2'
    """
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}{_place_in_user_code(error)}"


def _place_in_user_code(error: BaseException) -> str:
    """The innermost line of a traceback that is not in a library, such as " (mine.py, line 4)"; else ""."""
    paths = sysconfig.get_paths()
    libraries = [Path(__file__).parents[1], *(paths[name] for name in ("stdlib", "purelib", "platlib"))]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not (frame.filename.startswith("<") or any(path.is_relative_to(folder) for folder in libraries)):
            return f" ({path.name}, line {frame.lineno})"
    return ""

"""Packages that pip installs only with an extra of nnjax."""

from importlib.util import find_spec

# The packages whose names differ from those of their modules.
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}


class MissingExtra(ImportError):
    """A package of an extra is not installed."""


def check_extra(extra: str, purpose: str, *modules: str) -> None:
    """Checks that the modules of an extra can be imported.

    Args:
      extra: the name of the extra in pyproject.toml.
      purpose: what needs the modules.
      *modules: the names of the modules.

    Raises:
      MissingExtra: a module is not installed; the message says how to install it.

    >>> check_extra("dask", "--dask", "no_such_module")
    Traceback (most recent call last):
        ...
    nnjax.runtime.extras.MissingExtra: --dask needs no_such_module: run pip install 'nnjax[dask]'
    """
    missing = [PACKAGES.get(module, module) for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtra(f"{purpose} needs {' and '.join(missing)}: run pip install 'nnjax[{extra}]'")

"""Sharding, processes, files and argument checks. This package imports no other package of nnjax."""

from nnjax.runtime.checks import check_positive_int, check_range, lookup, registered_name, stable_repr
from nnjax.runtime.environment import environment, git_commit
from nnjax.runtime.files import check_writable, make_dir, write_atomically
from nnjax.runtime.limits import cores
from nnjax.runtime.sharding import to_numpy

__all__ = [
    "check_positive_int",
    "check_range",
    "check_writable",
    "cores",
    "environment",
    "git_commit",
    "lookup",
    "make_dir",
    "registered_name",
    "stable_repr",
    "to_numpy",
    "write_atomically",
]

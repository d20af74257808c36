"""The type that every section of the report returns."""

from typing import Any, NamedTuple


class Section(NamedTuple):
    """One section of the report.

    Attributes:
      facts: JSON values by name.
      findings: problems, each with what to do about it.
    """

    facts: dict[str, Any]
    findings: list[str]

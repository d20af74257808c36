"""`nnjax doctor`: examines this machine, and reports problems with their solutions."""

from nnjax.cli.doctor.command import Doctor
from nnjax.cli.doctor.report import examine

__all__ = ["Doctor", "examine"]

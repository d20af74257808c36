"""`nnjax doctor`: examines what nnjax runs on, and reports problems and what to do about them."""

from nnjax.cli.doctor.command import Doctor
from nnjax.cli.doctor.report import examine

__all__ = ["Doctor", "examine"]

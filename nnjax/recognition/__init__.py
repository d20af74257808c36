"""Reading pictures of several digits: gray values, ink, components, cuts, digits; and the drawing page."""

from nnjax.recognition.calibration import calibrate
from nnjax.recognition.picture import open_picture
from nnjax.recognition.reading import Reading, read_picture

__all__ = ["Reading", "calibrate", "open_picture", "read_picture"]

"""Reading pictures of several digits: gray values, ink, components, cuts, digits; and the drawing page."""

from nnjax.recognition.calibration import calibrate
from nnjax.recognition.picture import open_picture
from nnjax.recognition.reading import Reading, classify, read_picture

__all__ = ["Reading", "calibrate", "classify", "open_picture", "read_picture"]

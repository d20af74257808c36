"""Recognition of the digits in a picture, and the page that recognizes digits as they are drawn."""

from nnjax.recognition.calibration import calibrate
from nnjax.recognition.picture import open_picture
from nnjax.recognition.reading import MIN_CONFIDENCE, Reading, classify, read_picture

__all__ = ["MIN_CONFIDENCE", "Reading", "calibrate", "classify", "open_picture", "read_picture"]

"""Recognition of the digits in a picture, and the page that recognizes digits as they are drawn."""

from nnjax.recognition.calibration import calibrate
from nnjax.recognition.candidates import find_digit_candidates
from nnjax.recognition.digit_detector import NO_DIGIT, digit_probability
from nnjax.recognition.digit_layout import to_mnist
from nnjax.recognition.picture import open_picture
from nnjax.recognition.reading import MIN_CONFIDENCE, Reading, classify, read_picture

__all__ = [
    "MIN_CONFIDENCE",
    "NO_DIGIT",
    "Reading",
    "calibrate",
    "classify",
    "digit_probability",
    "find_digit_candidates",
    "open_picture",
    "read_picture",
    "to_mnist",
]

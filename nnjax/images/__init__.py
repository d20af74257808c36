"""Any picture to digits: grey, ink, marks, cuts, the form that the network knows, and the reading."""

from nnjax.images.picture import open_picture
from nnjax.images.reading import Reading, read_picture

__all__ = ["Reading", "open_picture", "read_picture"]

"""The drawing page: one HTML file on which you draw digits while a network recognizes them."""

from nnjax.recognition.page.build import draw_page

__all__ = ["draw_page"]

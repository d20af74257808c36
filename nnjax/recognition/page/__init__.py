"""The drawing page: one HTML file on which anyone writes digits and watches a network read them."""

from nnjax.recognition.page.build import draw_page

__all__ = ["draw_page"]

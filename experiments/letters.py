"""Images of letters in the layout of MNIST: many fonts, slanted, stretched and bent.

They replace digits in pictures, so the detector of digits learns to reject them. Letters that look like
digits are left out.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from experiments.corruptions import crop_to_ink
from experiments.photographs import Random
from experiments.scenes import CAPITALS
from nnjax.recognition import to_mnist

LETTERS = CAPITALS + "acdefhkmnprtuvwx"
SIGNS = "ΓΔΛΞΠΨΩЖИЛФЦШЫЮЯ&#@%+=♣√∑→"
SIGN_FONTS = ("DejaVuSans.", "DejaVuSans-", "DejaVuSansMono")
TEXT_FONTS = (
    *SIGN_FONTS, "DejaVuSerif.", "DejaVuSerif-", "STIXGeneral", "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10"
)  # fmt: skip
SIDE_PX, HEIGHT_PX = 144, 72  # of the canvas, and of the font
MAX_SLANT, MAX_STRETCH = 0.35, 1.35
BEND_PX, BEND_RADIUS_PX = 4.0, 14.0  # maximum standard deviation of the displacements, and their smoothness


def letter_images(rng: Random, count: int) -> np.ndarray:
    """Random letters and signs, (count, 28, 28) uint8."""
    return np.stack([_letter_image(rng) for _ in range(count)])


def _letter_image(rng: Random) -> np.ndarray:
    signs = rng.random() < 0.2
    fonts = _fonts(SIGN_FONTS if signs else TEXT_FONTS)
    letter = str(rng.choice(list(SIGNS if signs else LETTERS)))
    image = Image.new("L", (SIDE_PX, SIDE_PX))
    font = ImageFont.truetype(fonts[rng.integers(len(fonts))], HEIGHT_PX)
    thicker = int(rng.integers(0, 4))
    center = SIDE_PX / 2, SIDE_PX / 2
    ImageDraw.Draw(image).text(center, letter, fill=255, font=font, anchor="mm", stroke_width=thicker)
    return to_mnist(crop_to_ink(_bent(rng, np.asarray(image) / 255), 0.3))


def _bent(rng: Random, ink: np.ndarray) -> np.ndarray:
    """The ink, slanted, stretched and bent smoothly."""
    slant, stretch = rng.uniform(-MAX_SLANT, MAX_SLANT), MAX_STRETCH ** rng.uniform(-1, 1, 2)
    rows, columns = np.indices(ink.shape) - (np.array(ink.shape)[:, None, None] - 1) / 2
    noise = [ndimage.gaussian_filter(rng.normal(size=ink.shape), BEND_RADIUS_PX) for _ in range(2)]
    down, across = (rng.uniform(0, BEND_PX) * n / n.std() for n in noise)
    source = np.stack([rows * stretch[0] + down, columns * stretch[1] + slant * rows + across])
    return ndimage.map_coordinates(ink, source + (np.array(ink.shape)[:, None, None] - 1) / 2, order=1)


@cache
def _fonts(prefixes: tuple[str, ...]) -> list[str]:
    """The files of matplotlib's fonts whose names begin with one of these prefixes."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return sorted(str(path) for path in folder.glob("*.ttf") if path.name.startswith(prefixes))

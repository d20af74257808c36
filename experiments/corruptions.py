"""Pictures of several digits with a corruption, drawn from test images.

Every picture is a function of its random generator, so a seed reproduces it.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

Ink = np.ndarray  # (height, width), 0 to 1
Page = np.ndarray  # (height, width, 3), 0 to 1


@dataclass(frozen=True)
class RenderStyle:
    """How digits and page are drawn.

    Attributes:
      height: minimum and maximum height of a digit, in pixels; one is drawn for each picture.
      uneven: maximum relative difference between the height of a digit and that of its picture.
      gap: minimum and maximum gap between neighbouring digits, relative to the height.
      slant: maximum shift of a row, in columns per row.
      lines: lines of digits.
      stroke: minimum and maximum growth of the strokes, in pixels.
      on_ink: changes the ink, (rng, ink, height) -> ink.
      on_page: changes the page, (rng, page, height) -> page.
      colours: draws the colours of ink and paper.
    """

    height: tuple[float, float] = (50, 90)
    uneven: float = 0.08
    gap: tuple[float, float] = (0.1, 0.5)
    slant: float = 0.0
    lines: int = 1
    stroke: tuple[int, int] = (0, 0)
    on_ink: Callable[[np.random.Generator, Ink, float], Ink] | None = None
    on_page: Callable[[np.random.Generator, Page, float], Page] | None = None
    colours: Callable[[np.random.Generator], tuple[Any, Any]] = field(default=lambda rng: (0.1, 0.95))


def draw(
    rng: np.random.Generator, images: np.ndarray, labels: Any, style: RenderStyle
) -> tuple[np.ndarray, str]:
    """Draws digits.

    Args:
      rng: the source of all random numbers.
      images: the images of the digits, (n, side, side) uint8.
      labels: the labels of the digits, (n,).
      style: how they are drawn.

    Returns:
      A picture, (height, width, 3) uint8, and its text.
    """
    height = rng.uniform(*style.height)
    rows = np.array_split(np.arange(len(images)), min(style.lines, len(images)))
    slant = rng.uniform(-style.slant, style.slant)
    strings = [_string(rng, images[row], height, slant, style) for row in rows]
    ink = _stack_lines(strings, int(rng.uniform(0.3, 0.6) * height))
    ink = np.pad(ink, int(rng.uniform(0.3, 0.8) * height))
    if style.on_ink:
        ink = style.on_ink(rng, ink, height)
    dark, paper = (np.broadcast_to(np.asarray(c, float), 3) for c in style.colours(rng))
    page = paper + ink[..., None] * (dark - paper)
    if style.on_page:
        page = style.on_page(rng, page, height)
    text = "\n".join("".join(str(labels[i]) for i in row) for row in rows)
    return np.round(255 * np.clip(page, 0, 1)).astype(np.uint8), text


def _string(
    rng: np.random.Generator, images: np.ndarray, height: float, slant: float, style: RenderStyle
) -> Ink:
    """A line of digits, nearly centered vertically; the gap is the smallest distance of ink in any row."""
    grow = int(rng.integers(style.stroke[0], style.stroke[1] + 1))
    digits = [
        _digit(image, height * (1 + rng.uniform(-style.uneven, style.uneven)), slant, grow)
        for image in images
    ]
    tall = int(1.3 * max(len(digit) for digit in digits))
    line = np.zeros((tall, 0))
    for digit in digits:
        top = int(np.clip((tall - len(digit)) / 2 + rng.normal(0, 0.03) * height, 0, tall - len(digit)))
        placed = np.pad(digit, ((top, tall - len(digit) - top), (0, 0)))
        line = _append(line, placed, math.floor(rng.uniform(*style.gap) * height))
    return line


def _digit(image: np.ndarray, height: float, slant: float, grow: int) -> Ink:
    """One image, enlarged and cropped to its ink; digits of MNIST fill 20 of 28 pixels."""
    side = image.shape[0]
    scale = height / (side * 20 / 28)
    large = Image.fromarray(image).resize((round(side * scale),) * 2, Image.Resampling.BICUBIC)
    ink = np.pad(np.asarray(large) / 255, ((0, 0), (side, side)))
    shift: Any = [0, -slant * ink.shape[0] / 2]
    ink = np.clip(ndimage.affine_transform(ink, np.array([[1, 0], [slant, 1]]), shift, order=1), 0, 1)
    cropped = crop_to_ink(grow_strokes(ink, grow), 0.3)
    return cropped if cropped.size else _digit(image, height, slant, 0)  # erosion has removed all ink


def grow_strokes(ink: Ink, pixels: int) -> Ink:
    """Strokes that are wider by this number of pixels on each side, or narrower if it is negative."""
    change = ndimage.grey_dilation if pixels > 0 else ndimage.grey_erosion
    for _ in range(abs(pixels)):
        ink = change(ink, footprint=ndimage.generate_binary_structure(2, 1), mode="constant")
    return ink


def crop_to_ink(ink: Ink, threshold: float) -> Ink:
    """The smallest part that contains all values above a threshold; empty if there are none."""
    for axis in (0, 1):
        inked = np.flatnonzero((ink > threshold).any(axis=1 - axis))
        ink = ink.take(range(inked[0], inked[-1] + 1) if inked.size else [], axis=axis)
    return ink


def _append(line: Ink, digit: Ink, gap: int) -> Ink:
    """Appends a digit to a line, so that the smallest gap between their ink is `gap`."""
    if not line.shape[1]:
        return digit
    inked_line, inked = line > 0.45, digit > 0.45
    blank = np.where(inked_line.any(1), inked_line[:, ::-1].argmax(1), line.shape[1])
    lead = np.where(inked.any(1), inked.argmax(1), digit.shape[1])
    free = ndimage.minimum_filter1d(blank, 3) + lead
    start = max(0, line.shape[1] - int(free.min()) + gap)
    longer = np.zeros((len(line), max(line.shape[1], start + digit.shape[1])))
    longer[:, : line.shape[1]] = line
    end = start + digit.shape[1]
    longer[:, start:end] = np.maximum(longer[:, start:end], digit)
    return longer


def _stack_lines(strings: Sequence[Ink], gap: int) -> Ink:
    width = max(s.shape[1] for s in strings)
    padded = [np.pad(s, ((gap // 2, gap // 2), (0, width - s.shape[1]))) for s in strings]
    return np.concatenate(padded)


def break_strokes(rng: np.random.Generator, ink: Ink, height: float) -> Ink:
    """A blank stripe through the line, as if the pen had skipped."""
    at, thick = int(rng.uniform(0.35, 0.65) * len(ink)), max(2, int(0.04 * height))
    slope = rng.uniform(-0.03, 0.03)
    rows, columns = np.indices(ink.shape)
    return np.where(np.abs(rows - at - slope * columns) <= thick / 2, 0, ink)


def _frame(rng: np.random.Generator, ink: Ink, height: float) -> Ink:
    """A slightly tilted frame around the digits."""
    ink = np.pad(ink, int(0.3 * height))
    inset, thick = rng.uniform(0.05, 0.15) * height, rng.uniform(0.02, 0.06) * height
    rows, columns = np.indices(ink.shape)
    tilt = rng.uniform(-0.01, 0.01)
    r, c = rows + tilt * columns, columns - tilt * rows
    edge = np.minimum.reduce([r, ink.shape[0] - 1 - r, c, ink.shape[1] - 1 - c]) - inset
    return np.maximum(ink, (edge >= 0) & (edge <= thick))


def _ruled_lines(rng: np.random.Generator, ink: Ink, height: float) -> Ink:
    """Nearly horizontal lines across the whole page, also through the digits."""
    apart, thick = rng.uniform(0.5, 1.0) * height, max(1.0, 0.02 * height)
    rows, columns = np.indices(ink.shape)
    at = (rows + rng.uniform(-0.005, 0.005) * columns + rng.uniform(0, apart)) % apart
    return np.maximum(ink, rng.uniform(0.6, 1.0) * (at <= thick))


def _show_through(rng: np.random.Generator, ink: Ink, height: float) -> Ink:
    """The mirrored writing of the other side of the page, faintly visible."""
    other = np.roll(ink[:, ::-1], (int(0.3 * height), int(0.4 * height)), (0, 1))
    return np.maximum(ink, rng.uniform(0.15, 0.3) * ndimage.gaussian_filter(other, 1.5))


def blur(rng: np.random.Generator, ink: Ink, height: float) -> Ink:
    """The ink, out of focus."""
    return ndimage.gaussian_filter(ink, rng.uniform(0.02, 0.06) * height)


def _light(rng: np.random.Generator, page: Page, height: float) -> Page:
    """Brightness that decreases across the page by up to 70 %, in a random direction."""
    along = gradient(rng, page.shape[:2])
    return page * (1 - rng.uniform(0.4, 0.7) * along)[..., None]


def gradient(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values that increase linearly from 0 to 1, in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.indices(shape)
    along = np.cos(angle) * rows / shape[0] + np.sin(angle) * columns / shape[1]
    return (along - along.min()) / np.ptp(along)


def add_noise(rng: np.random.Generator, page: Page, height: float) -> Page:
    """Gaussian noise, and dark specks of the width of a stroke."""
    page = page + rng.normal(0, rng.uniform(0.04, 0.15), page.shape[:2])[..., None]
    specks = rng.random(page.shape[:2]) < 4 / height**2
    size = max(1, int(0.03 * height))
    return np.where(ndimage.binary_dilation(specks, iterations=size)[..., None], 0.2, page)


def _jpeg(rng: np.random.Generator, page: Page, height: float) -> Page:
    return compressed(page, int(rng.integers(8, 30)))


def compressed(page: np.ndarray, quality: int) -> np.ndarray:
    """A picture, from 0 to 1, that was saved as JPEG."""
    file = io.BytesIO()
    image = Image.fromarray(np.round(255 * np.clip(page, 0, 1)).astype(np.uint8))
    image.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


def _any_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random colours of ink and paper, whose brightness differs by at least 0.35."""
    while True:
        ink, paper = rng.random((2, 3))
        if abs((ink - paper) @ [0.299, 0.587, 0.114]) >= 0.35:
            return ink, paper


PLAIN = RenderStyle()
CORRUPTIONS = {
    "none: separate digits": PLAIN,
    "touching": replace(PLAIN, gap=(-0.02, 0.0)),
    "in pieces": replace(PLAIN, on_ink=break_strokes),
    "slant": replace(PLAIN, slant=0.35),
    "size": replace(PLAIN, height=(20, 250), uneven=0.25),
    "stroke": replace(PLAIN, stroke=(-2, 4)),
    "several lines": replace(PLAIN, lines=3),
    "colours": replace(PLAIN, colours=_any_colours),
    "light": replace(PLAIN, on_page=_light),
    "noise and specks": replace(PLAIN, on_page=add_noise),
    "frame": replace(PLAIN, on_ink=_frame),
    "ruled lines": replace(PLAIN, on_ink=_ruled_lines),
    "shining through": replace(PLAIN, on_ink=_show_through),
    "blur": replace(PLAIN, on_ink=blur),
    "JPEG": replace(PLAIN, on_page=_jpeg),
}

"""Pages with digits as people write them: lines, boxes, ruled paper, thin pens, letters, words.

Every picture is a function of its random generator, so a seed reproduces it. The digits of a picture are
known with their boxes, so that recall and precision can be counted.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage import morphology

from experiments.corruptions import crop_to_ink
from experiments.photographs import Box, Ink, Page, Random, photo

CAPITALS = "AEFHKMNRTUWXY"  # without those that look like digits


@dataclass(frozen=True)
class Scene:
    """A kind of picture: how digits are arranged, what else is on the page, and how it is photographed.

    Attributes:
      arrange: places digits on a page.
      decorate: adds other ink to a page.
      photograph: the page as gray values and digits with new boxes.
      pen: minimum and maximum width of the strokes in pixels; None for those of the images.
      height: minimum and maximum height of a digit, in pixels.
    """

    arrange: Callable[..., Page]
    decorate: Callable[[Random, Page], Ink] = lambda rng, page: page.ink
    photograph: Callable[[Random, Page], tuple[Ink, list]] | None = None
    pen: tuple[float, float] | None = None
    height: tuple[float, float] = (50, 90)


def draw(
    rng: Random, images: np.ndarray, labels: Any, scene: Scene
) -> tuple[np.ndarray, list[tuple[int, Box]], str]:
    """Draws digits as a scene.

    Returns:
      A picture, (height, width) uint8; the label and the box of each digit; and the text, line by line.
    """
    height = rng.uniform(*scene.height)
    width = rng.uniform(*scene.pen) if scene.pen else None
    glyphs = [_glyph(image, height * rng.uniform(0.92, 1.08), width) for image in images]
    page = scene.arrange(rng, glyphs, [int(label) for label in labels], height)
    page = replace(page, ink=scene.decorate(rng, page))
    gray, digits = (scene.photograph or _scan)(rng, page)
    ends = itertools.pairwise(np.cumsum([0, *page.lines]).tolist())
    text = "\n".join("".join(str(label) for label, _ in page.digits[a:b]) for a, b in ends)
    return np.round(255 * np.clip(gray, 0, 1)).astype(np.uint8), digits, text


def _glyph(image: np.ndarray, height: float, pen: float | None) -> Ink:
    """One digit, enlarged and cropped to its ink; with a pen, its skeleton is drawn with this width."""
    side = round(image.shape[0] * height / 20)
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) / 255
    if pen is not None:
        skeleton = morphology.skeletonize(ndimage.gaussian_filter(large, height / 60) > 0.5)
        distance: Any = ndimage.distance_transform_edt(~np.pad(skeleton, 8))
        large = np.clip(pen / 2 + 0.5 - distance, 0, 1)
    return crop_to_ink(large, 0.3)


# Arrangements


def _place(glyphs: Sequence[Ink], labels: Sequence[int], corners: Sequence[tuple[int, int]], lines: list[int],
           height: float, margin: float) -> Page:  # fmt: skip
    """A page with the glyphs at these corners (left, top), and a margin."""
    lefts, tops = np.array(corners).T
    m = int(margin * height)
    shift_x, shift_y = m - int(lefts.min()), m - int(tops.min())
    right = max(x + g.shape[1] for x, g in zip(lefts, glyphs, strict=True)) + shift_x + m
    bottom = max(y + g.shape[0] for y, g in zip(tops, glyphs, strict=True)) + shift_y + m
    ink, digits = np.zeros((int(bottom), int(right))), []
    for glyph, label, (x, y) in zip(glyphs, labels, corners, strict=True):
        x, y = x + shift_x, y + shift_y
        h, w = glyph.shape
        ink[y : y + h, x : x + w] = np.maximum(ink[y : y + h, x : x + w], glyph)
        digits.append((label, (x, y, x + w, y + h)))
    return Page(ink, digits, lines, height)


def in_lines(rng: Random, glyphs: Sequence[Ink], labels: Sequence[int], height: float) -> Page:
    """Digits in one to three lines, which may climb."""
    count = int(rng.integers(1, 4))
    rows = [row for row in np.array_split(np.arange(len(glyphs)), count) if row.size]
    slope, corners, y = rng.uniform(-0.1, 0.1), [], 0.0
    for row in rows:
        x, spacing = 0.0, rng.uniform(0.15, 0.8)
        for i in row:
            h, w = glyphs[i].shape
            corners.append((int(x), int(y + slope * x - h / 2 + rng.normal(0, 0.04) * height)))
            x += w + spacing * height * rng.uniform(0.7, 1.3)
        y += rng.uniform(1.5, 2.0) * height
    return _place(glyphs, labels, corners, [len(row) for row in rows], height, rng.uniform(0.6, 2.0))


def touching(
    rng: Random, glyphs: Sequence[Ink], labels: Sequence[int], height: float, *, max_gap: float = 0.0
) -> Page:
    """One line of digits, each moved to the left until its ink touches the previous digit.

    If `max_gap` is positive, a random gap of at most `max_gap` times the height remains between them.
    """
    corners, x = [], 0
    edge = np.full(int(1.6 * height), -np.inf)  # for each row, the last column with ink
    for glyph in glyphs:
        h, _ = glyph.shape
        top = int(np.clip(1.6 * height / 2 - h / 2 + rng.normal(0, 0.04) * height, 0, len(edge) - h))
        inked = glyph > 0.45
        first = np.where(inked.any(axis=1), inked.argmax(axis=1), np.inf)
        reach = ndimage.maximum_filter1d(edge, 3)[top : top + h] - first
        gap = int(rng.uniform(0, max_gap) * height)
        x = int(reach.max()) + gap + 1 - int(rng.integers(0, 2)) if np.isfinite(reach.max()) else x
        x = max(x, corners[-1][0] + 2) if corners else 0
        last = np.where(inked.any(axis=1), glyph.shape[1] - 1 - inked[:, ::-1].argmax(axis=1) + x, -np.inf)
        edge[top : top + h] = np.maximum(edge[top : top + h], last)
        corners.append((x, top))
    return _place(glyphs, labels, corners, [len(glyphs)], height, rng.uniform(0.6, 2.0))


def scattered(rng: Random, glyphs: Sequence[Ink], labels: Sequence[int], height: float) -> Page:
    """Digits in rows of different positions: a line has one or two digits, far from each other."""
    corners, y, lines, i = [], 0, [], 0
    while i < len(glyphs):
        count = int(min(rng.integers(1, 3), len(glyphs) - i))
        x = rng.uniform(0, 4) * height
        for glyph in glyphs[i : i + count]:
            corners.append((int(x), int(y - glyph.shape[0] / 2)))
            x += glyph.shape[1] + rng.uniform(1.0, 4.0) * height
        y += int(rng.uniform(1.4, 2.4) * height)
        lines.append(count)
        i += count
    return _place(glyphs, labels, corners, lines, height, rng.uniform(0.6, 2.0))


def in_boxes(rng: Random, glyphs: Sequence[Ink], labels: Sequence[int], height: float) -> Page:
    """One line of digits, each in a box, or in a row of cells; some digits touch their box."""
    side, thick = int(rng.uniform(1.25, 1.6) * height), max(1, round(rng.uniform(0.02, 0.05) * height))
    apart = 0 if rng.random() < 0.5 else int(rng.uniform(0.1, 0.4) * height)
    pitch = side + apart - (thick if not apart else 0)
    corners = []
    for i, glyph in enumerate(glyphs):
        h, w = glyph.shape
        free = np.array([side - w, side - h]) / 2
        jitter = np.clip(rng.normal(0, 0.12, 2) * height, -free, free)
        corners.append((int(i * pitch + free[0] + jitter[0]), int(free[1] + jitter[1])))
    page = _place(glyphs, labels, corners, [len(glyphs)], height, rng.uniform(1.0, 2.0))
    (x, y, *_), (dx, dy) = page.digits[0][1], corners[0]
    for i in range(len(glyphs)):
        left, top = int(x - dx + i * pitch), int(y - dy)
        box = page.ink[top : top + side, left : left + side]
        box[:thick] = box[-thick:] = box[:, :thick] = box[:, -thick:] = 1
    return page


# Other ink on the page


def ruled(rng: Random, page: Page) -> Ink:
    """Lines from side to side; the digits stand between them or cross them."""
    return _stripes(rng, page, page.ink, axis=0, strength=rng.uniform(0.3, 0.9))


def squared(rng: Random, page: Page) -> Ink:
    """Lines in both directions."""
    strength = rng.uniform(0.2, 0.6)
    ink = _stripes(rng, page, page.ink, axis=0, strength=strength)
    return _stripes(rng, page, ink, axis=1, strength=strength)


def _stripes(rng: Random, page: Page, ink: Ink, axis: int, strength: float) -> Ink:
    apart, thick = rng.uniform(0.7, 1.6) * page.height, max(1.0, 0.025 * page.height)
    position = np.indices(ink.shape)[axis]
    on_line = (position + rng.uniform(0, apart)) % apart <= thick
    return np.maximum(ink, strength * on_line)


def showing_through(rng: Random, page: Page) -> Ink:
    """The mirrored writing of the other side, faint and blurred."""
    other = np.roll(page.ink[:, ::-1], (int(0.3 * page.height), int(0.4 * page.height)), (0, 1))
    return np.maximum(page.ink, rng.uniform(0.12, 0.32) * ndimage.gaussian_filter(other, 0.025 * page.height))


def letters(rng: Random, page: Page) -> Ink:
    """A word of letters below the digits."""
    return _with_words(rng, page, lines=1, words=1, size=1.0)


def text(rng: Random, page: Page) -> Ink:
    """Three to five lines of words below the digits."""
    return _with_words(rng, page, lines=int(rng.integers(3, 6)), words=2, size=rng.uniform(0.5, 0.9))


def _with_words(rng: Random, page: Page, lines: int, words: int, size: float) -> Ink:
    """Lines of words below the digits; `size` is that of the font, relative to the height of the digits."""
    font_px = size * page.height
    first_line = page.ink.shape[0] + int(0.7 * page.height)
    height = first_line + int((1.6 * lines + 0.5) * font_px)
    image = Image.new("L", (max(page.ink.shape[1], int(8 * font_px * (words - 1))), height))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(int(font_px))
    for line in range(lines):
        written = " ".join("".join(rng.choice(list(CAPITALS), int(rng.integers(2, 6)))) for _ in range(words))
        position = int(0.8 * font_px), first_line + int(1.6 * line * font_px)
        pen.text(position, written, fill=255, font=font)
    added = np.asarray(image) / 255
    drawn = added[: page.ink.shape[0], : page.ink.shape[1]]
    np.maximum(drawn, page.ink, out=drawn)
    return added


def _scan(rng: Random, page: Page) -> tuple[Ink, list]:
    return 0.97 - 0.85 * page.ink + rng.normal(0, 0.004, page.ink.shape), page.digits


SCENES: dict[str, Scene] = {
    "separate digits": Scene(in_lines),
    "touching digits": Scene(touching),
    "photo": Scene(in_lines, photograph=photo),
    "photo with a shadow": Scene(in_lines, photograph=partial(photo, shadow=True)),
    "photo with a dark object": Scene(in_lines, photograph=partial(photo, dark_object=True)),
    "pen of 1 to 3 pixels": Scene(in_lines, pen=(1, 3), height=(40, 160)),
    "pen of 3 to 12 pixels": Scene(in_lines, pen=(3, 12), height=(60, 160)),
    "boxes": Scene(in_boxes),
    "photo of boxes": Scene(in_boxes, photograph=photo),
    "ruled paper": Scene(in_lines, ruled),
    "squared paper": Scene(in_lines, squared),
    "showing through": Scene(in_lines, showing_through),
    "scattered digits": Scene(scattered),
    "letters": Scene(in_lines, letters),
    "text": Scene(in_lines, text),
}

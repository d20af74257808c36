"""Pictures as people take them, simulated from single test digits: photographs, forms, thin pens, letters.

Every picture is a function of its random generator, so a seed reproduces it. The digits of a picture are
known with their boxes, so that recall and precision can be counted.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage import morphology, transform

Ink = np.ndarray  # (height, width), 0 to 1
Box = tuple[float, float, float, float]  # left, top, right, bottom
Random = np.random.Generator

MAX_ANGLE_DEG = 15
LETTERS = "AEFHKMNRTUWXY"  # without those that look like digits


@dataclass
class Page:
    """Ink on a page: what is drawn, and the digits that can be recognized.

    Attributes:
      ink: (height, width), from 0 (paper) to 1.
      digits: the label and the box of each digit, in reading order.
      lines: the number of digits in each line.
      height: the height of a digit, in pixels.
    """

    ink: Ink
    digits: list[tuple[int, Box]]
    lines: list[int]
    height: float


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
    rng: Random, images: np.ndarray, labels: Sequence[int], scene: Scene
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
    starts = np.cumsum([0, *page.lines])
    text = "\n".join(
        "".join(str(k) for k, _ in page.digits[a:b]) for a, b in zip(starts, starts[1:], strict=False)
    )
    return np.round(255 * np.clip(gray, 0, 1)).astype(np.uint8), digits, text


def _glyph(image: np.ndarray, height: float, pen: float | None) -> Ink:
    """One digit, enlarged and cropped to its ink; with a pen, its skeleton is drawn with this width."""
    side = round(image.shape[0] * height / 20)
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) / 255
    if pen is not None:
        skeleton = morphology.skeletonize(ndimage.gaussian_filter(large, height / 60) > 0.5)
        distance = ndimage.distance_transform_edt(~np.pad(skeleton, 8))
        large = np.clip(pen / 2 + 0.5 - distance, 0, 1)
    rows, columns = (np.flatnonzero((large > 0.3).any(axis=axis)) for axis in (1, 0))
    return large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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


def in_lines(rng: Random, glyphs: Sequence[Ink], labels: Sequence[int], height: float, *,
             gap=(0.15, 0.8), climb: float = 0.1, margin=(0.6, 2.0), max_lines: int = 3) -> Page:  # fmt: skip
    """Digits in one to three lines, which may climb."""
    count = int(rng.integers(1, max_lines + 1))
    rows = [row for row in np.array_split(np.arange(len(glyphs)), count) if row.size]
    slope, corners, y = rng.uniform(-climb, climb), [], 0.0
    for row in rows:
        x, spacing = 0.0, rng.uniform(*gap)
        for i in row:
            h, w = glyphs[i].shape
            corners.append((int(x), int(y + slope * x - h / 2 + rng.normal(0, 0.04) * height)))
            x += w + spacing * height * rng.uniform(0.7, 1.3)
        y += rng.uniform(1.5, 2.0) * height
    return _place(glyphs, labels, corners, [len(row) for row in rows], height, rng.uniform(*margin))


def touching(rng: Random, glyphs: Sequence[Ink], labels: Sequence[int], height: float) -> Page:
    """One line of digits, each moved to the left until it touches the last one."""
    corners, x = [], 0
    edge = np.full(int(1.6 * height), -np.inf)  # for each row, the last column with ink
    for glyph in glyphs:
        h, _ = glyph.shape
        top = int(np.clip(1.6 * height / 2 - h / 2 + rng.normal(0, 0.04) * height, 0, len(edge) - h))
        inked = glyph > 0.45
        first = np.where(inked.any(axis=1), inked.argmax(axis=1), np.inf)
        reach = ndimage.maximum_filter1d(edge, 3)[top : top + h] - first
        x = int(reach.max()) + 1 - int(rng.integers(0, 2)) if np.isfinite(reach.max()) else x
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
    x0, y0 = page.digits[0][1][0] - corners[0][0], page.digits[0][1][1] - corners[0][1]
    for i in range(len(glyphs)):
        left, top = int(x0 + i * pitch), int(y0)
        right, bottom = left + side, top + side
        for rows, columns in (
            (slice(top, top + thick), slice(left, right)), (slice(bottom - thick, bottom), slice(left, right)),
            (slice(top, bottom), slice(left, left + thick)), (slice(top, bottom), slice(right - thick, right)),
        ):  # fmt: skip
            page.ink[rows, columns] = 1
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
    """Words above and below the digits, and a letter between some of them."""
    image = Image.fromarray(np.zeros(np.add(page.ink.shape, (int(4 * page.height), 0)), np.uint8))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(int(page.height))
    word = "".join(rng.choice(list(LETTERS), int(rng.integers(2, 6))))
    pen.text((int(0.8 * page.height), image.height - int(1.7 * page.height)), word, fill=255, font=font)
    added = np.asarray(image) / 255
    added[: page.ink.shape[0]] = np.maximum(added[: page.ink.shape[0]], page.ink)
    return added


# Photographs


def _scan(rng: Random, page: Page) -> tuple[Ink, list]:
    return 0.97 - 0.85 * page.ink + rng.normal(0, 0.004, page.ink.shape), page.digits


def photo(rng: Random, page: Page, *, shadow: bool = False, dark_object: bool = False) -> tuple[Ink, list]:
    """A photograph of the page: perspective, paper texture, light, shadow, noise, blur and JPEG."""
    margin = int(1.5 * page.height)
    ink = np.pad(page.ink, margin)
    ink, warp = _perspective(rng, ink)
    digits = [(label, _warped(np.add(box, margin), warp)) for label, box in page.digits]
    texture = ndimage.gaussian_filter(rng.normal(0, 1, ink.shape), 1.2)
    paper = 0.8 + 0.015 * texture / max(texture.std(), 1e-9)
    gray = paper * (1 - rng.uniform(0.55, 0.9) * ink)
    gray = gray * _light(rng, ink.shape)
    if shadow:
        gray = gray * _shadow(rng, ink.shape, page.height)
    if dark_object:
        gray = _dark_object(rng, gray, digits)
    gray = ndimage.gaussian_filter(gray, rng.uniform(0.3, 0.02 * page.height))
    gray = gray + rng.normal(0, rng.uniform(0.005, 0.03), gray.shape)
    return _jpeg(rng, gray), digits


def _perspective(rng: Random, ink: Ink) -> tuple[Ink, Any]:
    """The page seen from the side and rotated, each by at most 15 degrees; and the map of its points."""
    height, width = ink.shape
    angle = math.radians(rng.uniform(-MAX_ANGLE_DEG, MAX_ANGLE_DEG)) / 2
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    shrink = 1 - np.abs(rng.uniform(-1, 1, 4)) * math.tan(math.radians(MAX_ANGLE_DEG)) / 2
    center = corners.mean(axis=0)
    target = center + (corners - center) * shrink[:, None]
    target = (target - center) @ np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    ) + center
    target -= target.min(axis=0)
    warp = transform.ProjectiveTransform.from_estimate(corners, target)
    size = np.ceil(target.max(axis=0)).astype(int)
    return np.clip(
        transform.warp(ink, warp.inverse, output_shape=(size[1], size[0]), order=1, cval=0.0), 0, 1
    ), warp


def _warped(box: Box, warp: Any) -> Box:
    left, top, right, bottom = box
    points = warp(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float))
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def _light(rng: Random, shape: tuple[int, ...]) -> Ink:
    """Brightness that decreases across the picture by up to 60 %."""
    rows, columns = np.indices(shape)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * rows / shape[0] + np.sin(angle) * columns / shape[1]
    along = (along - along.min()) / np.ptp(along)
    return 1 - rng.uniform(0, 0.6) * along


def _shadow(rng: Random, shape: tuple[int, ...], height: float) -> Ink:
    """The shadow of a straight edge or of a round object, with a soft edge; it may cover digits."""
    rows, columns = np.indices(shape)
    angle, (h, w) = rng.uniform(0, 2 * np.pi), shape
    center = rng.uniform(0.2, 0.8) * h, rng.uniform(0.2, 0.8) * w
    distance = np.cos(angle) * (rows - center[0]) + np.sin(angle) * (columns - center[1])
    if rng.random() < 0.5:
        distance = np.hypot(rows - center[0], columns - center[1]) - rng.uniform(0.2, 0.5) * min(h, w)
    soft = rng.uniform(0.05, 0.5) * height
    return 1 - rng.uniform(0.3, 0.65) / (1 + np.exp(np.clip(distance / soft, -50, 50)))


def _dark_object(rng: Random, gray: Ink, digits: Sequence[tuple[int, Box]]) -> Ink:
    """A dark object that enters the picture at a side without digits."""
    h, w = gray.shape
    boxes = np.array([box for _, box in digits])
    free = {
        "left": boxes[:, 0].min(),
        "top": boxes[:, 1].min(),
        "right": w - boxes[:, 2].max(),
        "bottom": h - boxes[:, 3].max(),
    }
    side = max(free, key=lambda name: free[name])
    depth = int(rng.uniform(0.3, 0.85) * free[side])
    axis, length = (0, w) if side in ("top", "bottom") else (1, h)
    start, end = sorted(rng.uniform(0, length, 2))
    rows, columns = np.indices(gray.shape)
    across, along = (rows, columns) if axis == 0 else (columns, rows)
    far = across if side in ("top", "left") else gray.shape[axis] - 1 - across
    inside = (far < depth) & (along >= start) & (along <= max(end, start + depth))
    return np.where(inside, rng.uniform(0.02, 0.25), gray)


def _jpeg(rng: Random, gray: Ink) -> Ink:
    file = io.BytesIO()
    image = Image.fromarray(np.round(255 * np.clip(gray, 0, 1)).astype(np.uint8))
    image.save(file, "JPEG", quality=int(rng.integers(40, 95)))
    return np.asarray(Image.open(file)) / 255


def _with(photograph: Callable, **options: Any) -> Callable:
    return lambda rng, page: photograph(rng, page, **options)


SCENES: dict[str, Scene] = {
    "separate digits": Scene(in_lines),
    "touching digits": Scene(touching),
    "photo": Scene(in_lines, photograph=photo),
    "photo with a shadow": Scene(in_lines, photograph=_with(photo, shadow=True)),
    "photo with a dark object": Scene(in_lines, photograph=_with(photo, dark_object=True)),
    "pen of 1 to 3 pixels": Scene(in_lines, pen=(1, 3), height=(40, 160)),
    "pen of 3 to 12 pixels": Scene(in_lines, pen=(3, 12), height=(60, 160)),
    "boxes": Scene(in_boxes),
    "photo of boxes": Scene(in_boxes, photograph=photo),
    "ruled paper": Scene(in_lines, ruled),
    "squared paper": Scene(in_lines, squared),
    "showing through": Scene(in_lines, showing_through),
    "scattered digits": Scene(scattered),
    "letters": Scene(in_lines, letters),
}

"""Pictures without digits: words, textures, drawings, scribbles, covering shapes, parts of photographs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
import sklearn
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from experiments.photographs import Ink, Random
from experiments.scenes import CAPITALS

SAMPLES = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg", "ihc.png", "microaneurysms.png",
    "moon.png", "phantom.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip


def no_digits(rng: Random, kind: str) -> np.ndarray:
    """A picture without digits, one of `KINDS`: gray values, (height, width) uint8."""
    gray = KINDS[kind](rng)
    return np.round(255 * np.clip(gray + rng.normal(0, 0.006, gray.shape), 0, 1)).astype(np.uint8)


def _words(rng: Random) -> Ink:
    """Two words of letters that do not look like digits."""
    size = int(rng.uniform(40, 90))
    image = Image.new("L", (7 * size, 4 * size), 245)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for top in (0.6, 2.2):
        word = "".join(rng.choice(list(CAPITALS), int(rng.integers(3, 7))))
        pen.text((0.6 * size, top * size), word, fill=20, font=font)
    return np.asarray(image) / 255


def _texture(rng: Random) -> Ink:
    """Noise whose power decreases with the frequency, like that of wood, clouds or cloth."""
    side = int(rng.uniform(200, 500))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    white = np.fft.fft2(rng.normal(size=(side, side)))
    noise = np.real(np.fft.ifft2(white / frequency ** rng.uniform(0.5, 2)))
    gray = (noise - noise.min()) / np.ptp(noise)
    if rng.random() < 0.3:
        gray = np.abs(np.sin(gray * rng.uniform(10, 40)))
    return 0.15 + 0.75 * gray


def _drawing(rng: Random) -> Ink:
    """Polygons, arcs, rectangles and curves."""
    side = int(rng.uniform(250, 500))
    image = Image.new("L", (side, side), 240)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 20))):
        center, radius, width = rng.uniform(0, side, 2), rng.uniform(10, 100), int(rng.integers(1, 8))
        kind, corners = rng.integers(0, 4), center + radius * rng.normal(0, 1, (int(rng.integers(3, 6)), 2))
        if kind == 0:
            pen.line([tuple(corner) for corner in corners], fill=20, width=width)
        elif kind == 1:
            angles = sorted(rng.uniform(0, 360, 2))
            pen.arc((*(center - radius), *(center + radius)), *angles, fill=20, width=width)
        elif kind == 2:
            far = center + radius * np.array([1, rng.uniform(0.1, 1)])
            pen.rectangle((*center, *far), outline=20, width=width)
        else:
            pen.polygon([tuple(corner) for corner in corners], outline=20, width=width)
    return np.asarray(image) / 255


def _scribble(rng: Random) -> Ink:
    """Long smooth curves that cross themselves."""
    side = int(rng.uniform(150, 500))
    image = Image.new("L", (side, side), 240)
    pen, time = ImageDraw.Draw(image), np.linspace(0, 1, 400)
    for _ in range(int(rng.integers(1, 8))):
        frequencies, phases = rng.uniform(0.3, 4, (2, 4)), rng.uniform(0, 2 * np.pi, (2, 4))
        waves = np.sin(2 * np.pi * frequencies[..., None] * time + phases[..., None]).sum(axis=1)
        points = rng.uniform(0.2, 0.8, (2, 1)) * side + rng.uniform(10, 60) * waves
        width = int(rng.integers(1, 9))
        pen.line([tuple(point) for point in points.T], fill=20, width=width, joint="curve")
    return np.asarray(image) / 255


def _leaves(rng: Random) -> Ink:
    """Shapes of all sizes that cover each other, like the objects in a photograph.

    The sizes follow a power law, as in the "dead leaves" model of natural images (Lee, Mumford, Huang,
    *Occlusion models for natural images*, 2001).
    """
    side = int(rng.uniform(200, 500))
    image = Image.new("L", (side, side), int(rng.integers(0, 256)))
    pen = ImageDraw.Draw(image)
    smallest, largest = rng.uniform(3, 25), side / 2
    for _ in range(int(rng.integers(20, 600))):
        radius = smallest / np.sqrt(rng.uniform((smallest / largest) ** 2, 1))
        center, gray = rng.uniform(0, side, 2), int(rng.integers(0, 256))
        stretch = rng.uniform(0.3, 1, 2)
        if rng.random() < 0.5:
            pen.ellipse((*(center - radius * stretch), *(center + radius * stretch)), fill=gray)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            corners = center + radius * stretch * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            pen.polygon([tuple(corner) for corner in corners], fill=gray)
    return ndimage.gaussian_filter(np.asarray(image) / 255, rng.uniform(0.3, 1.5))


def _sample(rng: Random) -> Ink:
    """A random part of a photograph that is installed with scikit-image or scikit-learn."""
    files = [Path(skimage.__file__).parent / "data" / name for name in SAMPLES]
    files += [
        Path(sklearn.__file__).parent / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")
    ]
    image = Image.open(files[rng.integers(len(files))]).convert("L")
    width, height = (int(n * rng.uniform(0.4, 1)) for n in image.size)
    left, top = int(rng.uniform(0, image.width - width)), int(rng.uniform(0, image.height - height))
    return np.asarray(image.crop((left, top, left + width, top + height))) / 255


KINDS: dict[str, Callable[[Random], Ink]] = {
    "words": _words,
    "texture": _texture,
    "drawing": _drawing,
    "scribble": _scribble,
    "covering shapes": _leaves,
    "sample image": _sample,
}

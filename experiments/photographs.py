"""Photographs of a page with digits: perspective, light, shadows, dark objects, noise and JPEG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from skimage import transform

from experiments.corruptions import compressed, gradient

Ink = np.ndarray  # (height, width), 0 to 1
Box = tuple[float, float, float, float]  # left, top, right, bottom
Random = np.random.Generator

MAX_ANGLE_DEG = 15


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


def photo(rng: Random, page: Page, *, shadow: bool = False, dark_object: bool = False) -> tuple[Ink, list]:
    """A photograph of the page: perspective, paper texture, light, shadow, noise, blur and JPEG."""
    margin = int(1.5 * page.height)
    ink = np.pad(page.ink, margin)
    ink, warp = _perspective(rng, ink)
    digits = [(label, _warped(np.add(box, margin), warp)) for label, box in page.digits]
    texture = ndimage.gaussian_filter(rng.normal(0, 1, ink.shape), 1.2)
    paper = 0.8 + 0.015 * texture / max(texture.std(), 1e-9)
    gray = paper * (1 - rng.uniform(0.55, 0.9) * ink)
    light = gradient(rng, ink.shape)
    gray = gray * (1 - rng.uniform(0, 0.6) * light)
    if shadow:
        gray = gray * _shadow(rng, ink.shape, page.height)
    if dark_object:
        gray = _dark_object(rng, gray, digits)
    gray = ndimage.gaussian_filter(gray, rng.uniform(0.3, 0.02 * page.height))
    gray = gray + rng.normal(0, rng.uniform(0.005, 0.03), gray.shape)
    return compressed(gray, int(rng.integers(40, 95))), digits


def _perspective(rng: Random, ink: Ink) -> tuple[Ink, Any]:
    """The page seen at up to 15 degrees and rotated by up to 7.5 degrees; and the map of its points."""
    height, width = ink.shape
    angle = math.radians(rng.uniform(-MAX_ANGLE_DEG, MAX_ANGLE_DEG)) / 2
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    shrink = 1 - np.abs(rng.uniform(-1, 1, 4)) * math.tan(math.radians(MAX_ANGLE_DEG)) / 2
    center = corners.mean(axis=0)
    target = center + (corners - center) * shrink[:, None]
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    target = (target - center) @ rotation
    target -= target.min(axis=0)
    warp = transform.ProjectiveTransform.from_estimate(corners, target)
    columns, rows = np.ceil(target.max(axis=0)).astype(int).tolist()
    return np.clip(transform.warp(ink, warp.inverse, output_shape=(rows, columns), order=1), 0, 1), warp


def _warped(box: Any, warp: Any) -> Box:
    left, top, right, bottom = box
    points = warp(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float))
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


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
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    free = {"left": left, "top": top, "right": w - right, "bottom": h - bottom}
    side = max(free, key=lambda name: free[name])
    depth = int(rng.uniform(0.3, 0.85) * free[side])
    axis, length = (0, w) if side in ("top", "bottom") else (1, h)
    start, end = sorted(rng.uniform(0, length, 2))
    rows, columns = np.indices(gray.shape)
    across, along = (rows, columns) if axis == 0 else (columns, rows)
    far = across if side in ("top", "left") else gray.shape[axis] - 1 - across
    inside = (far < depth) & (along >= start) & (along <= max(end, start + depth))
    return np.where(inside, rng.uniform(0.02, 0.25), gray)

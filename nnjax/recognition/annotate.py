"""A picture of what was recognized, and of the steps before: ink, lines of writing, digits."""

import colorsys
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nnjax.recognition.candidates import DigitCandidates
from nnjax.recognition.picture import Gray
from nnjax.recognition.reading import Reading, Recognition, to_reading
from nnjax.recognition.rejection import is_digit
from nnjax.runtime.files import write_atomically

_CERTAIN_COLOR, _UNCERTAIN_COLOR, _REJECTED_COLOR = (0, 90, 180), (200, 80, 0), (130, 130, 130)
_UNUSED_GRAY = 190  # strokes that are in no line of writing
_MIN_FONT_PX, _MAX_FONT_PX = 10, 60
_HUE_STEP = 0.381966  # of the golden angle: neighboring lines have very different colors


def annotate(image: Any, reading: Reading) -> Any:
    """A copy of a Pillow image with a box around each digit, and digit and confidence below the box."""
    from PIL import Image

    boxes = reading.boxes
    lowest = int(boxes[:, 3].max()) if len(boxes) else 0
    height = float(np.median(boxes[:, 3] - boxes[:, 1])) if lowest else 0.0
    canvas = Image.new("RGB", (image.width, max(image.height, lowest + 3 * _font_size(height))), "white")
    canvas.paste(image)
    digits = (c for c in reading.text if not c.isspace())
    for digit, p, uncertain, box in zip(
        digits, reading.confidence, reading.uncertain, boxes.tolist(), strict=True
    ):
        color = _UNCERTAIN_COLOR if uncertain else _CERTAIN_COLOR
        _draw_box(canvas, box, f"{digit}{'?' * bool(uncertain)}\n{p:.0%}", color, _font_size(height))
    return canvas


def annotate_steps(image: Any, recognition: Recognition) -> Any:
    """Three pictures below each other: the ink, the strokes of each line in a color, and the digits.

    The third one also has a gray box around each rejected candidate, with its probability of a digit.

    Args:
      image: a Pillow image.
      recognition: what was recognized in it.
    """
    from PIL import Image

    candidates, digits = recognition.candidates, image.copy()
    for candidate, prediction in itertools.chain(*recognition.sequences):
        if not is_digit(prediction):
            (box,) = candidates.in_picture([candidate.box]).tolist()
            caption = f"{prediction.digit_probability:.0%}"
            _draw_box(digits, box, caption, _REJECTED_COLOR, _font_size(box[3] - box[1]))
    gray = np.round(255 * (1 - candidates.ink)).astype(np.uint8)
    ink, lines = (
        Image.fromarray(panel).convert("RGB").resize(image.size, Image.Resampling.BOX)
        for panel in (gray, _colored_lines(candidates))
    )
    steps = ink, lines, annotate(digits, to_reading(recognition))
    return Image.fromarray(np.vstack(list(map(np.asarray, steps))))


def write_annotated(path: Path, picture: Path, gray: Gray, recognition: Recognition) -> None:
    """Writes the annotated steps to a file, in the format of its name.

    Args:
      path: the file to write.
      picture: the file of the picture.
      gray: `open_picture(picture)`.
      recognition: what was recognized in it.

    Raises:
      ValueError: a file name that does not end in a format that Pillow writes.
    """
    from PIL import Image

    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"cannot write {path}: its name must end in a picture format, such as .png")
    content = io.BytesIO()
    annotate_steps(_in_color(picture, gray), recognition).save(content, kind)
    write_atomically(path, content.getvalue())


def _colored_lines(candidates: DigitCandidates) -> UInt8[np.ndarray, "height width 3"]:
    """The strokes, with a color for each line of writing; gray if they are in none."""
    panel = np.full((*candidates.ink.shape, 3), 255, np.uint8)
    panel[candidates.occupied] = _UNUSED_GRAY
    for part in candidates.parts:
        color = colorsys.hsv_to_rgb(part.line * _HUE_STEP % 1, 1, 0.75)
        rows, columns = np.nonzero(part.segmentation.mask)
        top, left = part.segmentation.corner
        panel[rows + top, columns + left] = np.round(255 * np.array(color))
    return panel


def _draw_box(
    canvas: Any, box: Sequence[int], caption: str, color: tuple[int, int, int], font_size: int
) -> None:
    """Draws a box with a caption below it."""
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(font_size)
    draw.rectangle(box, outline=color, width=max(1, font_size // 8))
    draw.multiline_text((box[0], box[3] + 2), caption, fill=color, font=font, spacing=0,
                        stroke_width=max(1, font_size // 10), stroke_fill="white")  # fmt: skip


def _font_size(height: float) -> int:
    """The size of the captions of digits of this height."""
    return int(np.clip(height / 4, _MIN_FONT_PX, _MAX_FONT_PX))


def _in_color(picture: Path, gray: Gray) -> Any:
    """The picture as RGB; made from its gray values if it has an alpha channel or cannot be opened again."""
    from PIL import Image, ImageOps

    if picture.is_file():  # a pipe can be read only once
        with Image.open(picture) as image:
            if image.mode in ("RGB", "P", "CMYK", "YCbCr") and "transparency" not in image.info:
                return ImageOps.exif_transpose(image).convert("RGB")
    return Image.fromarray(np.round(255 * gray).astype(np.uint8)).convert("RGB")

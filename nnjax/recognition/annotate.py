"""A picture annotated with what was recognized in it: boxes, digits and confidences."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from nnjax.recognition.picture import Gray
from nnjax.recognition.reading import Reading
from nnjax.runtime.files import write_atomically

_CERTAIN_COLOR, _UNCERTAIN_COLOR = (0, 90, 180), (200, 80, 0)
_MIN_FONT_PX, _MAX_FONT_PX = 10, 60


def annotate(image: Any, reading: Reading) -> Any:
    """A copy of a Pillow image with a box around each digit, and digit and confidence below the box."""
    from PIL import Image, ImageDraw, ImageFont

    boxes = reading.boxes
    lowest = int(boxes[:, 3].max()) if len(boxes) else 0
    height = np.median(boxes[:, 3] - boxes[:, 1]) if lowest else 0
    font_size = int(np.clip(height / 4, _MIN_FONT_PX, _MAX_FONT_PX))
    canvas = Image.new("RGB", (image.width, max(image.height, lowest + 3 * font_size)), "white")
    canvas.paste(image)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(font_size)
    digits = (c for c in reading.text if not c.isspace())
    for digit, p, uncertain, box in zip(
        digits, reading.confidence, reading.uncertain, boxes.tolist(), strict=True
    ):
        color = _UNCERTAIN_COLOR if uncertain else _CERTAIN_COLOR
        draw.rectangle(box, outline=color, width=max(1, font_size // 8))
        caption = f"{digit}{'?' * bool(uncertain)}\n{p:.0%}"
        draw.multiline_text((box[0], box[3] + 2), caption, fill=color, font=font, spacing=0,
                            stroke_width=max(1, font_size // 10), stroke_fill="white")  # fmt: skip
    return canvas


def write_annotated(path: Path, picture: Path, gray: Gray, reading: Reading) -> None:
    """Writes the annotated picture to a file, in the format of its name.

    Args:
      path: the file to write.
      picture: the file of the picture.
      gray: `open_picture(picture)`.
      reading: what was recognized in it.

    Raises:
      ValueError: a file name that does not end in a format that Pillow writes.
    """
    from PIL import Image

    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"cannot write {path}: its name must end in a picture format, such as .png")
    content = io.BytesIO()
    annotate(_in_color(picture, gray), reading).save(content, kind)
    write_atomically(path, content.getvalue())


def _in_color(picture: Path, gray: Gray) -> Any:
    """The picture as RGB; made from its gray values if it has an alpha channel or cannot be opened again."""
    from PIL import Image, ImageOps

    if picture.is_file():  # a pipe can be read only once
        with Image.open(picture) as image:
            if image.mode in ("RGB", "P", "CMYK", "YCbCr") and "transparency" not in image.info:
                return ImageOps.exif_transpose(image).convert("RGB")
    return Image.fromarray(np.round(255 * gray).astype(np.uint8)).convert("RGB")

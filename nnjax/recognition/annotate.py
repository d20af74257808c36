"""A picture with what was read drawn on it: boxes, digits, confidences."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from nnjax.recognition.picture import Grey
from nnjax.recognition.reading import Reading
from nnjax.runtime.files import write_atomically

_SURE, _DOUBTED = (0, 90, 180), (200, 80, 0)


def explain(image: Any, reading: Reading) -> Any:
    """The picture, a Pillow image, with a box around each digit, and below it digit and confidence."""
    from PIL import Image, ImageDraw, ImageFont

    low = int(reading.boxes[:, 3].max()) if len(reading.boxes) else 0
    size = int(np.clip(np.median(reading.boxes[:, 3] - reading.boxes[:, 1]) / 4, 10, 60)) if low else 10
    room = Image.new("RGB", (image.width, max(image.height, low + 3 * size)), "white")
    room.paste(image)
    pen, font = ImageDraw.Draw(room), ImageFont.load_default(size)
    digits = (c for c in reading.text if c != "\n")
    for digit, p, doubted, box in zip(
        digits, reading.confidence, reading.uncertain, reading.boxes.tolist(), strict=True
    ):
        colour = _DOUBTED if doubted else _SURE
        pen.rectangle(box, outline=colour, width=max(1, size // 8))
        told = f"{digit}{'?' * bool(doubted)}\n{p:.0%}"
        pen.multiline_text((box[0], box[3] + 2), told, fill=colour, font=font, spacing=0,
                           stroke_width=max(1, size // 10), stroke_fill="white")  # fmt: skip
    return room


def _in_colour(picture: Path, grey: Grey) -> Any:
    """A picture that has been read; as it was read, in grey, where its colours cannot all be seen."""
    from PIL import Image, ImageOps

    if picture.is_file():  # and no pipe, which is empty now
        with Image.open(picture) as opened:
            if opened.mode in ("RGB", "P", "CMYK", "YCbCr") and "transparency" not in opened.info:
                return ImageOps.exif_transpose(opened).convert("RGB")
    return Image.fromarray(np.round(255 * grey).astype(np.uint8)).convert("RGB")


def write_annotated(path: Path, picture: Path, grey: Grey, reading: Reading) -> None:
    """Write `explain`'s picture as the kind that the file's name says; a ValueError where it says none.

    Args:
      path: where to.
      picture, grey: the file that was read, and what `open_picture` made of it.
      reading: what was read in it.
    """
    from PIL import Image

    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"cannot write {path}: its name ends in no known kind of picture; try .png")
    content = io.BytesIO()
    explain(_in_colour(picture, grey), reading).save(content, kind)
    write_atomically(path, content.getvalue())

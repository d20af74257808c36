"""The form in which a network knows its images: fitted in a box, and where in the image that lies.

MNIST's makers brought each digit into a box of 20x20 pixels, its proportions kept and its edges
made grey, and put that into 28x28 so that the centre of its mass is the middle (LeCun, Bottou,
Bengio, Haffner, *Gradient-based learning applied to document recognition*, 1998, III.A). Those of
the embedded 8x8 digits stretched each to the same height and width. Which it was, images tell.
"""

import numpy as np
from jaxtyping import Float, Num, UInt8

from nnjax.storage.model_file import DigitLayout


def infer_layout(images: Num[np.ndarray, "n height width"]) -> DigitLayout:
    """The form of images whose background is 0.

    Where the middle half of them have all one height and all one width, they are stretched; else
    the longer of the two is what they are fitted in, for the median image.

    >>> form_of(np.pad(np.ones((2, 20, 12)), ((0, 0), (4, 4), (8, 8))))
    Form(box=(20, 12), stretched=True)
    """
    inked = images > 0
    extents = []
    for across in (2, 1):
        along = np.any(inked, axis=across)
        length = along.shape[1] - along.argmax(axis=1) - along[:, ::-1].argmax(axis=1)
        extents.append(np.where(np.any(along, axis=1), length, 0))
    quarter, middle, three = np.percentile(extents, [25, 50, 75], axis=1)
    if (quarter == three).all() and middle.all():
        return DigitLayout((int(middle[0]), int(middle[1])), True)
    side = int(np.median(np.maximum(*extents)))
    return DigitLayout((side, side), False)


def normalize_digit(
    ink: Float[np.ndarray, "h w"], shape: tuple[int, int], form: DigitLayout
) -> UInt8[np.ndarray, "height width"]:
    """A digit's ink as an image of `shape`, 0 to 255.

    Args:
      ink: the digit alone, cut close, 0 to 1.
      shape: of the image, (28, 28) for MNIST.
      form: of the images that it shall be like.

    >>> bring_to_form(np.ones((40, 10)), (28, 28), Form((20, 20), False)).sum(axis=0).nonzero()[0]
    array([12, 13, 14, 15, 16])
    """
    from PIL import Image

    scale = max(form.box) / max(ink.shape)
    height, width = form.box if form.stretched else (max(1, round(n * scale)) for n in ink.shape)
    small = Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    digit = np.round(255 * np.clip(np.asarray(small), 0, 1)).astype(np.uint8)
    image = np.zeros(shape, np.uint8)
    if form.stretched:
        top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    else:
        top, left = (_start(digit.sum(axis=1 - i), shape[i]) for i in (0, 1))
    image[top : top + height, left : left + width] = digit
    return image


def _start(mass: Num[np.ndarray, " n"], length: int) -> int:
    """Where along `length` a digit begins: its mass centred as MNIST's, as far as it stays inside.

    There the middle is the pixel right of it: the centre of mass lies from 14 to 15 of 28.
    """
    centre = np.sum(mass * (np.arange(len(mass)) + 0.5)) / max(np.sum(mass), 1)
    return int(np.clip(np.ceil(length / 2 - centre), 0, length - len(mass)))

"""How digits are placed in the training images of a network, and how other digits are placed in the same way.

MNIST fits each digit into a box of 20x20 pixels, keeps its proportions, and centers its mass in an image
of 28x28 pixels (LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*,
1998, section III.A). The embedded 8x8 digits are stretched to the same height and width. `infer_layout`
detects which of the two a data set does.
"""

import numpy as np
import scipy
from jaxtyping import Float, Num, UInt8

from nnjax.storage.model_file import DigitLayout

MNIST_SHAPE, MNIST_LAYOUT = (28, 28), DigitLayout((20, 20), False)

# A dilation by one pixel multiplies the ink of 90 % of MNIST's digits by less than the first factor. If it is
# the second factor or more, strokes are made thicker by one pixel on each side.
THIN_GROWTH, THINNEST_GROWTH = 2.4, 3.0


def infer_layout(images: Num[np.ndarray, "n height width"]) -> DigitLayout:
    """The layout of images whose background is 0.

    If the middle half of the digits all have the same height and the same width, digits are stretched.
    Otherwise they are fitted into a square whose side is the median of their longer sides.

    >>> infer_layout(np.pad(np.ones((2, 20, 12)), ((0, 0), (4, 4), (8, 8))))
    DigitLayout(box=(20, 12), stretched=True)
    """
    has_ink = images > 0
    extents = []
    for other_axis in (2, 1):
        profile = np.any(has_ink, axis=other_axis)
        extent = profile.shape[1] - profile.argmax(axis=1) - profile[:, ::-1].argmax(axis=1)
        extents.append(np.where(np.any(profile, axis=1), extent, 0))
    lower_quartile, median, upper_quartile = np.percentile(extents, [25, 50, 75], axis=1)
    if (lower_quartile == upper_quartile).all() and median.all():
        return DigitLayout((int(median[0]), int(median[1])), True)
    side = int(np.median(np.maximum(*extents)))
    return DigitLayout((side, side), False)


def normalize_digit(
    ink: Float[np.ndarray, "h w"], shape: tuple[int, int], layout: DigitLayout
) -> UInt8[np.ndarray, "height width"]:
    """An image of one digit in the layout that a network was trained on, from 0 to 255.

    Args:
      ink: the digit, cropped to its ink, from 0 to 1.
      shape: the shape of the image: (28, 28) for MNIST.
      layout: the layout of the images that the network was trained on.

    >>> mnist = DigitLayout((20, 20), False)
    >>> normalize_digit(np.ones((40, 10)), (28, 28), mnist).sum(axis=0).nonzero()[0]
    array([12, 13, 14, 15, 16])
    """
    scale = max(layout.box) / max(ink.shape)
    height, width = layout.box if layout.stretched else (max(1, round(n * scale)) for n in ink.shape)
    resized = _resized(ink, height, width)
    resized = resized if layout.stretched else _thickened(resized)
    digit = np.round(255 * np.clip(resized, 0, 1)).astype(np.uint8)
    image = np.zeros(shape, np.uint8)
    if layout.stretched:
        top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    else:
        top, left = (_centered_start(digit.sum(axis=1 - i), shape[i]) for i in (0, 1))
    image[top : top + height, left : left + width] = digit
    return image


def to_mnist(ink: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "28 28"]:
    """An image of one digit in the layout of MNIST, from 0 to 255."""
    return normalize_digit(ink, MNIST_SHAPE, MNIST_LAYOUT)


def fitted(ink: Num[np.ndarray, "h w"], shape: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """The ink, scaled to fit into an image of this shape and centered, from 0 to 255.

    >>> fitted(np.ones((10, 5)), (4, 4))
    array([[  0, 255, 255,   0],
           [  0, 255, 255,   0],
           [  0, 255, 255,   0],
           [  0, 255, 255,   0]], dtype=uint8)
    """
    scale = min(n / m for n, m in zip(shape, ink.shape, strict=True))
    height, width = (max(1, round(n * scale)) for n in ink.shape)
    image, top, left = np.zeros(shape, np.uint8), (shape[0] - height) // 2, (shape[1] - width) // 2
    resized = _resized(ink, height, width)
    image[top : top + height, left : left + width] = np.round(255 * np.clip(resized, 0, 1))
    return image


def _resized(ink: Num[np.ndarray, "h w"], height: int, width: int) -> Float[np.ndarray, "height width"]:
    """The ink with another height and width; each pixel is the mean of its area."""
    from PIL import Image

    return np.asarray(Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BOX))


def _thickened(digit: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """A digit whose strokes are thinner than those of the training images, with thicker and darker strokes.

    A dilation by one pixel multiplies the ink of thin strokes by a larger factor than that of thick ones.
    """
    dilated = scipy.ndimage.maximum_filter(digit, 3, mode="constant")
    growth = dilated.sum() / max(digit.sum(), 1e-6)
    thinness = np.clip((growth - THIN_GROWTH) / (THINNEST_GROWTH - THIN_GROWTH), 0, 1)
    gain = 1 + thinness * (1 / max(dilated.max(), 0.1) - 1)
    return gain * np.maximum(digit, thinness * dilated)


def _centered_start(mass: Num[np.ndarray, " n"], length: int) -> int:
    """The first row or column of a digit whose mass is centered in `length`, as far as it stays inside.

    As in MNIST, an even length is centered on the pixel to the right of its middle: in 28 pixels the center
    of mass is between 14 and 15.
    """
    center = np.sum(mass * (np.arange(len(mass)) + 0.5)) / max(np.sum(mass), 1)
    return int(np.clip(np.ceil(length / 2 - center), 0, length - len(mass)))

"""Pictures as gray values, from arrays and from any file that Pillow opens."""

import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nnjax.runtime.extras import check_extra

MAX_PIXELS = 50_000_000
UNSUPPORTED_FORMATS = ("EPS",)  # Pillow would run another program to open them

Gray = Float[np.ndarray, "height width"]  # 0 black to 1 white

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def open_picture(picture: str | os.PathLike | np.ndarray) -> Gray:
    """The gray values of a picture, (height, width), from 0 (black) to 1 (white).

    The EXIF orientation of a file is applied. Transparent pixels count as paper.

    Args:
      picture: a file that Pillow opens (of several frames the first), or an array (height, width) or
        (height, width, channels), with 1 to 4 channels for L, LA, RGB or RGBA: uint8, uint16, bool, or
        floats from 0 to 1.

    Raises:
      FileNotFoundError: the file does not exist.
      MissingExtra: pillow is not installed.
      ValueError: not a picture, a damaged or empty one, or more than 50 million pixels.

    >>> open_picture(np.array([[0, 255]], np.uint8)).tolist()
    [[0.0, 1.0]]
    """
    check_extra("recognition", "recognizing digits in pictures", "PIL")
    if isinstance(picture, str | os.PathLike):
        return _open_file(Path(picture))
    array = np.asarray(picture)
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        raise ValueError(
            "picture must have the shape (height, width) or (height, width, channels) with 1 to 4 channels, "
            f"got {array.shape}"
        )
    _check_size(array.shape[1], array.shape[0], "picture")
    return _luminance(_unit_range(array))


def _open_file(path: Path) -> Gray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            # Pillow warns above its own limit and raises above twice that limit; MAX_PIXELS is lower.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
            if image.format in UNSUPPORTED_FORMATS:
                raise UnidentifiedImageError
            _check_size(*image.size, str(path))
            image = ImageOps.exif_transpose(image)
            if image.mode in ("1", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La"):
                image = image.convert("RGBA")
            if "transparency" in image.info and image.mode in ("L", "RGB"):
                image = image.convert("LA" if image.mode == "L" else "RGBA")
            array = np.asarray(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"picture must be an existing file, got {os.fspath(path)!r}") from None
    except Image.DecompressionBombError:
        raise _TooLarge(f"{path} must have at most {MAX_PIXELS:,} pixels, got far more") from None
    except UnidentifiedImageError:
        raise ValueError(f"{str(path)!r} must be a picture in a format that Pillow opens") from None
    except _TooLarge:
        raise
    except Exception as error:  # decoders raise any exception for a damaged file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"cannot open {str(path)!r} as a picture: {reason}") from None
    if array.dtype.kind in "if" and array.dtype != np.uint8:  # 32 bits, without a defined white
        array = _stretch(array.astype(np.float64))
    return _luminance(_unit_range(array))


def _stretch(array: np.ndarray) -> np.ndarray:
    """The values scaled so that they range from 0 to 1; NaN and infinity become 1."""
    finite = array[np.isfinite(array)]
    if not finite.size:
        return np.ones_like(array)
    minimum, maximum = finite.min(), finite.max()
    return np.where(np.isfinite(array), (array - minimum) / max(maximum - minimum, 1e-9), 1.0)


class _TooLarge(ValueError):
    pass


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise _TooLarge(f"{name} must have at most {MAX_PIXELS:,} pixels, got {width} x {height}")
    if width * height == 0:
        raise ValueError(f"{name} must have at least one pixel, got {width} x {height}")


def _unit_range(array: np.ndarray) -> np.ndarray:
    """Pixel values as float32 from 0 to 1."""
    if array.dtype.kind in "bu":
        maximum = 1 if array.dtype.kind == "b" else np.iinfo(array.dtype).max
        return np.divide(array, maximum, dtype=np.float32)
    if array.dtype.kind != "f":
        raise ValueError(f"the pixels of a picture must be uint8, uint16, bool or float, got {array.dtype}")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            "the pixels of a picture of floats must be between 0 (black) and 1 (white), "
            f"got {array.min():g} to {array.max():g}"
        )
    return array.astype(np.float32)


def _luminance(array: np.ndarray) -> Gray:
    """ITU-R 601 luminance, as Pillow computes it; transparent pixels become paper."""
    if array.ndim == 2:
        return array
    num_colors = array.shape[2] - (array.shape[2] in (2, 4))
    gray = array[..., 0] if num_colors == 1 else array[..., :3] @ _LUMA
    if num_colors == array.shape[2] or (alpha := array[..., -1]).min() == 1:
        return gray
    if alpha.mean() > 0.5:  # a page with transparent corners
        paper = np.float32(np.median(gray[alpha > 0.5]))
    else:  # only ink is opaque; white ink would be invisible on white paper
        paper = np.float32(np.sum(gray * alpha) < 0.5 * np.sum(alpha))
    return gray * alpha + paper * (1 - alpha)

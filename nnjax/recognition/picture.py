"""Any picture as grey: what Pillow opens, and arrays."""

import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float

MOST_PIXELS = 50_000_000
PROGRAMS = ("EPS",)  # kinds of pictures that another program would have to run: never read

Grey = Float[np.ndarray, "height width"]  # 0 black to 1 white


def open_picture(picture: str | os.PathLike | np.ndarray) -> Grey:
    """A picture as brightness, 0 black to 1 white.

    Files are turned as their EXIF says; what is transparent is taken for paper.

    Args:
      picture: a file that Pillow opens (its first frame), or an array (height, width) or
        (height, width, 1 to 4 channels as L, LA, RGB, RGBA): uint8, uint16, bool, or floats from
        0 to 1.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no picture, damaged, empty, or has over 50 million pixels.
    """
    if isinstance(picture, str | os.PathLike):
        return _open_file(Path(picture))
    array = np.asarray(picture)
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        raise ValueError(f"a picture is (height, width) or (height, width, channels), not {array.shape}")
    _check_size(array.shape[1], array.shape[0], "the picture")
    return _grey(_unit(array))


def _open_file(path: Path) -> Grey:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            # Pillow warns of what it takes for a bomb, and refuses twice that; the limit here is lower.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
            if image.format in PROGRAMS:
                raise UnidentifiedImageError
            _check_size(*image.size, str(path))
            image = ImageOps.exif_transpose(image)
            if image.mode in ("1", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La"):
                image = image.convert("RGBA")
            if "transparency" in image.info and image.mode in ("L", "RGB"):
                image = image.convert("LA" if image.mode == "L" else "RGBA")
            array = np.asarray(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no picture {os.fspath(path)!r}") from None
    except Image.DecompressionBombError:
        raise _TooLarge(f"{path} has far more than the {MOST_PIXELS:,} pixels that are read") from None
    except UnidentifiedImageError:
        raise ValueError(f"{str(path)!r} is no picture of a known kind") from None
    except _TooLarge:
        raise
    except Exception as error:  # decoders raise whatever a damaged file makes of them
        told = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{str(path)!r} cannot be read as a picture: {told}") from None
    if array.dtype.kind in "if" and array.dtype != np.uint8:  # 32 bits: the file says no white
        array = _stretched(array.astype(np.float64))
    return _grey(_unit(array))


def _stretched(array: np.ndarray) -> np.ndarray:
    """Values from 0 to 1, the least and the most; what is not finite is 1."""
    finite = array[np.isfinite(array)]
    if not finite.size:
        return np.ones_like(array)
    least, most = finite.min(), finite.max()
    return np.where(np.isfinite(array), (array - least) / max(most - least, 1e-9), 1.0)


class _TooLarge(ValueError):
    pass


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MOST_PIXELS:
        raise _TooLarge(f"{name} has {width} x {height} pixels; at most {MOST_PIXELS:,} are read")
    if width * height == 0:
        raise ValueError(f"{name} has no pixels")


def _unit(array: np.ndarray) -> np.ndarray:
    """Pixel values as float32 from 0 to 1."""
    if array.dtype.kind in "bu":
        most = 1 if array.dtype.kind == "b" else np.iinfo(array.dtype).max
        return np.divide(array, most, dtype=np.float32)
    if array.dtype.kind != "f":
        raise ValueError(f"a picture's pixels are uint8, uint16, bool or float, not {array.dtype}")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise ValueError("a picture of floats must lie between 0 (black) and 1 (white)")
    return array.astype(np.float32)


def _grey(array: np.ndarray) -> Grey:
    """Luminance (ITU-R 601, as Pillow has it), on paper where it is transparent."""
    if array.ndim == 2:
        return array
    colours = array.shape[2] - (array.shape[2] in (2, 4))
    grey = array[..., 0] if colours == 1 else array[..., :3] @ _LUMA
    if colours == array.shape[2] or (alpha := array[..., -1]).min() == 1:
        return grey
    if alpha.mean() > 0.5:  # a page whose corners are missing
        paper = np.float32(np.median(grey[alpha > 0.5]))
    else:  # ink alone: of white ink nothing could be seen on white
        paper = np.float32(np.sum(grey * alpha) < 0.5 * np.sum(alpha))
    return grey * alpha + paper * (1 - alpha)


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

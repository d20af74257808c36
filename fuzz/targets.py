"""What has to hold for any bytes: they are read, or refused in one line for people. Nothing else."""

import io
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save as as_safetensors

import nnjax
from nnjax.recognition import open_picture
from nnjax.recognition.page import draw_page

KINDS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")


def read_any_model(path: Path) -> nnjax.Model | None:
    """The model in a file, used as models are, or None where it was refused."""
    try:
        model = nnjax.load_model(path)
    except ValueError as error:
        return _told(error, path)
    a = model(np.zeros(model.sizes[0], np.uint8))
    assert a.shape == (model.sizes[-1],)
    for use in (draw_page, lambda model: nnjax.read_picture(np.eye(12), model)):
        try:
            use(model)
        except ValueError as error:
            _told(error)
    return model


def open_any_picture(path: Path) -> np.ndarray | None:
    """The grey of a file, or None where it was refused."""
    try:
        grey = open_picture(path)
    except ValueError as error:
        return _told(error, path)
    assert grey.ndim == 2
    assert np.isfinite(grey).all()
    assert 0 <= grey.min() <= grey.max() <= 1
    return grey


def _told(error: ValueError, path: Path | None = None) -> None:
    told = str(error)
    assert told.isprintable(), told
    assert len(told) < 1000
    assert "memory" not in told
    assert path is None or str(path) in told


def a_model(path: Path) -> bytes:
    """A model file of a few kilobytes, of a network that reads digits of 3x3 pixels."""
    return _saved(path, 3, nnjax.init(jax.random.key(0), (9, 3, 2)), nnjax.Dense())


def a_convolutional_model(path: Path) -> bytes:
    """The same of 4x4 pixels, with a convolution."""
    net = nnjax.ConvNet((4, 4), kernel_size=3, output=nnjax.sigmoid)
    return _saved(path, 4, net.init(jax.random.key(0), (2,), (2,)), net)


def _saved(path: Path, side: int, params: Any, forward: Any) -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (20, side, side), np.uint8)
    examples = images, np.arange(20) % 2
    nnjax.save_model(path, params, nnjax.Objective(forward), nnjax.Dataset.from_arrays(examples, examples))
    return path.read_bytes()


def a_picture(kind: str) -> bytes:
    """A small picture of a kind that Pillow writes."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def parts(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What a model file says of itself, and its tensors."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["nnjax"]), tensors


def joined(told: str, tensors: dict[str, np.ndarray]) -> bytes:
    """A model file that says `told`, in JSON or not, of its tensors."""
    return as_safetensors(tensors, metadata={"nnjax": told})

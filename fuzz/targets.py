"""What must hold for any bytes: they load, or raise a ValueError with a message of one line."""

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


def load_any_model(path: Path) -> nnjax.Model | None:
    """The model in a file, after some use of it, or None if loading raised a ValueError."""
    try:
        model = nnjax.load_model(path)
    except ValueError as error:
        return _check_message(error, path)
    a = model(np.zeros(model.sizes[0], np.uint8))
    assert a.shape == (model.sizes[-1],)
    for use in (draw_page, lambda model: nnjax.read_picture(np.eye(12), model)):
        try:
            use(model)
        except ValueError as error:
            _check_message(error)
    return model


def open_any_picture(path: Path) -> np.ndarray | None:
    """The gray values of a picture, or None if opening raised a ValueError."""
    try:
        gray = open_picture(path)
    except ValueError as error:
        return _check_message(error, path)
    assert gray.ndim == 2
    assert np.isfinite(gray).all()
    assert 0 <= gray.min() <= gray.max() <= 1
    return gray


def _check_message(error: ValueError, path: Path | None = None) -> None:
    message = str(error)
    assert message.isprintable(), message
    assert len(message) < 1000
    assert "memory" not in message
    assert path is None or str(path) in message


def small_model(path: Path) -> bytes:
    """A model file of a few kilobytes, of a network for images of 3x3 pixels."""
    return _save(path, 3, nnjax.init(jax.random.key(0), (9, 3, 2)), nnjax.Dense())


def small_convolutional_model(path: Path) -> bytes:
    """A model file of a few kilobytes, of a convolutional network for images of 4x4 pixels."""
    net = nnjax.ConvNet((4, 4), kernel_size=3, output=nnjax.sigmoid)
    return _save(path, 4, net.init(jax.random.key(0), (2,), (2,)), net)


def _save(path: Path, side: int, params: Any, forward: Any) -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (20, side, side), np.uint8)
    examples = images, np.arange(20) % 2
    data, objective = nnjax.Dataset.from_arrays(examples, examples), nnjax.Objective(forward)
    nnjax.save_model(path, params, objective, data, calibration=nnjax.calibrate(params, objective, data))
    return path.read_bytes()


def small_picture(kind: str) -> bytes:
    """A small picture in a format that Pillow writes."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def split_model(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The metadata and the tensors of a model file."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["nnjax"]), tensors


def join_model(metadata: str, tensors: dict[str, np.ndarray]) -> bytes:
    """A model file with this metadata, JSON or not, and these tensors."""
    return as_safetensors(tensors, metadata={"nnjax": metadata})

"""Checks that a file with any content is opened, or rejected with a printable message of one line."""

import io
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save as save_safetensors

import nnjax
from nnjax.recognition import open_picture
from nnjax.recognition.page import draw_page

PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
MAX_MESSAGE_CHARS = 1000


def check_model(path: Path) -> nnjax.Model | None:
    """Loads a model file and uses the model in all ways; None if the file was rejected."""
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


def check_picture(path: Path) -> np.ndarray | None:
    """The gray values of a file; None if the file was rejected."""
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
    assert len(message) < MAX_MESSAGE_CHARS
    assert "memory" not in message
    assert path is None or str(path) in message


def dense_model_content(path: Path) -> bytes:
    """The content of a small model file, of a network for 3x3 images, which is also saved to `path`."""
    return _save(path, 3, nnjax.init(jax.random.key(0), (9, 3, 2)), nnjax.Dense())


def conv_model_content(path: Path) -> bytes:
    """The content of a model file with a convolution, for 4x4 images, which is also saved to `path`."""
    net = nnjax.ConvNet((4, 4), kernel_size=3, output=nnjax.sigmoid)
    return _save(path, 4, net.init(jax.random.key(0), (2,), (2,)), net)


def _save(path: Path, side: int, params: Any, forward: Any) -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (20, side, side), np.uint8)
    data, objective = nnjax.Dataset.from_arrays((images, np.arange(20) % 2)), nnjax.Objective(forward)
    calibration = nnjax.calibrate(params, objective, data)
    nnjax.save_model(path, params, objective, data, calibration=calibration)
    return path.read_bytes()


def picture_content(kind: str) -> bytes:
    """The content of a small picture file in a format that Pillow writes."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def split_model_file(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata and the tensors of a model file."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["nnjax"]), tensors


def join_model_parts(metadata: str, tensors: dict[str, np.ndarray]) -> bytes:
    """The content of a model file with this metadata, valid JSON or not, and these tensors."""
    return save_safetensors(tensors, metadata={"nnjax": metadata})

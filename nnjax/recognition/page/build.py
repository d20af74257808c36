"""`draw_page`: a model and the scripts that run it, as one HTML file that makes no network requests."""

import base64
import hashlib
import json
from pathlib import Path
from string import Template
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnjax.nn.conv import split_layers
from nnjax.nn.dense import ACTIVATIONS, Layer
from nnjax.nn.objective import sigmoid_cross_entropy, softmax_cross_entropy
from nnjax.nn.output_codes import OneHot
from nnjax.recognition import (
    calibration,
    candidates,
    components,
    digit_detector,
    digit_layout,
    reading,
    rejection,
    search,
    segmentation,
    text_lines,
)
from nnjax.runtime.checks import registered_name
from nnjax.storage import Model
from nnjax.storage.model_file import CONVOLUTION_FIELDS, DigitLayout

_HERE = Path(__file__).parent
_SCRIPTS = (
    "data.js",
    "components.js",
    "segmentation.js",
    "digit_layout.js",
    "network.js",
    "calibration.js",
    "reading.js",
    "draw.js",
)
# The scripts read these as `constants.NAME`.
_CONSTANTS = {
    components: ("MIN_INK", "MIN_COMPONENT_PX"),
    text_lines: (
        "MIN_TALL_HEIGHT",
        "MIN_FRAGMENT_SIZE",
        "MAX_FRAGMENT_DISTANCE",
        "MAX_STACK_GAP",
        "MIN_OVERLAP",
    ),
    segmentation: (
        "PAIR_COST",
        "STEP_COST",
        "JUMP_COST",
        "SEAM_ROW_SPACING",
        "MAX_SEAM_ROWS",
        "SEAM_WINDOW",
        "MIN_SEAM_DISTANCE",
        "MAX_SEAM_PAIRS",
        "MAX_DIGIT_WIDTH",
        "MAX_SEAMS_PER_DIGIT",
        "CUT_LENGTH_PENALTY",
        "GAP_PENALTY",
        "WIDTH_PENALTY",
        "MAX_FREE_WIDTH",
        "HEIGHT_PENALTY",
        "MIN_FREE_HEIGHT",
    ),
    candidates: ("MARGIN",),
    reading: ("MIN_CONFIDENCE",),
    digit_detector: ("NO_DIGIT",),
    rejection: (
        "EPSILON",
        "ITERATIONS",
        "MAX_NO_DIGIT_PROBABILITY",
        "MIN_CLASSIFIED",
        "MIN_DIGIT_PROBABILITY",
        "PRIOR_COUNT",
        "TEMPERATURE",
    ),
    search: ("PROBABILITY_OFFSET",),
    calibration: ("MIN_ACTIVATION", "SHIFT_FRACTION"),
    digit_layout: ("THIN_GROWTH", "THINNEST_GROWTH"),
}


def draw_page(model: Model) -> str:
    """The HTML of a page that recognizes digits with a model as they are drawn.

    The page contains its script and style. Its Content-Security-Policy allows only these, by their hashes,
    and no network access. The model is embedded as JSON.

    Args:
      model: as for `nnjax.read_picture`.

    Raises:
      ValueError: a model that is not calibrated, or does not classify gray images of digits.
    """
    style = (_HERE / "page.css").read_text("utf-8")
    script = "".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"  # default-src does not cover these two
    )
    constants = {name: getattr(module, name) for module, names in _CONSTANTS.items() for name in names}
    # Data with a "<" could end its script element.
    contents = {
        "constants": constants, "model": _model_data(model), "digitDetector": _detector_data()
    }  # fmt: skip
    data = json.dumps(contents).replace("<", r"\u003c")
    page = Template((_HERE / "page.html").read_text("utf-8"))
    return page.substitute(policy=policy, style=style, script=script, data=data)


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _model_data(model: Model) -> dict[str, Any]:
    """The model as JSON values for the scripts."""
    shape, layout, num_classes = reading.digit_format(model)
    objective, n_out = model.objective, model.sizes[-1]
    cost, code = objective.cost, objective.label_code
    codes = jax.vmap(code.encode, (0, None))(jnp.arange(num_classes), n_out)
    is_one_hot, is_softmax = isinstance(code, OneHot), cost is softmax_cross_entropy
    output_names = range(n_out) if is_one_hot else [f"bit {2**i}" for i in reversed(range(n_out))]
    return {
        "description": f"A network with layers {list(model.sizes)}, trained on {model.dataset}, recognizes "
        "the digits that you draw.",
        "numClasses": num_classes,
        "temperature": model.temperature,
        "isSoftmax": is_softmax,
        "hasNoDigit": is_one_hot and not is_softmax,
        "codes": np.asarray(codes, int).tolist(),
        "outputNames": [str(name) for name in output_names],
        **_network_data(model, shape, layout),
    }


def _detector_data() -> dict[str, Any]:
    """The network that distinguishes digits from other images."""
    return _network_data(digit_detector.load_detector(), digit_layout.MNIST_SHAPE, digit_layout.MNIST_LAYOUT)


def _network_data(model: Model, shape: tuple[int, int], layout: DigitLayout) -> dict[str, Any]:
    """The layers of a network, and the images that it classifies."""
    forward = model.objective.forward
    output_of_cost: dict[Any, str] = {softmax_cross_entropy: "softmax", sigmoid_cross_entropy: "sigmoid"}
    output = output_of_cost.get(model.objective.cost)
    output = output or registered_name("activation", forward.output, ACTIVATIONS)
    hidden = registered_name("activation", forward.activation, ACTIVATIONS)
    convolutions, dense = split_layers(model.params)
    return {
        "imageShape": shape,
        "layout": layout._asdict(),
        "convolutionSettings": {name: getattr(forward, name, None) for name in CONVOLUTION_FIELDS},
        "convolutions": [_layer_data(layer._replace(w=layer.w.T), hidden) for layer in convolutions],
        "layers": [*(_layer_data(layer, hidden) for layer in dense[:-1]), _layer_data(dense[-1], output)],
    }


def _layer_data(layer: Layer, activation: str) -> dict[str, str]:
    return {"w": _base64(layer.w), "b": _base64(layer.b), "activation": activation}


def _base64(array: Any) -> str:
    """The array as little-endian float32 in base64."""
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()

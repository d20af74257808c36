"""`draw_page`: a model and what reads with it, as one HTML file that asks nothing of any server."""

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
from nnjax.recognition import _seams, calibration, components, reading, segmentation
from nnjax.runtime.checks import registered_name
from nnjax.storage import Model

_HERE = Path(__file__).parent
_CONSTANTS = {
    components: ("INKED", "LEAST", "TALL", "LARGE", "NEARBY", "STACKED", "SHARED"),
    _seams: ("PAIR", "STEP", "LEAP", "ROWS", "MOST_ROWS", "NEAR", "ASUNDER", "DEAREST"),
    segmentation: (
        "CUT",
        "THROUGH",
        "APART",
        "WIDE",
        "WIDEST",
        "LOW",
        "LOWEST",
        "ODD",
        "USUAL",
        "MOST_WIDE",
        "NEXT",
    ),
    reading: ("DOUBTED", "NO_DIGIT", "STRANGE", "LEAST_P"),
    calibration: ("LEAST_A", "MOVED"),
}


def draw_page(model: Model) -> str:
    """The page for a model that reads images of digits.

    Scripts and styles are inside and named by their hashes in a Content-Security-Policy that
    allows nothing else: no network, no other code. The model's numbers are data, in JSON.

    Raises:
      ValueError: a model that reads no images of digits.
    """
    style = (_HERE / "page.css").read_text("utf-8")
    script = "".join(
        (_HERE / name).read_text("utf-8")
        for name in ("data.js", "seams.js", "convolution.js", "reading.js", "draw.js")
    )
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"  # which default-src does not speak of
    )
    constants = {name: getattr(module, name) for module, names in _CONSTANTS.items() for name in names}
    # As it stands in a script element, data must not end it: no "<".
    data = json.dumps({"C": constants, "model": _told(model)}).replace("<", r"\u003c")
    page = Template((_HERE / "page.html").read_text("utf-8"))
    return page.substitute(policy=policy, style=style, script=script, data=data)


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _told(model: Model) -> dict[str, Any]:
    """What the page has to know of a model, as JSON holds it: arrays as float32 in base64."""
    shape, form = reading.input_shape(model)
    forward, cost = model.objective.forward, model.objective.cost
    code, n_out = model.code, model.sizes[-1]
    last: dict[Any, str] = {softmax_cross_entropy: "softmax", sigmoid_cross_entropy: "sigmoid"}
    output = last.get(cost) or registered_name("activation", forward.output, ACTIVATIONS)
    convolutions, dense = split_layers(model.params)
    hidden = registered_name("activation", forward.activation, ACTIVATIONS)
    written = jax.vmap(code.encode, (0, None))(jnp.arange(model.num_classes), n_out)
    names = range(n_out) if isinstance(code, OneHot) else [f"bit {2**i}" for i in reversed(range(n_out))]
    return {
        "about": f"A network {list(model.sizes)} that learnt from {model.dataset} reads what you draw.",
        "shape": shape,
        "form": form._asdict(),
        "classes": model.num_classes,
        "temperature": model.temperature,
        "exclusive": cost is softmax_cross_entropy,
        "silence": cost is not softmax_cross_entropy and isinstance(code, OneHot),
        "code": np.asarray(written, int).tolist(),
        "names": [str(name) for name in names],
        "side": forward.kernel_size if convolutions else 0,
        "convolutions": [_layer(layer, hidden) for layer in convolutions],
        "layers": [*(_layer(layer, hidden) for layer in dense[:-1]), _layer(dense[-1], output)],
        "likeness": model.outlier_model and {
            "means": _packed(model.outlier_model.means),
            "directions": _packed(model.outlier_model.directions),
            **{part: float(getattr(model.outlier_model, part)) for part in ("rest", "middle", "spread")},
        },
    }  # fmt: skip


def _layer(layer: Layer, activation: str) -> dict[str, str]:
    return {"w": _packed(layer.w), "b": _packed(layer.b), "activation": activation}


def _packed(array: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()

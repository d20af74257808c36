"""`nnjax export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from nnjax.cli._flags import OptionalFile
from nnjax.cli.console import console
from nnjax.runtime.extras import check_extra
from nnjax.runtime.files import check_writable
from nnjax.storage import load_model


@dataclass
class Export:
    """Export a model as a StableHLO program that JAX runs without nnjax."""

    model: Positional[Annotated[Path, arg(metavar="MODEL")]]
    """Model file, as `nnjax train` saves it."""
    format: Literal["stablehlo"] = "stablehlo"
    """Format of the file: stablehlo, a serialized jax.export.Exported that jax.export.deserialize loads."""
    out: OptionalFile = None
    """File to write (default: the path of the model with the suffix .stablehlo)."""

    def run(self) -> int:
        check_extra("export", "nnjax export", "flatbuffers")
        from nnjax.storage.export import write_stablehlo  # not above: other commands do not need jax.export

        model = load_model(self.model)
        path = self.out or self.model.with_suffix(f".{self.format}")
        check_writable(path)
        write_stablehlo(path, model)
        shape = ", ".join(map(str, ("n", *model.input_shape)))
        console.print(f"program in {path}: uint8 inputs ({shape}) -> activations (n, {model.sizes[-1]})")
        return 0

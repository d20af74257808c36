"""`nnjax draw`."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import platformdirs
from tyro.conf import FlagCreatePairsOff, Positional, arg

from nnjax.cli._flags import OptionalFile
from nnjax.cli.console import console
from nnjax.cli.predict import load_or_best_model
from nnjax.runtime.files import check_writable, make_dir, write_atomically


@dataclass
class Draw:
    """Write an HTML page that recognizes the digits that you draw on it, and open it in the browser."""

    model: Positional[
        Annotated[
            Path | None, arg(metavar="[MODEL]", help_behavior_hint="(default: the best in the model folder)")
        ]
    ] = None
    """Model file, as `nnjax train` saves it."""
    output: OptionalFile = None
    """HTML file to write (default: one in the cache folder)."""
    open: Annotated[bool, FlagCreatePairsOff, arg(help_behavior_hint="")] = True
    """Do not open the page in the browser."""

    def run(self) -> int:
        from nnjax.recognition.page import draw_page

        if self.output:
            check_writable(self.output)
        path = self.output or make_dir(platformdirs.user_cache_path("nnjax")) / "draw.html"
        write_atomically(path, draw_page(load_or_best_model(self.model)).encode())
        console.print(f"page in {path}", markup=False)
        if self.open and not webbrowser.open(path.resolve().as_uri()):
            console.print("cannot open a browser: open this file in one yourself", markup=False)
        return 0

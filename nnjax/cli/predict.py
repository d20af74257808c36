"""`nnjax predict` and `nnjax draw`."""

import sys
import webbrowser
from dataclasses import dataclass
from json import dumps
from pathlib import Path

import platformdirs
from rich.console import Console
from tyro.conf import Positional

from nnjax.cli.console import console
from nnjax.runtime.files import check_writable, make_dir, write_atomically
from nnjax.storage import Model, load_model
from nnjax.storage._model_reader import is_model_file
from nnjax.storage.model_store import best_model, model_dir

NOTHING_READ = 3


def model_of(path: Path | None) -> Model:
    """The model in a file, else the best one in the user's folder; a ValueError where there is none."""
    if path:
        return load_model(path)
    if found := best_model(model_dir()):
        Console(stderr=True).print(f"model: {found[0]}", markup=False, soft_wrap=True, style="dim")
        return found[1]
    raise ValueError(
        f"there is no model of digits in {model_dir()}: name a model file, or train one, in less than "
        "a minute, by: nnjax train --hidden 100 --initial-weights scaled --learning-rate 1"
    )


@dataclass
class Predict:
    """Read the digits in pictures: one or many, in lines. Exit code 3 where nothing looks like one."""

    files: Positional[tuple[Path, ...]]
    """Pictures, and a model file, as `nnjax train` writes it. Without one: the best in your model folder."""
    json: bool = False
    """Print text, confidences, boxes and crops of every picture that could be read as JSON."""
    explain: Path | None = None
    """Write the picture with boxes, digits and confidences drawn on it to this file."""

    def run(self) -> int:
        from nnjax.recognition import open_picture, read_picture
        from nnjax.recognition.annotate import write_annotated

        models = [file for file in self.files if file.suffix == ".safetensors" or is_model_file(file)]
        pictures = [file for file in self.files if file not in models]
        if len(models) > 1:
            raise ValueError(f"one model reads, but {len(models)} are named: {', '.join(map(str, models))}")
        if not pictures:
            raise ValueError("name a picture to read: nnjax predict [MODEL] PICTURE...")
        if self.explain:
            check_writable(self.explain)
            if self.explain.exists() and any(p.exists() and self.explain.samefile(p) for p in self.files):
                raise ValueError(f"--explain would replace {self.explain}, which is to be read")
            if len(pictures) > 1:
                raise ValueError(f"--explain writes one picture, but {len(pictures)} are to be read")
        model = model_of(next(iter(models), None))
        told, codes = [], [0]
        for path in pictures:
            try:
                grey = open_picture(path)
            except (ValueError, OSError) as error:  # one bad picture does not keep others from being read
                print(f"nnjax: error: {error}", file=sys.stderr)
                codes.append(2)
                continue
            reading = read_picture(grey, model)
            codes.append(0 if reading.text else NOTHING_READ)
            told.append(
                {"picture": str(path), "text": reading.text, "lines": str(reading).splitlines()}
                | {"confidence": reading.confidence.tolist(), "doubted": reading.uncertain.tolist()}
                | {"boxes": reading.boxes.tolist(), "crops": reading.crops.tolist()}
            )
            if not self.json:
                name = f"{path}: " if len(pictures) > 1 else ""
                for line in told[-1]["lines"]:
                    print(name + line)
                if not reading.text:
                    print(f"{path}: nothing in it looks like a digit", file=sys.stderr)
            if self.explain:
                write_annotated(self.explain, path, grey, reading)
        if self.json:
            print(dumps(told, indent=1))
        return next(code for code in (2, NOTHING_READ, 0) if code in codes)


@dataclass
class Draw:
    """Write a page on which you draw digits and watch a network read them, and open it in the browser."""

    model: Positional[Path | None] = None
    """A model file, as `nnjax train` writes it; by default the best in your model folder."""
    output: Path | None = None
    """The file to write; by default one in your cache folder."""
    open: bool = True
    """Whether to open it in the browser."""

    def run(self) -> int:
        from nnjax.recognition.page import draw_page

        if self.output:
            check_writable(self.output)
        path = self.output or make_dir(platformdirs.user_cache_path("nnjax")) / "draw.html"
        write_atomically(path, draw_page(model_of(self.model)).encode())
        console.print(f"page in {path}", markup=False)
        if self.open and not webbrowser.open(path.resolve().as_uri()):
            console.print("no browser could be opened: open that file in one", markup=False)
        return 0

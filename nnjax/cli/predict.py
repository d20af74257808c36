"""`nnjax predict`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from nnjax.cli._flags import OptionalFile
from nnjax.cli._runtime_flags import Switch
from nnjax.cli.console import errors, print_json
from nnjax.runtime.files import check_writable
from nnjax.storage import Model, best_model, load_model, model_dir
from nnjax.storage._model_reader import is_model_file

BAD_PICTURE = 2
NO_DIGIT = 3


@dataclass
class Predict:
    """Recognize the digits in pictures, line by line. The exit code is 3 if a picture contains no digit."""

    files: Positional[Annotated[tuple[Path, ...], arg(metavar="FILE ...", help_behavior_hint="")]]
    """Pictures, and at most one model file (default: the best in the model folder)."""
    json: Switch = False
    """Print text, confidences, boxes and crops of every readable picture as JSON on standard output."""
    annotate: OptionalFile = None
    """Write a picture of the steps to this file: ink, lines of writing, digits with their confidences."""

    def run(self) -> int:
        from nnjax.recognition import open_picture
        from nnjax.recognition.annotate import write_annotated
        from nnjax.recognition.reading import recognize, to_reading

        model_file, pictures = self._checked_files()
        model = cache(lambda: load_or_best_model(model_file))  # loaded for the first readable picture
        results, codes = [], [0]
        for path in pictures:
            try:
                gray = open_picture(path)
            except (ValueError, OSError) as error:  # the other pictures are still read
                print(f"nnjax: error: {error}", file=sys.stderr)
                codes.append(BAD_PICTURE)
                continue
            recognition = recognize(gray, model())
            reading = to_reading(recognition)
            codes.append(0 if reading.text else NO_DIGIT)
            results.append(_to_json(path, reading))
            if not self.json:
                for line in _lines(path, reading, len(pictures)):
                    print(line)
            if not reading.text:
                print(f"{path}: contains no digit", file=sys.stderr)
            if self.annotate:
                write_annotated(self.annotate, path, gray, recognition)
        if self.json:
            print_json(results)
        return next(code for code in (BAD_PICTURE, NO_DIGIT, 0) if code in codes)

    def _checked_files(self) -> tuple[Path | None, Sequence[Path]]:
        """The model file, or None, and the pictures; raises ValueError if a flag is wrong."""
        models = [file for file in self.files if file.suffix == ".safetensors" or is_model_file(file)]
        pictures = [file for file in self.files if file not in models]
        if len(models) > 1:
            raise ValueError(f"files must include at most one model file, got {', '.join(map(str, models))}")
        if not pictures:
            raise ValueError(
                "files must include at least one picture, got none: nnjax predict [MODEL] PICTURE ..."
            )
        if self.annotate:
            check_writable(self.annotate)
            if self.annotate.exists() and any(p.exists() and self.annotate.samefile(p) for p in self.files):
                raise ValueError(f"--annotate must name a new file, got {self.annotate}, which is an input")
            if len(pictures) > 1:
                raise ValueError(f"--annotate must be used with one picture, got {len(pictures)}")
        return next(iter(models), None), pictures


def load_or_best_model(path: Path | None) -> Model:
    """The model in a file, by default the best one in the model folder.

    Raises:
      ValueError: there is none, or it is damaged.
    """
    if path:
        return load_model(path)
    if best := best_model(model_dir()):
        errors.print(f"model: {best[0]}", style="dim")
        return best[1]
    raise ValueError(
        f"there is no model of digits in {model_dir()}: pass a model file, or train one in less than a "
        "minute with: nnjax train --hidden 100 --initial-weights lecun --learning-rate 1"
    )


def _lines(path: Path, reading: Any, num_pictures: int) -> Iterator[str]:
    name = f"{path}: " if num_pictures > 1 else ""
    return (name + line for line in str(reading).splitlines())


def _to_json(path: Path, reading: Any) -> dict[str, Any]:
    return {
        "picture": str(path),
        "text": reading.text,
        "lines": str(reading).splitlines(),
        "confidence": reading.confidence,
        "uncertain": reading.uncertain,
        "boxes": reading.boxes,
        "crops": reading.crops,
    }

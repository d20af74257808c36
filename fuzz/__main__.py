"""Coverage-guided fuzzing with Atheris: `python -m fuzz models -max_total_time=60`.

Options after the target are those of libFuzzer. Memory and time are limited for each file. The corpus and the
files that crash are in the folder .fuzz; add a file that crashes to tests/test_fuzz.py.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["nnjax.storage", "nnjax.recognition", "nnjax.nn.dense", "PIL"]):
    from fuzz import targets

FOLDER = Path(".fuzz")
LIMITS = ["-rss_limit_mb=3000", "-timeout=20", "-max_len=20000", f"-artifact_prefix={FOLDER}/"]


def main(target: str, *options: str) -> None:
    """Fuzzes one target, from a corpus that begins with valid files.

    Args:
      target: models or pictures.
      *options: options of libFuzzer.
    """
    corpus = FOLDER / target
    corpus.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp()) / "file"
    if target == "models":
        seeds, check = _models(path)
    else:
        seeds = {kind: targets.picture_content(kind) for kind in targets.PICTURE_FORMATS}
        check = targets.check_picture
    for name, content in seeds.items():
        (corpus / name).write_bytes(content)

    def check_content(content: bytes) -> None:
        path.write_bytes(content)
        check(path)

    warnings.simplefilter("ignore")  # Pillow warns about every damaged tag
    atheris.Setup([sys.argv[0], *LIMITS, *options, str(corpus)], check_content)
    atheris.Fuzz()


def _models(path: Path) -> tuple[dict[str, bytes], Callable[[Path], Any]]:
    """The valid files to begin with, and the check of a file.

    A file is a complete model file, or its metadata, which begins with `{`; valid tensors are then added.
    """
    convolutional = targets.conv_model_content(path)
    conv_metadata, _ = targets.split_model_file(path)
    dense = targets.dense_model_content(path)
    dense_metadata, tensors = targets.split_model_file(path)

    def check(path: Path) -> None:
        content = path.read_bytes()
        if content.startswith(b"{"):
            path.write_bytes(targets.join_model_parts(content.decode(errors="replace"), tensors))
        targets.check_model(path)

    seeds = {"dense": dense, "convolutional": convolutional}
    metadata = {"dense-metadata": dense_metadata, "convolutional-metadata": conv_metadata}
    return seeds | {name: json.dumps(value).encode() for name, value in metadata.items()}, check


if __name__ == "__main__":
    main(*sys.argv[1:])

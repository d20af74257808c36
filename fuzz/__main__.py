"""Fuzzing with Atheris, guided by what of the readers has run: `python -m fuzz models -max_total_time=60`.

Memory and time are bounded for every file. What was found is in .fuzz: a file that ends a run there becomes
a test in tests/test_fuzz.py.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["nnjax.storage", "nnjax.recognition", "nnjax.nn.dense", "PIL"]):
    from fuzz import targets

HERE = Path(".fuzz")
BOUNDS = ["-rss_limit_mb=3000", "-timeout=20", "-max_len=20000", f"-artifact_prefix={HERE}/"]


def main(target: str, *options: str) -> None:
    """Seed a corpus with real files, and fuzz until the options say so."""
    corpus = HERE / target
    corpus.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp()) / "file"
    if target == "models":
        seeds, use = _models(path)
    else:
        seeds, use = {kind: targets.a_picture(kind) for kind in targets.KINDS}, targets.open_any_picture
    for name, content in seeds.items():
        (corpus / name).write_bytes(content)

    def one(content: bytes) -> None:
        path.write_bytes(content)
        use(path)

    warnings.simplefilter("ignore")  # Pillow tells of every damaged tag
    atheris.Setup([sys.argv[0], *BOUNDS, *options, str(corpus)], one)
    atheris.Fuzz()


def _models(path: Path):
    """Whole model files, and what they say of themselves alone: bytes that begin with `{`."""
    convolutional = targets.a_convolutional_model(path)
    convolutions, _ = targets.parts(path)
    whole = targets.a_model(path)
    told, tensors = targets.parts(path)

    def use(path: Path) -> None:
        content = path.read_bytes()
        if content.startswith(b"{"):
            path.write_bytes(targets.joined(content.decode(errors="replace"), tensors))
        targets.read_any_model(path)

    seeds = {"whole": whole, "convolutional": convolutional}
    return seeds | {f"told-{i}": json.dumps(t).encode() for i, t in enumerate((told, convolutions))}, use


if __name__ == "__main__":
    main(*sys.argv[1:])

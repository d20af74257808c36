"""Coverage-guided fuzzing with Atheris: `python -m fuzz models -max_total_time=60`.

Memory and time are limited for every file. A file that ends a run is written to .fuzz; it becomes a test in
tests/test_fuzz.py.
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
    """Fills a corpus with valid files, and fuzzes until the options end it."""
    corpus = HERE / target
    corpus.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp()) / "file"
    if target == "models":
        seeds, use = _models(path)
    else:
        seeds = {kind: targets.small_picture(kind) for kind in targets.KINDS}
        use = targets.open_any_picture
    for name, content in seeds.items():
        (corpus / name).write_bytes(content)

    def fuzz_one(content: bytes) -> None:
        path.write_bytes(content)
        use(path)

    warnings.simplefilter("ignore")  # Pillow warns of every damaged tag
    atheris.Setup([sys.argv[0], *BOUNDS, *options, str(corpus)], fuzz_one)
    atheris.Fuzz()


def _models(path: Path):
    """Complete model files, and their metadata alone, which begins with `{`."""
    convolutional = targets.small_convolutional_model(path)
    convolutional_metadata, _ = targets.split_model(path)
    dense = targets.small_model(path)
    dense_metadata, tensors = targets.split_model(path)

    def use(path: Path) -> None:
        content = path.read_bytes()
        if content.startswith(b"{"):
            path.write_bytes(targets.join_model(content.decode(errors="replace"), tensors))
        targets.load_any_model(path)

    metadata = {"dense metadata": dense_metadata, "convolutional metadata": convolutional_metadata}
    seeds = {"dense": dense, "convolutional": convolutional}
    return seeds | {name: json.dumps(content).encode() for name, content in metadata.items()}, use


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Photos and scans that were made outside this project. Their folder is named by NNJAX_PICTURES."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

import nnjax
from experiments.several_digits import edit_distance, train

PICTURES = "NNJAX_PICTURES"


@pytest.fixture(scope="module")
def pictures():
    """The names of the pictures and their digits."""
    if not os.environ.get(PICTURES):
        pytest.skip(f"needs real pictures: set {PICTURES} to a folder with labels.tsv")
    folder = Path(os.environ[PICTURES])
    rows = (line.split("\t") for line in (folder / "labels.tsv").read_text().splitlines())
    return {folder / name: digits.replace("/", "\n") for name, digits in rows}


@pytest.mark.slow
def test_95_percent_of_the_digits_in_real_pictures_are_recognized(pictures, mnist):
    model = train(mnist, replace(nnjax.configs["best-cpu"], epochs=3))
    texts = {path: nnjax.read_picture(path, model).text.replace(" ", "") for path in pictures}
    errors = {path.name: edit_distance(texts[path], digits) for path, digits in pictures.items()}
    total = sum(len(digits.replace("\n", "")) for digits in pictures.values())
    assert sum(errors.values()) <= 0.05 * total, errors

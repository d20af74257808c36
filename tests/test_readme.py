"""The README keeps its word: its code runs, and its tables are those of the committed records."""

import re
import warnings
from pathlib import Path

import pytest

from experiments import readme
from nnjax.data import sources

TEXT = readme.README.read_text()


def test_the_examples_run_in_order(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "_answers", lambda name: False)
    blocks = re.findall(r"(?s)```python\n(.*?)```", TEXT)
    assert len(blocks[0].splitlines()) <= 15
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for block in blocks:
            exec(block, names)
    right, of = re.match(r"(\d+) of (\d+) test images", capsys.readouterr().out).groups()
    assert int(right) > 0.9 * int(of)
    assert names["run"].history.test_correct[-1] > 0.9 * int(of)


def test_tables_are_those_of_the_records():
    assert readme.written(TEXT) == TEXT
    with pytest.raises(ValueError, match="0 places"):
        readme.written(TEXT.replace("<!-- speed -->", ""))


def test_what_it_links_to_is_there():
    for link in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (Path(readme.ROOT) / link).exists(), link

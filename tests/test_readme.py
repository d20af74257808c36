"""The README keeps its word: its code runs, and its tables are those of the committed records."""

import re

import pytest

from documents import links, run_python
from experiments import tables
from nnjax.data import _sources

TEXT = tables.README.read_text()


def test_the_examples_run_in_order(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_sources, "is_reachable", lambda url: False)
    blocks, names = run_python(TEXT)
    code, printed = blocks[0]
    assert len(code.splitlines()) <= 15
    right, of = re.match(r"(\d+) of (\d+) test images", printed).groups()
    assert int(right) > 0.9 * int(of)
    assert names["run"].history.test_correct[-1] > 0.9 * int(of)


def test_tables_are_those_of_the_records():
    assert tables.written(TEXT, tables.DOCUMENTS[tables.README]) == TEXT
    with pytest.raises(ValueError, match="0 places"):
        tables.written(TEXT.replace("<!-- speed -->", ""), tables.DOCUMENTS[tables.README])


def test_what_it_links_to_is_there():
    for link in links(tables.README):
        assert link.exists(), link

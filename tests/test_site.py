"""The documentation site: it is built without warnings, every cell runs, and its links lead to pages."""

import functools
import importlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from documents import ROOT

pytestmark = pytest.mark.slow


class _Links(HTMLParser):
    """The targets of the links of a page, and its anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.add(attributes.get("id"))
        for name in ("href", "src"):
            if name in attributes:
                self.targets.append(attributes[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "docs", str(folder)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def test_internal_links_lead_to_pages_and_anchors(site):
    pages = {path: _Links(path.read_text()) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert len(pages) > 30
    broken = []
    for path, page in pages.items():
        for target in page.targets:
            file, anchor = urldefrag(unquote(target))
            if re.match(r"[a-z]+:|//", target) or "?" in file or target == "#":
                continue
            other = (path.parent / file).resolve() if file else path
            if not other.exists() or (
                anchor and other.suffix == ".html" and anchor not in pages[other].anchors
            ):
                broken.append((path.name, target))
    assert broken == []


def test_cells_show_their_output(site):
    quickstart = (site / "notebooks" / "quickstart.html").read_text()
    assert quickstart.count('class="cell_output') >= 5
    assert "image/png" in quickstart or ".png" in quickstart
    assert "Grid({" in (site / "sweeps.html").read_text()


def test_the_reference_documents_every_public_name(site):
    import nnjax

    text = "".join(path.read_text() for path in (site / "api").glob("*.html"))
    documented = {anchor.rpartition(".")[2] for anchor in re.findall(r'id="(nnjax\.[\w.]+)"', text)}
    assert set(nnjax.__all__) - documented == {"watch"}  # a module, with a page of its own


def test_links_to_other_projects_have_public_names(site):
    text = "".join(path.read_text() for path in (site / "api").glob("*.html"))
    names = set(re.findall(r'href="https://(?:docs.jax.dev|optax.readthedocs.io)[^"]*[#=]([^"]+)"', text))
    assert {"jax.Array", "jax.random.key", "optax.GradientTransformation"} <= names
    for name in names:
        functools.reduce(getattr, name.split(".")[1:], importlib.import_module(name.partition(".")[0]))


def test_notebooks_link_to_pages_and_to_a_notebook_file(site):
    page = site / "notebooks" / "is_my_optimizer_better.html"
    targets = _Links(page.read_text()).targets
    assert {"../comparing.html", "../leaderboard.html"} <= set(targets)
    (notebook,) = (target for target in targets if target.endswith("is_my_optimizer_better.ipynb"))
    assert json.loads((page.parent / notebook).read_text())["cells"]


def test_the_pages_are_those_of_the_documents(site):
    documents = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert documents == {path.stem for path in Path(site).glob("*.html")} - {
        "genindex",
        "search",
        "py-modindex",
    }

"""The report page: its content, and that it is self-contained."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from experiments import report
from experiments.__main__ import main
from experiments.experiment import Flags
from nnjax.compare.claims import Claim, Figure, Section, claims_table, html_page, markdown_table
from toys import install, toy

VOID = {"meta", "img", "input", "link"}
EVIL = "\"><script>alert(1)</script><b x='&"


class Parsed(HTMLParser):
    """A page's tags, attributes and words; raises AssertionError if its tags do not match."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self._open = [], [], [], []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.replace("\u00a0", " "))

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


def example(**change):
    fields = {
        "title": "First network",
        "question": "Does it learn?",
        "text": "One `fit`.\n\n    w = 1\n    b = 2",
        "command": "python -m experiments first_network",
        "claims": [Claim("It learns", "95 %", "94.6 % (n = 3)", True), Claim("It flies", "", "no", False)],
        "figure": Figure(b"<svg/>", "svg+xml", "A curve"),
        "note": "mnist",
    }
    return Section(**(fields | change))


def test_every_claim_is_in_the_summary_and_in_its_section():
    parsed = Parsed(
        html_page("Report", "Hello", [example(), example(title="Other", claims=[Claim("Third", "", "3")])])
    )
    for words in ("It learns", "95 %", "94.6 % (n = 3)", "It flies", "Third"):
        assert parsed.words.count(words) == 2
    assert parsed.words.count("✓ yes") == parsed.words.count("✗ no") == 2
    assert (
        "The book makes 3 claims: 1 are supported, 1 are not, 1 are not judged. 0 claims are ours."
        in parsed.words
    )


def test_claims_of_this_project_are_marked_and_counted_separately():
    ours = Claim("It sings", "", "la", True, from_book=False)
    html = html_page("Report", "", [example(claims=[Claim("It learns", "", "yes", False), ours])])
    assert "The book makes 1 claims: 0 are supported, 1 are not, 0 are not judged. 1 claims are ours." in html
    assert html.count("<em>ours:</em> It sings") == 2


def test_links_lead_to_sections():
    parsed = Parsed(html_page("Report", "", [example(), example(title="η, by size (2)")]))
    ids = parsed.values("id")
    assert len(ids) == len(set(ids)) == 3
    assert {f"#{name}" for name in ids} >= set(parsed.values("href"))


def test_the_page_loads_nothing():
    html = html_page("Report", "", [example()])
    parsed = Parsed(html)
    assert parsed.values("src") == ["data:image/svg+xml;base64,PHN2Zy8+"]
    assert all(link.startswith("#") for link in parsed.values("href"))
    assert not {"script", "link", "iframe"} & set(parsed.tags)
    assert "url(" not in html
    assert "@import" not in html


def test_figures_have_a_description():
    assert Parsed(html_page("Report", "", [example()])).values("alt") == ["A curve"]


def test_everything_is_escaped():
    row = Claim(EVIL, EVIL, EVIL, None)
    section = Section(EVIL, EVIL, EVIL, EVIL, [row], Figure(b"", "png", EVIL), EVIL, EVIL)
    parsed = Parsed(html_page(EVIL, EVIL, [section]))
    assert not {"script", "b"} & set(parsed.tags)
    assert parsed.words.count(EVIL) > 8
    assert parsed.values("alt") == [EVIL]


def test_indented_paragraphs_keep_their_lines():
    html = html_page("Report", "", [example()])
    assert "<p>One <code>fit</code>.</p>\n<pre>    w = 1\n    b = 2</pre>" in html


def test_tables_in_markdown_escape_their_separator():
    claims = [Claim("|x| < 1", "", "0.5", True), Claim("ours", "2", "3", None, from_book=False)]
    _, _, *rows = claims_table(claims).splitlines()
    assert rows == [r"| \|x\| < 1 | – | 0.5 | yes |", "| *ours:* ours | 2 | 3 | – |"]
    assert markdown_table(["a"], []).splitlines() == ["| a |", "|---|"]


def test_a_section_without_results_says_why():
    html = html_page("Report", "", [Section("Depth", missing="no <data>")])
    assert html.count("no &lt;data&gt;") == 2
    assert "Depth</a> (not run)" in html


def test_the_report_has_question_command_and_provenance(monkeypatch, tmp_path):
    install(monkeypatch, experiment := toy("a_toy"))
    flags = Flags(quick=True, seeds=3, output=tmp_path)
    record = experiment.run_and_record(flags)
    path = report.write({"a_toy": experiment}, {}, flags)
    assert path == tmp_path / "report" / "index.html"
    words = Parsed(path.read_text()).words
    assert {"A toy", "How does a_toy count?", "Slowly.", "a_toy <counts>", "up to 2"} <= set(words)
    assert "python -m experiments a_toy --quick --seeds 3" in words
    (note,) = (w for w in words if w.startswith("digits"))
    assert "3 seeds · 2 epochs" in note
    assert f"{record['cores']} cores of {record['processor']}" in note
    assert f"jax {record['versions']['jax']}" in note
    assert record["commit"] in note


# A narrow window is a frame, because the window of a browser has a minimum width.
MEASURE = """<script>addEventListener("load", () => parent.postMessage(JSON.stringify({
  width: document.documentElement.scrollWidth,
  wide: [...document.querySelectorAll("body *")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80)),
  broken: [...document.images].filter(i => !i.naturalWidth).length,
  pictures: document.images.length,
  fetched: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length,
}), "*"))</script>"""
FRAME = """<!doctype html><script>addEventListener("message", e => document.title = e.data)</script>
<iframe src="copy.html" style="border: 0; width: {width}px; height: 800px"></iframe>"""


@pytest.fixture(scope="module")
def quick_report(quick_flags):
    """The report of a quick run of the whole chapter."""
    assert main(["--quick", "--output", str(quick_flags.output)]) == 0
    return quick_flags.output / "report" / "index.html"


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_the_page_without_horizontal_scrolling(quick_report, tmp_path, width):
    if not (chromium := shutil.which("chromium")):
        pytest.skip("needs a browser: chromium is not on PATH")
    html = quick_report.read_text()
    assert len(html) < 6e6
    (tmp_path / "copy.html").write_text(html.replace("</head>", MEASURE + "</head>"))
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    shown = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--hide-scrollbars", "--window-size=1400,900", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=10000", "--dump-dom", (tmp_path / "frame.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = Parsed(shown.stdout).words
    page = json.loads(next(words for words in title if words.startswith("{")))
    assert page["wide"] == []
    assert page["width"] == width
    assert page["pictures"] == len(report.catalog.NAMES)
    assert page["broken"] == page["fetched"] == 0

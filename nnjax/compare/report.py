"""`page`: what experiments show, as one HTML page that needs nothing beside itself."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True)
class Claim:
    """Something that is said, the number that goes with it, ours, and whether it holds (None: not judged).

    Either the chapter says it, or we do, and then it counts for no more than our own.
    """

    says: str
    book: str
    ours: str
    holds: bool | None = None
    of_the_chapter: bool = True


@dataclass(frozen=True)
class Figure:
    """A picture's bytes, their kind ("png" or "svg+xml"), and what it shows, in words."""

    content: bytes
    kind: str
    alt: str


@dataclass(frozen=True)
class Section:
    """One experiment.

    Attributes:
      title: its heading, unique on a page.
      question: what it asks, one sentence.
      text: what more there is to say: paragraphs between blank lines, indented ones as they stand.
      command: what makes it again.
      claims: what it says, beside what was found.
      figure: its picture, if there is one.
      note: how it was made, one line.
      missing: why there is nothing to show; "" where there is.
    """

    title: str
    question: str = ""
    text: str = ""
    command: str = ""
    claims: Sequence[Claim] = ()
    figure: Figure | None = None
    note: str = ""
    missing: str = ""


def page(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The whole page: contents, a summary of all claims, and the sections.

    It has no scripts and asks nothing of any server: styles and pictures are inside. On a narrow
    screen a figure can be ticked to be large.

    >>> html = page("Report", "One claim.", [Section("Sums", claims=[Claim("1 + 1 < 3", "2", "2", True)])])
    >>> "<td>1 + 1 &lt; 3</td>" in html
    True
    """
    style = Path(__file__).with_name("report.css").read_text("utf-8")
    contents = _lines(f"<li>{_link(s)}{' (not run)' if s.missing else ''}</li>" for s in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{_paragraphs(intro)}
</header>
<nav aria-label="Contents">
<ol>
{contents}
</ol>
</nav>
<main>
{_summary(sections)}
{_lines(map(_section, sections))}
</main>
</body>
</html>
"""


def _summary(sections: Sequence[Section]) -> str:
    """All claims in one table, a group for each section."""
    rows = [row for s in sections for row in s.claims]
    holds = [row.holds for row in rows if row.of_the_chapter]
    groups = [
        f'<tbody>\n<tr><th colspan="4" scope="rowgroup">{_link(s)}</th></tr>\n'
        + (f'<tr><td colspan="4">Not run: {escape(s.missing)}</td></tr>' if s.missing else _rows(s.claims))
        + "\n</tbody>"
        for s in sections
    ]
    told = f"{holds.count(True)} hold here, {holds.count(False)} do not, {holds.count(None)} not judged"
    return f"""<section id="summary">
<h2>All claims</h2>
<p>{len(holds)} claims of the chapter: {told}. And {len(rows) - len(holds)} of our own.</p>
{_table(_lines(groups))}
</section>"""


def _section(s: Section) -> str:
    parts = [
        f'<section id="{_anchor(s.title)}">',
        f"<h2>{escape(s.title)}</h2>",
        s.question and f'<p class="question">{_inline(s.question)}</p>',
        _paragraphs(s.text),
        s.missing and f'<p class="missing"><strong>Not run.</strong> {escape(s.missing)}</p>',
        s.claims and _table(f"<tbody>\n{_rows(s.claims)}\n</tbody>"),
        s.figure and _figure(s.figure),
        s.command and f"<pre>{escape(s.command)}</pre>",
        s.note and f'<p class="note">{escape(s.note)}</p>',
        "</section>",
    ]
    return _lines(str(part) for part in parts if part)


def _figure(figure: Figure) -> str:
    source = f"data:image/{escape(figure.kind)};base64,{base64.b64encode(figure.content).decode()}"
    return f"""<figure>
<label><input type="checkbox"> large</label>
<img src="{source}" alt="{escape(figure.alt)}">
</figure>"""


def _table(body: str) -> str:
    heads = _lines(f'<th scope="col">{head}</th>' for head in ("claim", "the book", "here", "holds"))
    return f"<table>\n<thead><tr>\n{heads}\n</tr></thead>\n{body}\n</table>"


def _rows(rows: Iterable[Claim]) -> str:
    return _lines(map(_row, rows))


def _row(row: Claim) -> str:
    # A narrow screen shows a row as a block, in which every number names itself.
    kind, word = {True: ("yes", "✓ yes"), False: ("no", "✗ no"), None: ("open", "–")}[row.holds]
    book = f'<td data-label="the book">{_numbers(row.book)}</td>' if row.book else '<td class="none">–</td>'
    return (
        f"<tr><td>{'' if row.of_the_chapter else '<em>ours:</em> '}{_numbers(row.says)}</td>{book}"
        f'<td data-label="here">{_numbers(row.ours)}</td>'
        f'<td data-label="holds" class="{kind}">{word}</td></tr>'
    )


def _numbers(text: str) -> str:
    """Escaped, and with no line ended inside "95 %" or "n = 20"."""
    return escape(text).replace(" %", "\u00a0%").replace(" = ", "\u00a0=\u00a0")


def _paragraphs(text: str) -> str:
    """Paragraphs between blank lines; those that are indented keep their lines."""
    blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", text) if block.strip()]
    return _lines(
        f"<pre>{escape(b)}</pre>" if b[0].isspace() else f"<p>{_inline(b)}</p>" for b in blocks
    )  # fmt: skip


def _inline(text: str) -> str:
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", escape(text))


def _link(s: Section) -> str:
    return f'<a href="#{_anchor(s.title)}">{escape(s.title)}</a>'


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)

"""Pages of claims with measured results and figures, each one self-contained HTML file."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

# The columns of a table of claims, and the words in the last column.
COLUMNS = ("statement", "book", "measured", "supported")
VERDICTS = {True: "yes", False: "no", None: "–"}


@dataclass(frozen=True)
class Claim:
    """A statement and the measured result.

    Attributes:
      statement: one sentence.
      expected: the number that the book states; "" if it states none.
      measured: the measured result, in words.
      supported: whether the measurement supports the statement; None if that is not judged.
      from_book: whether the statement comes from the book. Otherwise it comes from this project.
    """

    statement: str
    expected: str
    measured: str
    supported: bool | None = None
    from_book: bool = True


@dataclass(frozen=True)
class Figure:
    """A picture: the bytes of the file, their kind ("png" or "svg+xml"), and a description in words."""

    content: bytes
    kind: str
    alt: str


@dataclass(frozen=True)
class Section:
    """One experiment.

    Attributes:
      title: the heading; unique on a page.
      question: the question of the experiment, one sentence.
      text: paragraphs separated by blank lines; indented ones keep their line breaks.
      command: the command that repeats the experiment.
      claims: statements with measured results.
      figure: the figure, if there is one.
      note: how the results were made, one line.
      missing: why there are no results; "" if there are results.
    """

    title: str
    question: str = ""
    text: str = ""
    command: str = ""
    claims: Sequence[Claim] = ()
    figure: Figure | None = None
    note: str = ""
    missing: str = ""


def html_page(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The whole page: table of contents, a summary of all claims, and the sections.

    The page contains no scripts and loads nothing: styles and pictures are embedded. On a narrow screen a
    checkbox enlarges a figure.

    >>> sums = Section("Sums", claims=[Claim("1 + 1 < 3", "2", "2", True)])
    >>> html = html_page("Report", "One claim.", [sums])
    >>> "<td>1 + 1 &lt; 3</td>" in html
    True
    """
    style = Path(__file__).with_name("claims.css").read_text("utf-8")
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


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown_table(["a", "b"], [["1", "2 | 3"]]))
    | a | b |
    |---|---|
    | 1 | 2 \\| 3 |
    """
    first, *others = (
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in (head, *rows)
    )
    return "\n".join([first, "|" + "---|" * len(head), *others])


def claims_table(claims: Iterable[Claim]) -> str:
    """Claims as a table in Markdown."""
    rows = (
        [
            claim.statement if claim.from_book else f"*ours:* {claim.statement}",
            claim.expected or "–",
            claim.measured,
            VERDICTS[claim.supported],
        ]
        for claim in claims
    )
    return markdown_table(COLUMNS, rows)


def _summary(sections: Sequence[Section]) -> str:
    """All claims in one table, grouped by section."""
    claims = [claim for s in sections for claim in s.claims]
    verdicts = [claim.supported for claim in claims if claim.from_book]
    groups = [
        f'<tbody>\n<tr><th colspan="4" scope="rowgroup">{_link(s)}</th></tr>\n'
        + (f'<tr><td colspan="4">Not run: {escape(s.missing)}</td></tr>' if s.missing else _rows(s.claims))
        + "\n</tbody>"
        for s in sections
    ]
    counts = (
        f"The book makes {len(verdicts)} claims: {verdicts.count(True)} are supported, "
        f"{verdicts.count(False)} are not, {verdicts.count(None)} are not judged. "
        f"{len(claims) - len(verdicts)} claims are ours."
    )
    return f"""<section id="summary">
<h2>All claims</h2>
<p>{counts}</p>
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
    heads = _lines(f'<th scope="col">{head}</th>' for head in COLUMNS)
    return f"<table>\n<thead><tr>\n{heads}\n</tr></thead>\n{body}\n</table>"


def _rows(claims: Iterable[Claim]) -> str:
    return _lines(map(_row, claims))


def _row(claim: Claim) -> str:
    # A narrow screen shows a row as a block, in which every number has its label.
    kind, word = {True: ("yes", "✓ yes"), False: ("no", "✗ no"), None: ("open", "–")}[claim.supported]
    book = '<td class="none">–</td>'
    if claim.expected:
        book = f'<td data-label="book">{_numbers(claim.expected)}</td>'
    return (
        f"<tr><td>{'' if claim.from_book else '<em>ours:</em> '}{_numbers(claim.statement)}</td>{book}"
        f'<td data-label="measured">{_numbers(claim.measured)}</td>'
        f'<td data-label="supported" class="{kind}">{word}</td></tr>'
    )


def _numbers(text: str) -> str:
    """Escaped text without line breaks inside "95 %" and "n = 20"."""
    return escape(text).replace(" %", "\u00a0%").replace(" = ", "\u00a0=\u00a0")


def _paragraphs(text: str) -> str:
    """Paragraphs between blank lines; indented ones keep their line breaks."""
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

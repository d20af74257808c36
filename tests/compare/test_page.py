"""The page of a comparison: its content, that it is self-contained, and its behaviour in a chromium."""

import html as entities
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nnjax.compare import _page, _page_tables
from nnjax.compare._page_figures import Picture, draw_sensitivity, inline_svg, separate
from nnjax.compare._wording import SPACE, change, counts, number, overall
from nnjax.compare.analysis import analyse
from synthetic_comparison import PROBLEMS, synthetic_comparison

VOID = {"meta", "wbr", "br", "path", "use"}
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

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("style", "script"):
            self.words.append(data.replace(SPACE, " "))

    def values(self, name):
        return [value for key, value in self.attributes if key == name]

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def page_of(runs, problems, verdicts, about):
    return _page.render(analyse(runs, problems, verdicts), about)


@pytest.fixture(scope="module")
def comparison():
    return synthetic_comparison()


@pytest.fixture(scope="module")
def html(comparison):
    return page_of(*comparison)


def test_the_page_begins_with_the_conclusion_and_the_verdicts(html, comparison):
    text, first = Parsed(html).text, comparison[2].iloc[0]
    conclusion = "mine is better than adamw on 3 of 5 problems, worse on none; undecided on 2."
    verdict = f"{first.verdict} {change(first.effect, first.low, first.high)}".replace(SPACE, " ")
    assert verdict.startswith("better")
    assert conclusion in text
    sentence = "With 5 problems, the test over all problems cannot be significant."
    assert text.count(sentence) == 3  # once above, twice in the table
    order = [conclusion, f"✓ {verdict}", "Final metrics", "Learning curves", "Limits"]
    places = [text.index(words) for words in order[:2]] + [html.index(f"<h2>{words}") for words in order[2:]]
    assert places == sorted(places)


def test_the_page_loads_nothing(html):
    parsed = Parsed(html)
    assert "http://" not in html
    assert "https://" not in html
    assert not {"link", "img", "iframe", "object"} & set(parsed.tags)
    assert not parsed.values("src")
    files = {link for link in parsed.values("href") if not link.startswith("#")}
    assert files == {"runs.parquet", "timings.parquet"}
    assert "@import" not in html
    assert {*re.findall(r"url\((.)", html)} == {"#"}


def test_names_in_the_page_are_unique_and_links_lead_to_them(html):
    parsed = Parsed(html)
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    targets = {link[1:] for link in parsed.values("href") if link.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]*)\)", html)) | set(parsed.values("aria-labelledby"))
    assert targets <= set(ids)


def test_every_link_selects_rows(html, comparison):
    runs = comparison[0]
    queries = set(Parsed(html).values("title"))
    assert len(queries) > 30
    for query in queries:
        assert len(runs.query(query))


def test_everything_is_escaped():
    runs, problems, verdicts, about = synthetic_comparison(("bigram",), ("mine", "adamw"))
    names = {"mine": EVIL, "bigram": EVIL}
    runs, verdicts = runs.replace(names), verdicts.replace(names)
    about["seconds"] = about["seconds"].replace(names)
    problems = {EVIL: problems["bigram"] | {"reported": EVIL, "separates_by": EVIL}}
    about |= dict.fromkeys(("command", "budget", "seeds"), EVIL)
    about |= {"spaces": {EVIL: [EVIL]}, "schedules": [EVIL]}
    about |= {"notes": [EVIL], "versions": {EVIL: EVIL}, "machine": {EVIL: EVIL}}
    about["audits"] = [{"name": EVIL, "result": EVIL, "detail": EVIL}]
    parsed = Parsed(page_of(runs, problems, verdicts, about))
    assert parsed.tags.count("script") == 1
    assert parsed.tags.count("b") == 2  # the names in the conclusion
    assert parsed.text.count(EVIL) > 20
    for query in set(parsed.values("title")):
        assert len(runs.query(query))


@pytest.mark.slow
def test_every_verdict_has_its_word_and_its_style(comparison):
    runs, problems, verdicts, about = comparison
    words = ["better", "worse", "equivalent", "undecided", "not reached"]
    changed = verdicts.iloc[:5].assign(
        verdict=words, by_margin=[True, *[False] * 4], studies_needed=pd.array([None] * 5, "Int64")
    )
    html = page_of(runs, problems, changed, about)
    for style in words:
        assert f'class="verdict {style.replace(" ", "-")}"' in html
    text = Parsed(html).text
    for sign_and_word in (
        "✓ better by at least 5 %",
        "✗ worse",
        "= equivalent",
        "? undecided",
        "– not reached",
    ):
        assert sign_and_word in text
    assert "on 1 of 5 problems, worse on 1; equivalent on 1, undecided on 1, not reached on 1." in text
    assert "over 1,000" in text


def test_the_page_shows_command_versions_machine_seeds_notes_and_audits(html, comparison):
    about, text = comparison[3], Parsed(html).text
    for words in (about["command"], "jax 0.10.2", "AMD EPYC 7B13", about["seeds"], *about["notes"]):
        assert words in text
    for audit in about["audits"]:
        assert f"{audit['name']}: {audit['result']}" in text
        assert audit["detail"] in text
    for words in ("These are small networks.", "one batch size", "This is rare in the quick budget"):
        assert words in text
    assert "mine: learning_rate 0.0001 to 1" in text
    assert "warmup_linear. Optimizers that have schedules of their own" in text
    places = [
        text.index(w) for w in (about["notes"][0], "All verdicts.", "The metric at the end of the budget")
    ]
    assert places == sorted(places)


def test_a_metric_that_counts_as_zero_has_the_sign_of_at_most_and_no_interval(comparison):
    runs, problems, verdicts, about = comparison
    solved = (runs.problem == "bigram") & (runs.kind == "fresh")
    runs = runs.assign(metric=runs.metric.where(~solved, problems["bigram"]["epsilon"] / 2))
    text = Parsed(page_of(runs, problems, verdicts, about)).text
    value = number(problems["bigram"]["epsilon"])
    assert re.search(rf"bigram {re.escape(problems['bigram']['reported'])} (≤ {value} ?){{2,}}", text)


def test_the_selected_learning_rates_of_the_studies_are_shown(comparison):
    runs = comparison[0]
    fresh = runs[(runs.problem == "bigram") & (runs.optimizer == "mine") & (runs.kind == "fresh")]
    rates = [json.loads(settings)["learning_rate"] for settings in fresh.settings]
    text = Parsed(page_of(*comparison)).text
    assert f"{number(np.median(rates))} {number(min(rates))} to {number(max(rates))}" in text


@pytest.mark.slow
def test_the_same_comparison_gives_the_same_page(comparison, html):
    assert page_of(*comparison) == html


EDGE_CASES = {
    "one problem": {"problems": ("teacher",)},
    "one optimizer": {"problems": ("bigram", "teacher"), "optimizers": ("adamw",)},
    "all diverged": {"problems": ("bigram",), "optimizers": ("mine", "adamw"), "diverged": True},
    "censored only": {"problems": ("bigram", "teacher"), "censored": True, "curves": False},
    "no reference": {"problems": ("bigram",), "reference": False},
}


@pytest.mark.parametrize("case", EDGE_CASES)
def test_unusual_comparisons_have_a_page(case):
    runs, problems, verdicts, about = synthetic_comparison(**EDGE_CASES[case])
    text = Parsed(page_of(runs, problems, verdicts, about)).text
    assert "nan" not in re.sub(r"\w*nan\w+|\w+nan\w*", "", text.lower())
    assert "inf " not in text
    expected = {
        "one problem": "sgd is worse than adamw on 1 of 1 problem, better on none.",
        "one optimizer": "There is no verdict",
        "all diverged": "100 % diverged",
        "censored only": "No problem of this comparison has a score.",
        "no reference": "No problem of this comparison has a score.",
    }
    assert expected[case] in text


def test_an_optimizer_that_failed_on_a_problem_has_no_result_there(comparison):
    runs, problems, verdicts, about = comparison
    runs = runs[(runs.optimizer != "mine") | (runs.problem != "bigram")]
    verdicts = verdicts[(verdicts.optimizer != "mine") | (verdicts.problem != "bigram")]
    text = Parsed(page_of(runs, problems, verdicts, about)).text
    assert "bigram no result" in text
    assert "on 2 of 4 problems" in text


def test_figures_are_written_as_svg_and_png(tmp_path):
    runs, problems, verdicts, _ = synthetic_comparison(("bigram",), ("mine", "adamw"))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        _page.write_figures(folder, analyse(runs, problems, verdicts))
    names = {path.name for path in folders[0].iterdir()}
    stems = {
        "curves-bigram",
        "tuning-bigram",
        "sensitivity-bigram",
        "profile-1-4",
        "profile-1-2",
        "profile-1",
    }
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "png")}
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_an_optimizer_without_a_learning_rate_is_not_drawn_against_it(comparison):
    runs, problems, verdicts, _ = comparison
    without = runs.assign(settings=runs.settings.where(runs.optimizer != "mine", '{"damping": 1.0}'))
    drawn = []
    for table in (runs, without):
        figure = draw_sensitivity(analyse(table, problems, verdicts), "bigram", "")
        drawn.append([text.get_text() for text in figure.axes[0].texts])
    assert drawn == [["mine", "sgd", "adamw"], ["sgd", "adamw"]]


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_named(uninstall, comparison, module):
    uninstall(module)
    with pytest.raises(ImportError, match=rf"needs {module}: run pip install 'nnjax\[compare\]'"):
        page_of(*comparison)


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ((0.0, 0.0, 0.0), "no difference"),
        ((np.log(0.5),), "50 % lower"),
        ((np.log(0.003), np.log(0.002), np.log(0.004)), "99.7 % lower (99.6 % to 99.8 % lower)"),
        ((np.log(3), np.log(0.9), np.log(12)), "200 % higher (10 % lower to 1,100 % higher)"),
        ((np.log(1500), np.log(0.5), np.log(2e4)), "1,500 times as high (0.5 to 20,000 times)"),
        ((np.nan, np.nan, np.nan), "–"),
    ],
)
def test_changes_in_words(effect, words):
    assert change(*effect).replace(SPACE, " ") == words


def test_conclusions_in_words():
    assert counts(["worse", "undecided"]) == ("worse", "1 of 2 problems, better on none; undecided on 1.")
    assert counts(["not reached"]) == ("better", "none of 1 problem, worse on none; not reached on 1.")
    sentence = "Over all 8 problems together, the candidate is better (p = 0.010)."
    assert overall(8, -0.1, 0.01, True) == sentence
    sentence = "The test over all problems finds no significant difference (p = 0.20)."
    assert overall(8, 0.1, 0.2, True) == sentence


def test_the_labels_of_a_figure_in_the_page_keep_all_digits():
    def draw(title):
        figure = Figure()
        axis = figure.subplots()
        axis.set_yticks([0.003, 0.125], ["0.003", "0.125"])
        axis.plot([0, 1 / 3], [0.003, 0.125])
        return figure

    svg = inline_svg(Picture("name", "title", "alt", "", draw))
    assert {"0.003", "0.125"} <= set(re.findall(r">([^<>]*)</text>", svg))
    assert not re.search(r"<[^>]*\.\d{3}", svg)  # coordinates are short


def test_separate_keeps_order_gap_and_limits():
    random = np.random.default_rng(0)
    for n in (1, 2, 8):
        positions = random.random(n)
        places = separate(positions, 0.1)
        assert (np.argsort(places) == np.argsort(positions)).all()
        assert (np.diff(np.sort(places)) > 0.1 - 1e-12).all()
        assert places.min() >= 0
        assert places.max() <= 1 + 1e-12
    np.testing.assert_allclose(separate(np.array([0.9, 0.1]), 0.1), [0.9, 0.1])


def test_queries_quote_their_values():
    query = _page_tables.where(problem="it's", optimizer=["a", 'b"'])
    table = pd.DataFrame({"problem": ["it's", "b"], "optimizer": ['b"', "a"]})
    assert len(table.query(query)) == 1


# --- in a browser ---


@pytest.fixture
def show(chromium, html, tmp_path):
    def show(width, height, content=html):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        (tmp_path / "index.html").write_text(content)
        chromium.get((tmp_path / "index.html").as_uri())
        assert chromium.get_log("browser") == []
        return chromium

    return show


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
def test_the_page_does_not_scroll_sideways_and_shows_all_verdicts_first(show, width, height):
    page = show(width, height)
    assert page.execute_script("return document.documentElement.scrollWidth") == width
    verdicts = page.find_elements("css selector", "td.verdict")
    assert len(verdicts) == 2 * len(PROBLEMS)
    for cell in verdicts:
        box = cell.rect
        assert box["y"] + box["height"] <= height
        assert box["x"] + box["width"] <= width


@pytest.mark.slow
def test_long_names_do_not_make_the_page_scroll_sideways(show):
    runs, problems, verdicts, about = synthetic_comparison(("bigram",))
    names = {"mine": "mine_" * 12, "bigram": "m" * 60}
    about["seconds"] = about["seconds"].replace(names)
    facts = {names["bigram"]: problems["bigram"]}
    html = page_of(runs.replace(names), facts, verdicts.replace(names), about | {"command": "x" * 300})
    assert show(390, 844, html).execute_script("return document.documentElement.scrollWidth") == 390


@pytest.mark.slow
def test_a_click_on_a_head_sorts(show):
    page = show(1280, 800)

    def column():
        cells = page.find_elements("css selector", "#table-metrics tbody tr td:nth-child(2)")
        return [float(cell.get_attribute("data-order")) for cell in cells]

    before = column()
    button = page.find_element("css selector", "#table-metrics thead th:nth-child(2) button")
    page.execute_script("arguments[0].click()", button)
    assert column() == sorted(before) != before
    page.execute_script("arguments[0].click()", button)
    assert column() == sorted(before, reverse=True)
    head = page.find_element("css selector", "#table-metrics thead th:nth-child(2)")
    assert head.get_attribute("aria-sort") == "descending"


@pytest.mark.slow
def test_a_click_on_a_number_shows_its_query(show):
    page = show(390, 844)
    link = page.find_element("css selector", "td.verdict a.rows")
    link.click()
    panel = page.find_element("id", "query")
    query = json.dumps(entities.unescape(link.get_attribute("title")))
    assert f'pandas.read_parquet("runs.parquet").query({query})' in panel.text
    page.find_element("tag name", "h1").click()
    assert not panel.is_displayed()

import pytest

from experiments import records, tables
from experiments.experiment import Flags
from experiments.smoothness import EXPERIMENT as SMOOTHNESS


@pytest.mark.parametrize(
    "content",
    [None, "{", '{"format": 2, "experiment": "smoothness", "settings": {"seeds": 0}}',
     '{"experiment": "smoothness", "settings": {}}'],
    ids=["missing", "damaged", "other settings", "older format"],
)  # fmt: skip
def test_without_a_current_record_there_is_no_table(monkeypatch, tmp_path, content):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    if content:
        (tmp_path / "smoothness.json").write_text(content)
    assert tables.of_experiment("smoothness", str) == tables.NOT_RUN


@pytest.mark.slow
def test_a_section_has_question_claims_and_provenance(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    record = SMOOTHNESS.run_and_record(Flags())
    heading, _, question, _, head, _, *rows = tables.claims_section("smoothness").splitlines()
    assert heading == "## Smoothness"
    assert question.endswith("?")
    assert head == "| statement | book | measured | supported |"
    claims = SMOOTHNESS.judged_claims(record)
    assert [row.endswith("| yes |") for row in rows[: len(claims)]] == [True] * 4
    assert rows[len(claims)] == ""
    note = rows[len(claims) + 1]
    assert note == f"`python -m experiments smoothness`: {records.provenance(record)}"
    assert tables.total_time() == tables.NOT_RUN

"""No file uses names and words that the project replaced by the terms of JAX, optax and scikit-learn."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

FORBIDDEN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
    # in any case, also as a part of an identifier, such as `what_is_told`
    (?i:
        asunder | claimed | dearest | doubted | lest | likeness | mended | oftener | parted | recipes?
        | rightly | rungs? | settled | soonest | strangeness | surroundings | told
    )
    # in exactly this case
    | Averaged | Distorted | ELSEWHERE | Falling | JOINING | Manner | NOT_OF_THE_MODEL | Onward | PATIENCE
    | SETTLED | Smoothed | Spread | TROUBLES | WASTE | Whole
    | activation_in | as_input | as_target | at_once | beside_numpy | bring_to_form | by_first | by_library
    | count_steps | ending_after_the_epoch | equal_work | falls_for | first_bad | first_then_others
    | fit_likeness | form_of | from_first | lie_as | made_of | made_with | mean_probabilities | model_folder
    | n_seen | of_epochs | of_networks | of_the_chapter | packed_bytes | place_of | read_model | sees_padding
    | settings_of | shared_out | size_of | told_by_all | whole_number
    | (?:MOST|LEAST)_[A-Z]\w*
    )(?![A-Za-z0-9])""",
    re.VERBOSE,
)

SUFFIXES = {".py", ".md", ".js", ".html", ".css", ".toml", ".yaml", ".cff", ".c"}
OTHER_FILES = {"Makefile", ".ci/run"}
EXCLUDED = {"CHANGELOG.md", "tests/test_language.py"}  # which name what was replaced


def tracked_files() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def json_keys(value: Any) -> Iterator[str]:
    match value:
        case dict():
            yield from value
            for item in value.values():
                yield from json_keys(item)
        case list():
            for item in value:
                yield from json_keys(item)


def lines(name: str) -> list[str]:
    """The lines of a text file, or the different keys of a JSON file."""
    text = (ROOT / name).read_text()
    return sorted(set(json_keys(json.loads(text)))) if name.endswith(".json") else text.splitlines()


def test_no_text_file_uses_replaced_words():
    names = [n for n in tracked_files() if Path(n).suffix in SUFFIXES or n in OTHER_FILES]
    found = [
        f"{name}:{number}: {match[0]}"
        for name in names
        if name not in EXCLUDED
        for number, line in enumerate(lines(name), 1)
        for match in FORBIDDEN.finditer(line)
    ]
    assert len(names) > 100
    assert not found, "\n".join(found)


def test_no_record_has_replaced_keys():
    names = [
        name for name in tracked_files() if re.fullmatch(r"(experiments|benchmarks)/results/.*\.json", name)
    ]
    found = [f"{name}: {key}" for name in names for key in lines(name) if FORBIDDEN.search(key)]
    assert len(names) > 10
    assert not found, "\n".join(found)


def test_file_names_have_no_replaced_words():
    assert [name for name in tracked_files() if FORBIDDEN.search(name)] == []


def test_the_pattern_matches_parts_of_identifiers_and_not_parts_of_words():
    matching = ("told", "Told", "what_is_told", "told.x", "MOST_PIXELS", "Whole", "first_bad", "--recipe")
    others = ("untold", "whole", "spread", "falling", "wrung", "ALMOST_X", "blest", "_MOST")
    assert [text for text in matching if not FORBIDDEN.search(text)] == []
    assert [text for text in others if FORBIDDEN.search(text)] == []

"""The limits of containers and of environment variables."""

import math

import pytest

from nnjax.runtime import limits
from nnjax.runtime.limits import ControlGroups


@pytest.fixture
def groups(tmp_path):
    """Makes control groups with these files, for a process in the group /a/b."""

    def make(files):
        process_group = tmp_path / "group"
        process_group.write_text("3:cpu:/\n0::/a/b\n")
        for name, content in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")
        return ControlGroups(tmp_path / "root", process_group)

    return make


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "cpu.max": "400000 100000"}, 1.5),
        ({"a/b/cpu.max": "max 100000"}, None),
        ({"cpu.max": "50000 100000"}, 0.5),  # a container in which its group is the root
        ({}, None),
    ],
)
def test_the_cpu_limit_is_the_smallest_of_the_group_and_its_parents(groups, files, limit):
    assert groups(files).cpu_limit() == limit


@pytest.mark.parametrize(
    ("files", "total", "free"),
    [
        ({"a/b/memory.max": "max", "a/b/memory.current": "5"}, math.inf, math.inf),
        ({"a/b/memory.max": "100", "a/b/memory.current": "30"}, 100, 70),
        (
            {"a/memory.max": "90", "a/memory.current": "60", "memory.max": "80", "memory.current": "30"},
            80,
            30,
        ),
        ({"memory.max": "100", "memory.current": "130"}, 100, 0),
        ({"memory.max": "100", "memory.current": "90", "memory.stat": "file 60\ninactive_file 50"}, 100, 60),
        ({"memory.max": "100"}, math.inf, math.inf),  # the root group does not report what is used
        ({}, math.inf, math.inf),
    ],
)
def test_the_memory_is_the_smallest_of_the_group_and_its_parents(groups, files, total, free):
    assert groups(files).memory() == (total, free)


def test_a_system_without_control_groups_has_no_limits(tmp_path):
    groups = ControlGroups(tmp_path, tmp_path / "missing")
    assert groups.cpu_limit() is None
    assert groups.memory() == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("nproc", "limit", "threads"),
    [
        (None, None, 16), ("4", None, 4), ("0", None, 16), ("all", None, 16),
        (None, 2.4, 2), ("1", 2.4, 1), (None, 0.2, 1),
    ],
)  # fmt: skip
def test_threads_are_limited_by_nproc_and_by_the_cpu_limit(monkeypatch, nproc, limit, threads):
    monkeypatch.setattr(limits, "cores", lambda: 16)
    monkeypatch.setattr(ControlGroups, "cpu_limit", lambda self: limit)
    monkeypatch.delenv("NPROC", raising=False)
    if nproc:
        monkeypatch.setenv("NPROC", nproc)
    assert limits.num_threads() == threads


def test_the_memory_is_that_of_the_machine_or_of_the_container(monkeypatch):
    assert 2**20 < limits.available_memory() <= limits.total_memory() < 2**50
    monkeypatch.setattr(ControlGroups, "memory", lambda self: (54321, 12345))
    assert limits.available_memory() == 12345
    assert limits.total_memory() == 54321

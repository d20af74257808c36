"""Files are written completely or not at all, and paths that cannot be written raise before the work."""

import os

import pytest

from nnjax.runtime import check_writable, make_dir, write_atomically


def test_a_file_is_replaced_and_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"target", "link"}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_paths_that_cannot_be_written_raise(tmp_path):
    check_writable(tmp_path / "new")
    assert not list(tmp_path.iterdir())
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "cannot write .*: it is a directory"),
        (tmp_path / "pipe", "cannot write .*: it is not a regular file"),
        (tmp_path / "none" / "file", r"cannot write .*: No such file or directory \(.*/none\)"),
        (tmp_path / "\0", "null"),
    ):
        with pytest.raises(ValueError, match=message):
            check_writable(path)


def test_a_directory_is_created_or_raises(tmp_path):
    assert make_dir(tmp_path / "a" / "b").is_dir()
    assert make_dir(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot write into .*/file/c: Not a directory"):
        make_dir(tmp_path / "file" / "c")

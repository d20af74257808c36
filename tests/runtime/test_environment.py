import os
import subprocess

from nnjax.runtime import git_commit


def test_the_commit_is_dirty_if_code_differs_and_unknown_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.fspath(tmp_path.parent))
    assert git_commit(tmp_path) == "unknown"
    (tmp_path / "code.py").write_text("")
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    (tmp_path / "experiments" / "results" / "a.json").write_text("1")
    for command in ("init -q", "add .", "-c user.name=n -c user.email=e commit -qm m"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    clean = git_commit(tmp_path)
    assert len(clean) == 12
    (tmp_path / "experiments" / "results" / "a.json").write_text("2")
    assert git_commit(tmp_path) == clean
    (tmp_path / "new.py").write_text("")
    assert git_commit(tmp_path) == f"{clean}-dirty"
    monkeypatch.setenv("PATH", "")
    assert git_commit(tmp_path) == "unknown"

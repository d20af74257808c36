"""`nnjax doctor`: what it finds here, and what it says of what is wrong."""

import json
import os
import subprocess
import sys
from collections import namedtuple
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import nnjax
import reference
from nnjax.cli import doctor
from nnjax.cli.doctor import backend, environment, numpy_speed, paths
from nnjax.data import _cache, _sources
from nnjax.data._sources import FILES

FOUR = [file for pair in FILES.values() for file in pair]
OWN = ["/data/mine", "/data/with space", "/mine/home/me", ""]
STARTS = backend.Start([], {}, [], "")


@pytest.mark.slow
def test_an_unknown_flag_an_unwritable_cache_and_half_a_data_set_are_told_and_end_nothing(tmp_path):
    """In a process of its own, as XLA ends the one that has an unknown flag; without a private path."""
    home = tmp_path / "home"
    manual = _sources.manual_path("kmnist", home / "data")
    manual.mkdir(parents=True)
    (manual / FOUR[1]).touch()
    (home / "file").touch()
    changes = {
        "HOME": str(home),
        "TFDS_DATA_DIR": str(home / "data"),
        "XDG_DATA_HOME": str(home / "share"),
        "XDG_CACHE_HOME": str(home / "file" / "cache"),
        "XLA_FLAGS": f"--xla_no_such_flag=1 --xla_dump_hlo_pass_re={tmp_path}/private word",
        "JAX_COORDINATOR_ADDRESS": "10.1.2.3:4",
    }
    out = subprocess.run(
        [sys.executable, "-m", "nnjax", "doctor", "--json"],
        env=os.environ | changes, capture_output=True, text=True,
    )  # fmt: skip
    assert out.returncode == 1, out.stderr
    facts = json.loads(out.stdout)
    flags = facts["XLA flags"]
    assert list(flags) == ["--xla_no_such_flag=1", "--xla_dump_hlo_pass_re=<path>", "word"]
    told = [value.partition(":")[0] for value in flags.values()]
    assert told == ["refused", "accepted", "ignored"]
    assert facts["devices"]["backend"] == jax.default_backend()
    assert facts["folders"]["cache"] == facts["folders"]["cache"] | {
        "path": "~/file/cache/nnjax", "size_mb": 0.0, "writable": False,
    }  # fmt: skip
    assert facts["folders"]["models"]["writable"]
    assert 0 < facts["speed"]["ratio_to_numpy"] < 100
    assert facts["settings"]["JAX_COORDINATOR_ADDRESS"] == "set"
    findings = "\n".join(facts["findings"])
    assert "--xla_no_such_flag=1 in XLA_FLAGS" in findings
    assert "cache, ~/file/cache/nnjax: Not a directory" in findings
    assert f"~/data/downloads/manual/kmnist lacks {FOUR[0]}, {FOUR[2]}, {FOUR[3]}" in findings
    assert str(tmp_path) not in out.stdout
    assert not (home / "file" / "cache").exists()
    assert not (home / "share").exists()


@pytest.fixture
def quick(monkeypatch):
    """No child processes, and one round of the speed check."""
    monkeypatch.setattr(doctor, "try_start", lambda flags: STARTS)
    monkeypatch.setattr(numpy_speed, "SECONDS", 0)


def test_the_text_tells_what_the_json_tells(run, capsys, quick, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/elsewhere")
    facts = doctor.examine(data_dir := tmp_path / "a folder")
    assert facts["data"]["folder"] == str(data_dir)
    assert facts["folders"]["data sets"]["path"] == str(data_dir / "mnist_family")
    monkeypatch.setattr(doctor, "examine", lambda data_dir: facts)
    assert run("doctor", "--json") == run("doctor") == bool(facts["findings"])
    printed = capsys.readouterr().out
    told, end = json.JSONDecoder().raw_decode(printed)
    assert told == facts
    text = printed[end:]

    def leaves(value):
        if isinstance(value, dict | list):
            for one in value.values() if isinstance(value, dict) else value:
                yield from leaves(one)
        elif value is not None and not isinstance(value, bool):
            yield str(value)

    assert [leaf for leaf in leaves(facts) if leaf not in text] == []
    monkeypatch.setattr(doctor, "examine", lambda data_dir: facts | {"findings": []})
    assert run("doctor") == 0
    assert capsys.readouterr().out.endswith("what looks wrong\n  - nothing\n")


@pytest.mark.parametrize("broken", ["versions", "data", "folders", "speed"])
def test_a_broken_section_tells_its_error_and_the_others_go_on(monkeypatch, quick, broken):
    def fail(*args):
        raise PermissionError(13, "Permission denied", "/private/place")

    monkeypatch.setattr(doctor, broken, fail)
    facts = doctor.examine()
    assert facts[broken] == {"error": "PermissionError: [Errno 13] Permission denied: '<path>'"}
    assert [name for name, told in facts.items() if name != "findings" and "error" in told] == [broken]
    assert any(told.startswith(f"{broken}: could not be examined") for told in facts["findings"])
    json.dumps(facts)


def test_where_jax_does_not_start_the_rest_is_told(monkeypatch, quick):
    monkeypatch.setattr(doctor, "try_start", backend.try_start)
    monkeypatch.setenv("JAX_PLATFORMS", "abacus")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    facts = doctor.examine()
    assert "with JAX_PLATFORMS=abacus" in "\n".join(facts["findings"])
    assert "abacus" in facts["devices"]["error"]
    assert facts["speed"] == {"left out": "jax does not start"}
    assert "not tried" in facts["XLA flags"]["--xla_cpu_enable_fast_math=false"]
    assert facts["versions"]["jax"] == jax.__version__
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("in /home/me/a/b", "in ~/a/b"),
        ("/home/me", "~"),
        ("/home/me2/a", "<path>"),
        ("/mnt/home/me", "<path>"),
        ("--to=/secret/x --b", "--to=<path> --b"),
        ("/secret/a:/secret/b", "<path>"),
        ("a:/secret/b:/secret/c", "a:<path>:<path>"),
        ("/secret place/x", "<path>"),
        ('at "/secret place/x"', 'at "<path>"'),
        ("/data/mine/x", "/data/mine/x"),
        ("in /data/mine: no", "in /data/mine: no"),
        ("/data/mine2/x", "<path>"),
        ("/mine/home/me/x", "/mine/home/me/x"),
        ("/data/with space/x", "/data/with space/x"),
        ("https://a.b/c/d", "https://a.b/c/d"),
        ("1/2 and a/b", "1/2 and a/b"),
    ],
)
def test_home_is_a_tilde_and_only_nnjax_s_own_folders_are_told(monkeypatch, text, shown):
    monkeypatch.setenv("HOME", "/home/me")
    assert doctor.hide(text, OWN) == shown
    assert doctor.hide({text: [text, 1, None]}, OWN) == {shown: [shown, 1, None]}


# --- flags ---


def test_flags_are_parted_as_xla_parts_them_and_only_those_that_end_a_process_are_refused(monkeypatch):
    def ends(flags):
        return ("no", []) if "bad" in flags else ("", ["xla_old is old"])

    monkeypatch.setattr(backend, "_start", ends)
    start = backend.try_start("--bad=1 word --xla_a='x y' --xla_old --worse_bad")
    assert start.flags == ["--bad=1", "word", "--xla_a='x y'", "--xla_old", "--worse_bad"]
    assert start.refused == {"--bad=1": "no", "--worse_bad": "no"}
    assert start.accepted == "--xla_a='x y' --xla_old"
    facts, findings = backend.flags(start)
    assert facts["--xla_old"] == "accepted, but XLA says: xla_old is old"
    assert facts["--xla_a='x y'"] == "accepted"
    assert len(findings) == 4
    assert backend.try_start("--fine") == backend.Start(["--fine"], {}, ["xla_old is old"], "")
    assert backend.try_start("").flags == []
    assert backend.try_start("a bad file").refused == {"a bad file": "no"}


def test_flags_that_only_together_end_a_process_are_refused_together(monkeypatch):
    monkeypatch.setattr(backend, "_start", lambda flags: ("no" * (" " in flags), []))
    assert backend.try_start("--a --b").refused == {"--a": "no", "--b": "no"}


def test_a_flag_for_one_thread_counts_as_ignored_where_threads_share_the_work(monkeypatch):
    flag = "--xla_cpu_multi_thread_eigen=false"
    for share, word in ((0.0, "accepted"), (0.5, "ignored")):
        monkeypatch.setattr(backend, "_share_of_threads", lambda: share)  # noqa: B023
        facts, findings = backend.flags(STARTS._replace(flags=[flag]))
        assert facts[flag].partition(":")[0] == word
        assert len(findings) == (word == "ignored")
    monkeypatch.undo()
    assert 0 <= backend._share_of_threads() <= 1.1


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("kill -SEGV $$", "exit code -11"),
        ("echo 'W0101 a.cc:1] a word' >&2; echo 'F0101 b.cc:2] the end' >&2; exit 1", "the end"),
        ("echo 'W0101 a.cc:1] a word' >&2; exit 3", "exit code 3"),
        ("exec sleep 9", "TimeoutExpired"),
        ("echo 'W0101 a.cc:1] a word' >&2", ""),
    ],
)
def test_whatever_ends_a_start_is_told(monkeypatch, tmp_path, does, told):
    (python := tmp_path / "python").write_text(f"#!/bin/sh\n{does}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(backend, "PROBE_TIMEOUT_S", 1.5)
    error, said = backend._start("")
    assert error.partition(",")[0] == told
    assert said == ([] if told else ["a word"])


# --- devices, threads, settings, versions ---


def test_a_gpu_that_jax_does_not_use_is_told(monkeypatch):
    monkeypatch.setattr(backend.shutil, "which", lambda name: "found")
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    for platforms, found in ((None, True), ("cpu", False)):
        monkeypatch.setattr(backend, "of_jax", {"platforms": platforms}.get)
        _, findings = backend.devices(STARTS)
        assert ("jax[cuda" in "\n".join(findings)) == found


def test_one_core_and_a_container_that_grants_less_than_there_are_threads_are_told(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(backend.shutil, "which", lambda name: None)
    monkeypatch.setattr(backend, "of_jax", {"platforms": "cpu"}.get)
    monkeypatch.setattr(backend, "cores", lambda: 1)
    monkeypatch.setattr(backend, "cpus_granted", lambda: 2.0)
    monkeypatch.setattr(backend, "_seconds_of_pool", lambda: [0.0] * 16)
    _, findings = backend.devices(STARTS)
    assert "NPROC=2" in findings[0]
    assert "one core" in findings[1]
    monkeypatch.setattr(backend, "cpus_granted", lambda: 16.0)
    assert len(backend.devices(STARTS)[1]) == 1


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "cpu.max": "400000 100000"}, 1.5),
        ({"a/b/cpu.max": "max 100000"}, None),
        ({"cpu.max": "50000 100000"}, 0.5),  # a container that sees its own group as the root
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_the_limit_of_control_groups_is_the_narrowest_on_the_way_up(tmp_path, files, granted):
    own = tmp_path / "own"
    own.write_text("3:cpu:/\n0::/a/b\n")
    for name, content in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert environment.cpus_granted(tmp_path / "root", own) == granted
    assert environment.cpus_granted(tmp_path / "root", tmp_path / "none") is None


def test_settings_for_finding_faults_float64_and_misspelt_ones_are_told(monkeypatch):
    for name, value in {
        "JAX_DEBUG_NAN": "1",
        "JAX_PLATFORM_NAME": "cpu",
        "NPROC": "2",
        "SECRET": "s",
    }.items():
        monkeypatch.setenv(name, value)
    with jax.enable_x64(True), jax.debug_nans(True):
        facts, findings = environment.settings()
    assert facts["JAX_PLATFORM_NAME"] == "cpu"
    assert facts["NPROC"] == "2"
    assert facts["x64"] is True
    assert "SECRET" not in facts
    words = "\n".join(findings)
    assert "jax does not know JAX_DEBUG_NAN," in words
    assert "JAX_DEBUG_NANS is on" in words
    assert "JAX_ENABLE_X64 is on" in words
    assert len(findings) == 3


def test_versions_outside_what_is_declared_and_missing_packages_are_told(monkeypatch):
    declared = ["jax>=99", "numpy>=1", "no-such-package>=1,<2", 'pytest<1; extra == "dev"']
    monkeypatch.setattr(environment, "requires", lambda name: declared)
    facts, findings = environment.versions()
    assert facts == facts | {"jax": jax.__version__, "numpy": np.__version__, "no-such-package": "missing"}
    assert "pytest" not in facts
    assert findings == [
        f'jax is {jax.__version__}: pip install "jax>=99"',
        'no-such-package is missing: pip install "no-such-package<2,>=1"',
    ]


# --- data and folders ---


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).touch()


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_of_files_put_there_by_hand_the_missing_ones_are_named(tmp_path, count):
    put(_sources.manual_path("mnist", tmp_path), FOUR[:count])
    facts, findings = paths.data(tmp_path)
    assert facts["mnist"]["by_hand"] == f"{count} of 4 files"
    assert len(findings) == (0 < count < 4)
    assert all((file in "\n".join(findings)) == (0 < count <= i) for i, file in enumerate(FOUR))
    put(tmp_path / "downloads" / "manual", FOUR)  # where mnist's files will do too
    assert paths.data(tmp_path)[1] == []


def test_a_damaged_decoded_file_and_what_was_left_half_prepared_are_told(tmp_path):
    path = _sources.cache_path("mnist", tmp_path)
    path.parent.mkdir(parents=True)
    _, findings = paths.data(tmp_path)
    assert len(findings) == 1
    assert f"half prepared; delete {path.parent}" in findings[0]
    path.write_bytes(b"damaged")
    facts, findings = paths.data(tmp_path)
    assert facts["mnist"]["decoded"] == "damaged"
    assert len(findings) == 1
    assert "`nnjax data prepare mnist` makes it anew" in findings[0]
    _cache.write_cache(path, {"x": np.arange(3)})
    facts, findings = paths.data(tmp_path)
    assert facts["mnist"]["decoded"] is True
    assert findings == []
    put(_sources.manual_path("mnist", tmp_path), FOUR[:1])  # no longer needed, so no matter
    assert paths.data(tmp_path)[1] == []
    left = path.parent.with_name("incomplete.ABC_1.0.0")
    left.mkdir()
    assert str(left) in paths.data(tmp_path)[1][0]


def test_sizes_and_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "mnist_family" / "deep").mkdir(parents=True)
    (tmp_path / "mnist_family" / "deep" / "file").write_bytes(bytes(2_300_000))
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda path: namedtuple("usage", "free")(0.4e9))
    facts, findings = paths.folders(tmp_path)
    told = facts["data sets"]
    assert (told["size_mb"], told["free_gb"], told["writable"]) == (2.3, 0.4, True)
    assert len(findings) == 1
    assert "nearly full: less than 1 GB free for data sets, models, cache" in findings[0]


# --- speed ---


def test_numpy_does_the_work_of_a_step_of_the_book():
    """One mini-batch, whose order does not matter, against the tests' own reference."""
    rng = np.random.default_rng(1)
    images = (rng.integers(0, 256, (numpy_speed.M, 784)) * (rng.random((numpy_speed.M, 784)) < 0.2)).astype(
        np.uint8
    )
    labels = np.arange(numpy_speed.M) % 10
    numpy = numpy_speed._Numpy(nnjax.Dataset.from_arrays((images, labels)), rng)
    w1, b1, w2, b2 = (p.copy() for p in numpy.params)
    assert numpy.epoch() > 0
    expected = reference.descend([(w1, b1), (w2, b2)], images / 255, np.eye(10)[labels], numpy_speed.ETA)
    w1, b1, w2, b2 = numpy.params
    assert reference.distance([(w1, b1), (w2, b2)], expected) < 1e-12


def test_a_slow_machine_is_told_with_the_likely_cause_and_a_usual_one_is_not(monkeypatch):
    def taking(*seconds):
        def fit(*args, callback, **more):
            for _ in seconds:
                callback(None)
            return SimpleNamespace(history=SimpleNamespace(seconds=np.array(seconds)))

        monkeypatch.setattr(numpy_speed, "fit", fit)
        return numpy_speed.speed(STARTS)

    monkeypatch.setattr(numpy_speed._Numpy, "epoch", lambda self: 2.0)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    facts, findings = taking(1.8, 0.8, 0.6)
    assert (facts["ratio_to_numpy"], facts["rounds"], facts["quartiles"]) == (0.4, 3, [0.35, 0.65])
    assert (facts["fit_per_image_us"], facts["numpy_per_image_us"]) == (160, 400)
    assert findings == []
    for wanted, word in ((0.0, "run it again"), (1e6, "other programs")):
        monkeypatch.setattr(numpy_speed, "load", lambda: wanted)  # noqa: B023
        _, findings = taking(1.8, 2.0, 0.6)
        assert f"fit takes 0.90 of NumPy's time, where 0.4 is usual: {word}" in findings[0]
    with jax.enable_x64(True):
        assert "JAX_ENABLE_X64 is the likely cause" in taking(4.0)[1][0]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # the usual ratio is of CPUs
    assert taking(4.0)[1] == []


def test_the_speed_check_is_left_out_where_nothing_is_compiled():
    with jax.disable_jit():
        assert numpy_speed.speed(STARTS) == ({"left out": "JAX_DISABLE_JIT is on"}, [])

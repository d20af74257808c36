"""`nnjax doctor`: the facts of its report, and the findings for each problem."""

import json
import os
import subprocess
import sys
from collections import namedtuple

import jax
import numpy as np
import pytest

import nnjax
import reference
from nnjax.cli.doctor import command, devices, numpy_speed, paths, report, system, xla_flags
from nnjax.cli.doctor.report import examine, hide_paths
from nnjax.cli.doctor.xla_flags import StartProbe, probe_start
from nnjax.data import _cache, _sources
from nnjax.data._sources import FILES
from nnjax.runtime import limits

ARCHIVES = [file for pair in FILES.values() for file in pair]
JAX_STARTS = StartProbe([], {}, "")


@pytest.fixture
def quick(monkeypatch):
    """No new processes and no training."""
    monkeypatch.setattr(report, "probe_start", lambda xla_flags: JAX_STARTS)
    monkeypatch.setattr(numpy_speed, "_measure", lambda: (np.array([1.0]), np.array([2.5]), 3.25))


# --- the whole report ---


@pytest.mark.slow
def test_the_command_survives_an_unknown_flag_and_reports_every_problem_without_private_paths(tmp_path):
    home = tmp_path / "home"
    manual = _sources.manual_path("kmnist", home / "data")
    manual.mkdir(parents=True)
    (manual / ARCHIVES[1]).touch()
    (home / "file").touch()
    variables = {
        "HOME": str(home),
        "TFDS_DATA_DIR": str(home / "data"),
        "XDG_DATA_HOME": str(home / "share"),
        "XDG_CACHE_HOME": str(home / "file" / "cache"),
        "XLA_FLAGS": f"--xla_no_such_flag=1 --xla_dump_hlo_pass_re={tmp_path}/private word",
        "JAX_COORDINATOR_ADDRESS": "10.1.2.3:4",
    }
    process = subprocess.run(
        [sys.executable, "-m", "nnjax", "doctor", "--json"],
        env=os.environ | variables, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 1, process.stderr
    facts = json.loads(process.stdout)
    assert {flag: state.partition(":")[0] for flag, state in facts["xla_flags"].items()} == {
        "--xla_no_such_flag=1": "refused",
        "--xla_dump_hlo_pass_re=<path>": "accepted",
        "word": "ignored",
    }
    assert facts["devices"]["backend"] == jax.default_backend()
    assert facts["folders"]["cache"]["path"] == "~/file/cache/nnjax"
    assert not facts["folders"]["cache"]["writable"]
    assert facts["folders"]["models"]["writable"]
    assert 0 < facts["speed"]["ratio_to_numpy"] < 100
    assert facts["settings"]["JAX_COORDINATOR_ADDRESS"] == "set"
    findings = "\n".join(facts["findings"])
    assert "--xla_no_such_flag=1 in XLA_FLAGS" in findings
    assert "~/file/cache/nnjax, is not writable (Not a directory)" in findings
    assert f"kmnist must contain 4 files: add {ARCHIVES[0]}, {ARCHIVES[2]}, {ARCHIVES[3]}" in findings
    assert str(tmp_path) not in process.stdout
    assert not (home / "file" / "cache").exists()
    assert not (home / "share").exists()


def test_the_text_contains_every_value_of_the_json(run, capsys, quick, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/elsewhere")
    facts = examine(data_dir := tmp_path / "a folder")
    assert facts["data"]["folder"] == str(data_dir)
    assert facts["folders"]["data"]["path"] == str(data_dir / "mnist_family")
    monkeypatch.setattr(command, "examine", lambda data_dir: facts)
    assert run("doctor", "--json") == run("doctor") == bool(facts["findings"])
    output = capsys.readouterr().out
    printed, end = json.JSONDecoder().raw_decode(output)
    assert printed == facts

    def leaves(value):
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from leaves(item)
        elif value is not None and not isinstance(value, bool):
            yield str(value)

    assert [leaf for leaf in leaves(facts) if leaf not in output[end:]] == []


@pytest.mark.parametrize(("findings", "exit_code"), [([], 0), (["a problem"], 1)])
def test_the_exit_code_is_1_if_there_are_findings(run, capsys, monkeypatch, findings, exit_code):
    facts = {"versions": {"jax": "1"}, "xla_flags": {}, "findings": findings}
    monkeypatch.setattr(command, "examine", lambda data_dir: facts)
    assert run("doctor") == exit_code
    last = "findings\n  - a problem" if findings else "findings: none"
    assert capsys.readouterr().out == f"versions\n  jax  1\nxla_flags: none\n{last}\n"


@pytest.mark.parametrize("section", ["versions", "data", "folders", "speed"])
def test_an_error_in_a_section_is_a_finding_and_the_other_sections_are_examined(monkeypatch, quick, section):
    def fail(*args):
        raise PermissionError(13, "Permission denied", "/private/place")

    monkeypatch.setattr(report, "data_sets" if section == "data" else section, fail)
    facts = examine()
    message = "PermissionError: [Errno 13] Permission denied: '<path>'"
    assert facts[section] == {"error": message}
    assert f"{section} could not be examined: {message}" in facts["findings"]
    assert [name for name in facts if name != "findings" and "error" in facts[name]] == [section]
    json.dumps(facts)


@pytest.mark.slow
def test_the_other_sections_are_examined_if_jax_does_not_start(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "abacus")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    facts = examine()
    assert "jax does not start with JAX_PLATFORMS=abacus" in "\n".join(facts["findings"])
    assert "abacus" in facts["devices"]["error"]
    assert facts["speed"] == {"skipped": "jax does not start"}
    assert "not tried" in facts["xla_flags"]["--xla_cpu_enable_fast_math=false"]
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
def test_the_home_folder_is_a_tilde_and_only_paths_of_nnjax_are_shown(monkeypatch, text, shown):
    monkeypatch.setenv("HOME", "/home/me")
    visible = ["/data/mine", "/data/with space", "/mine/home/me", ""]
    assert hide_paths(text, visible) == shown
    assert hide_paths({text: [text, 1, None]}, visible) == {shown: [shown, 1, None]}


# --- XLA flags ---


def test_flags_are_split_as_xla_does_and_only_those_that_end_a_process_are_rejected(monkeypatch):
    monkeypatch.setattr(xla_flags, "_start_error", lambda flags: "no" if "bad" in flags else "")
    probe = probe_start("--bad=1 word --xla_a='x y' --xla_b --worse_bad")
    assert probe.flags == ["--bad=1", "word", "--xla_a='x y'", "--xla_b", "--worse_bad"]
    assert probe.refused == {"--bad=1": "no", "--worse_bad": "no"}
    assert probe.accepted == "--xla_a='x y' --xla_b"
    facts, findings = xla_flags.flags(probe)
    assert facts["--bad=1"] == "refused: no"
    assert facts["--xla_a='x y'"] == "accepted"
    assert len(findings) == 3
    assert probe_start("--fine") == StartProbe(["--fine"], {}, "")
    assert probe_start("") == JAX_STARTS
    assert probe_start("a bad file").refused == {"a bad file": "no"}


def test_flags_that_end_a_process_only_together_are_rejected_together(monkeypatch):
    monkeypatch.setattr(xla_flags, "_start_error", lambda flags: "no" if " " in flags else "")
    assert probe_start("--a --b").refused == {"--a": "no", "--b": "no"}


@pytest.mark.parametrize(
    ("exit_code", "stderr", "reason"),
    [
        (0, "W0101 a.cc:1] a warning", ""),
        (-11, "", "exit code -11"),
        (3, "W0101 a.cc:1] a warning", "exit code 3"),
        (1, "W0101 a.cc:1] a warning\nF0101 b.cc:2] the end\nmore", "the end"),
        (1, "Traceback (most recent call last):\n a\nRuntimeError: no device", "RuntimeError: no device"),
        (
            1,
            "Traceback (most recent call last):\n  a\nAssertionError\n",
            "jax finds no device of this platform",
        ),
    ],
)
def test_the_reason_of_a_failed_start(exit_code, stderr, reason):
    assert xla_flags._failure_reason(exit_code, stderr) == reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", "exit code -11"),
        ('echo "F0101 b.cc:2] $XLA_FLAGS" >&2; exit 1', "--a=1"),
        ("exec sleep 9", "jax does not find its devices within 0.5 s"),
        ("exit 0", ""),
    ],
)
def test_a_start_that_crashes_or_hangs_ends_only_the_new_process(monkeypatch, tmp_path, script, reason):
    (python := tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(xla_flags, "PROBE_TIMEOUT_S", 0.5)
    assert xla_flags._start_error("--a=1") == reason


# --- devices, settings, versions ---


@pytest.mark.parametrize(("platforms", "is_finding"), [(None, True), ("cpu", False)])
def test_a_gpu_driver_without_the_cuda_plugin_is_a_finding_unless_the_cpu_is_chosen(
    monkeypatch, platforms, is_finding
):
    monkeypatch.setattr(devices.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(devices, "jax_setting", {"platforms": platforms}.get)
    facts, findings = devices.devices(JAX_STARTS)
    assert facts["nvidia_driver"]
    assert ("jax[cuda" in "\n".join(findings)) == is_finding


@pytest.mark.parametrize(
    ("limit", "nproc", "num_findings"),
    [(2.0, None, 1), (16.0, None, 0), (None, None, 0), (2.0, "2", 0)],
)
def test_more_threads_than_a_container_may_use_are_a_finding(monkeypatch, limit, nproc, num_findings):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(devices, "jax_setting", {"platforms": "cpu"}.get)
    monkeypatch.setattr(limits, "cores", lambda: 16)
    monkeypatch.setattr(limits.ControlGroups, "cpu_limit", lambda self: limit)
    monkeypatch.delenv("NPROC", raising=False)
    if nproc:
        monkeypatch.setenv("NPROC", nproc)
    findings = devices.devices(JAX_STARTS).findings
    assert len(findings) == num_findings
    assert all("XLA starts 16 threads" in finding and "set NPROC=2" in finding for finding in findings)


def test_debug_settings_float64_and_misspelled_settings_are_findings(monkeypatch):
    for name, value in {
        "JAX_DEBUG_NAN": "1",
        "JAX_PLATFORM_NAME": "cpu",  # not in jax.config, but jax reads it
        "NPROC": "2",
        "SECRET": "s",
    }.items():
        monkeypatch.setenv(name, value)
    with jax.enable_x64(True), jax.debug_nans(True):
        facts, findings = system.settings()
    assert facts["JAX_PLATFORM_NAME"] == "cpu"
    assert facts["NPROC"] == "2"
    assert facts["x64"] is True
    assert "SECRET" not in facts
    messages = "\n".join(findings)
    assert "jax does not know it: did you mean JAX_DEBUG_NANS?" in messages
    assert "JAX_DEBUG_NANS is on" in messages
    assert "JAX_ENABLE_X64 is on" in messages
    assert len(findings) == 3


def test_missing_packages_and_versions_out_of_range_are_findings(monkeypatch):
    requirements = ["jax>=99", "numpy>=1", "no-such-package>=1,<2", 'pytest<1; extra == "dev"']
    monkeypatch.setattr(system, "requires", lambda name: requirements)
    facts, findings = system.versions()
    assert facts == facts | {"jax": jax.__version__, "numpy": np.__version__, "no-such-package": "missing"}
    assert "pytest" not in facts
    assert findings == [
        f'jax must be >=99, got {jax.__version__}: run pip install "jax>=99"',
        'no-such-package is not installed: run pip install "no-such-package<2,>=1"',
    ]


# --- data and folders ---


def touch(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).touch()


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_missing_files_are_named_if_the_others_were_put_there_by_hand(tmp_path, count):
    touch(_sources.manual_path("mnist", tmp_path), ARCHIVES[:count])
    facts, findings = paths.data_sets(tmp_path)
    assert facts["mnist"]["manual_files"] == f"{count} of 4"
    assert len(findings) == (0 < count < 4)
    assert all((file in "\n".join(findings)) == (0 < count <= i) for i, file in enumerate(ARCHIVES))
    touch(tmp_path / "downloads" / "manual", ARCHIVES)  # another folder in which `load` looks for MNIST
    assert paths.data_sets(tmp_path).findings == []


def test_a_damaged_cache_and_an_interrupted_preparation_are_findings(tmp_path):
    cache = _sources.cache_path("mnist", tmp_path)
    cache.parent.mkdir(parents=True)
    assert paths.data_sets(tmp_path).findings == [
        f"mnist: its preparation was interrupted: delete {cache.parent}"
    ]
    cache.write_bytes(b"damaged")
    facts, findings = paths.data_sets(tmp_path)
    assert facts["mnist"]["decoded"] == "damaged"
    assert len(findings) == 1
    assert "is damaged: run nnjax data prepare mnist" in findings[0]
    _cache.write_cache(cache, {"x": np.arange(3)})
    facts, findings = paths.data_sets(tmp_path)
    assert facts["mnist"]["decoded"] is True
    assert findings == []
    touch(_sources.manual_path("mnist", tmp_path), ARCHIVES[:1])  # a decoded data set does not need them
    assert paths.data_sets(tmp_path).findings == []


def test_a_nearly_full_disk_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda path: namedtuple("usage", "free")(0.4e9))
    facts, findings = paths.folders(tmp_path)
    path = str(tmp_path / "mnist_family")
    assert facts["data"] == {"path": path, "free_gb": 0.4, "writable": True}
    assert len(findings) == 1
    assert "less than 1 GB is free on the disk of data, models, cache" in findings[0]


# --- speed ---


def test_numpy_computes_the_step_of_the_reference():
    """On a single mini-batch, in which the order of the examples does not matter."""
    n, rng = numpy_speed.BATCH_SIZE, np.random.default_rng(1)
    images = (rng.integers(0, 256, (n, 784)) * (rng.random((n, 784)) < 0.2)).astype(np.uint8)
    labels = np.arange(n) % 10
    network = numpy_speed.NumpyNetwork(nnjax.Dataset.from_arrays((images, labels)), rng)
    w1, b1, w2, b2 = (p.copy() for p in network.params)
    assert network.train_epoch() > 0
    expected = reference.descend(
        [(w1, b1), (w2, b2)], images / 255, np.eye(10)[labels], numpy_speed.LEARNING_RATE
    )
    w1, b1, w2, b2 = network.params
    assert reference.distance([(w1, b1), (w2, b2)], expected) < 1e-12


@pytest.fixture
def speed_of(monkeypatch):
    """The section of speed if epochs of `fit` take these seconds, and those of NumPy 2 s each."""
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")

    def section(*seconds):
        times = np.array(seconds), np.full(len(seconds), 2.0), 1.0
        monkeypatch.setattr(numpy_speed, "_measure", lambda: times)
        return numpy_speed.speed(JAX_STARTS)

    return section


def test_the_ratio_to_numpy_is_the_median_of_the_epochs(speed_of):
    facts, findings = speed_of(1.8, 0.8, 0.6)
    assert (facts["ratio_to_numpy"], facts["epochs"]) == (0.4, 3)
    assert (facts["fit_per_image_us"], facts["numpy_per_image_us"]) == (160, 400)
    assert findings == []


def test_a_slow_fit_on_a_cpu_is_a_finding_with_the_likely_cause(speed_of, monkeypatch):
    for load, advice in ((0.0, "run nnjax doctor again"), (1e6, "stop other programs")):
        monkeypatch.setattr(numpy_speed, "load_average", lambda load=load: load)
        findings = speed_of(1.8, 2.0, 0.6).findings
        assert f"fit takes 0.90 times as long as NumPy, usually 0.4: {advice}" in findings[0]
    with jax.enable_x64(True):
        assert "unset JAX_ENABLE_X64" in speed_of(4.0).findings[0]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # the usual ratio holds for CPUs only
    assert speed_of(4.0).findings == []


def test_speed_is_not_measured_without_compilation():
    with jax.disable_jit():
        assert numpy_speed.speed(JAX_STARTS) == ({"skipped": "JAX_DISABLE_JIT is on"}, [])

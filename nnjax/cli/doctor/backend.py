"""What jax starts with: XLA's flags, tried before they can end this process, and the devices."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nnjax.cli.doctor.environment import cpus_granted, of_jax
from nnjax.runtime.environment import cores

PROBE_TIMEOUT_S = 60  # seconds in which jax should have found its devices

# As XLA parts them: at spaces outside quotes.
_FLAG = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
# A line of XLA's log: severity (of a warning, an error, an end), date, time, thread, place] text.
_SAID = re.compile(r"(?m)^([WEF])\d{4} .*?\] (.*)")


class Start(NamedTuple):
    """How jax starts with the flags of XLA_FLAGS, as processes of their own have shown.

    Attributes:
      flags: all of them, as XLA parts them.
      refused: those with which XLA ends the process, and why.
      said: what XLA logs of the others.
      error: why jax does not start even without flags, or "".
    """

    flags: list[str]
    refused: dict[str, str]
    said: list[str]
    error: str

    @property
    def accepted(self) -> str:
        """What can be left in XLA_FLAGS."""
        return " ".join(flag for flag in self.flags if flag.startswith("-") and flag not in self.refused)


def try_start(value: str) -> Start:
    """Start jax elsewhere: with the flags in `value`, and where that fails with each of them alone."""
    flags = _FLAG.findall(value) if value.startswith("-") else [value] * bool(value)
    error, said = _start(value)
    if not error or not flags:
        return Start(flags, {}, said, error)
    error, _ = _start("")
    if error:
        return Start(flags, {}, [], error)
    alone = {flag: _start(flag)[0] for flag in flags if flag == flags[0] or flag.startswith("-")}
    start = Start(flags, {flag: why for flag, why in alone.items() if why}, [], "")
    error, said = _start(start.accepted)
    return start._replace(refused=dict.fromkeys(alone, error)) if error else start._replace(said=said)


def _start(flags: str) -> tuple[str, list[str]]:
    """Why a new process in which jax looks for its devices fails, or ""; and what XLA logs."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    try:
        out = subprocess.run(
            [sys.executable, "-P", "-c", "import jax; jax.devices()"],
            # jax has set the log's level for the processes that this one starts, and it hides warnings.
            env=environment | {"TF_CPP_MIN_LOG_LEVEL": "0"} | ({"XLA_FLAGS": flags} if flags else {}),
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, timeout=PROBE_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}, in a process of its own", []
    said = _SAID.findall(out.stderr)
    if out.returncode == 0:
        return "", [line for _, line in said]
    if "Traceback" in out.stderr:
        why = out.stderr.strip().splitlines()[-1]
        return why if why != "AssertionError" else "it finds no device of that platform", []
    return next((line for severity, line in said if severity != "W"), f"exit code {out.returncode}"), []


def flags(start: Start) -> tuple[dict[str, Any], list[str]]:
    """What becomes of each XLA flag: one that is accepted is known to XLA, and may yet have no effect."""
    facts, findings = {}, []
    for flag in start.flags:
        name = flag.lstrip("-").partition("=")[0]
        said = [line for line in start.said if re.search(rf"\b{re.escape(name)}\b", line)]
        if flag in start.refused:
            facts[flag] = f"refused: {start.refused[flag]}"
            findings.append(f"XLA ends every program that has {flag} in XLA_FLAGS: take it out")
        elif start.error:
            facts[flag] = "not tried: jax does not start without it either"
        elif flag != start.flags[0] and not flag.startswith("-"):
            facts[flag] = "ignored: it does not begin with --"
            findings.append(f"XLA ignores {flag!r} in XLA_FLAGS: flags are written --name=value")
        elif said:
            facts[flag] = f"accepted, but XLA says: {said[0]}"
            findings.append(f"of {flag} in XLA_FLAGS XLA says: {said[0]}")
        elif name.startswith("xla_gpu_") and jax.default_backend() == "cpu":
            facts[flag] = "accepted, but of no use: it is for GPUs, and jax computes on the CPU"
        elif re.fullmatch("--xla_cpu_multi_thread_eigen=(false|0)", flag) and _share_of_threads() > 0.2:
            facts[flag] = "ignored: XLA's threads share a large product of matrices all the same"
            findings.append(f"this jaxlib ignores {flag} in XLA_FLAGS: NPROC=1 keeps XLA to one thread")
        else:
            facts[flag] = "accepted"
    return facts, findings


def _share_of_threads() -> float:
    """What share of large products of matrices XLA's pool of threads computes; 0 where that is not told."""
    a, multiply = jnp.ones((2000, 2000), jnp.float32), jax.jit(jnp.matmul)
    multiply(a, a).block_until_ready()
    began, pool_began = time.process_time(), _seconds_of_pool()
    for _ in range(5):
        multiply(a, a).block_until_ready()
    return (sum(_seconds_of_pool()) - sum(pool_began)) / (time.process_time() - began)


def _seconds_of_pool() -> list[float]:
    """What each thread of XLA's pool for the CPU has computed; Linux alone tells it."""
    seconds = []
    for path in Path("/proc/self/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # the thread has ended
            _, ours, told = path.read_text().partition("(tf_XLAEigen)")
            if ours:
                seconds.append(sum(map(int, told.split()[11:13])) / os.sysconf("SC_CLK_TCK"))
    return seconds


def devices(start: Start) -> tuple[dict[str, Any], list[str]]:
    """What jax computes on, and with how many threads."""
    if start.error:
        asked = os.environ.get("JAX_PLATFORMS")
        told = f"jax does not start{f' with JAX_PLATFORMS={asked}' if asked else ''}: {start.error}"
        return {"error": start.error}, [told]
    found = jax.local_devices()
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in found]
    facts = {
        "backend": jax.default_backend(),
        "devices": dict(Counter(device.device_kind for device in found)),
        "memory_gb": [round(limit / 1e9, 1) for limit in limits if limit],
        "processes": jax.process_count(),
        "threads_of_xla": len(_seconds_of_pool()) or None,
        "nvidia_driver": any(Path("/dev").glob("nvidia[0-9]*")) or bool(shutil.which("nvidia-smi")),
    }
    findings = []
    on_cpu = facts["backend"] == "cpu"
    if on_cpu and facts["nvidia_driver"] and not (of_jax("platforms") or "").startswith("cpu"):
        findings.append(
            "an NVIDIA driver is there, but jax computes on the CPU: it takes jax's plugin for CUDA, "
            'as pip install "jax[cuda13]" brings it'
        )
    granted, threads = cpus_granted(), facts["threads_of_xla"]
    if on_cpu and granted and threads and threads > max(granted, 1) + 0.5:
        findings.append(
            f"XLA started {threads} threads where this container is granted the time of {granted:g} cores: "
            f"NPROC={max(round(granted), 1)} keeps it to that"
        )
    if cores() == 1:
        findings.append("there is one core only: everything works, but more slowly")
    return facts, findings

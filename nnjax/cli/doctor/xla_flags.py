"""XLA flags, tried in a new process because XLA ends a process that sets an unknown flag."""

import os
import re
import subprocess
import sys
from typing import NamedTuple

from nnjax.cli.doctor.section import Section

PROBE_TIMEOUT_S = 60

# XLA splits the variable at spaces outside quotes.
_FLAG = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
# An error or a fatal error in XLA's log: severity, date, time, thread, file and line] message.
_LOGGED_ERROR = re.compile(r"(?m)^[EF]\d{4} .*?\] (.*)")


class StartProbe(NamedTuple):
    """How jax starts with the flags in XLA_FLAGS.

    Attributes:
      flags: the flags in their order.
      refused: the flags with which jax does not start, each with the reason.
      error: why jax does not start without flags either, or "".
    """

    flags: list[str]
    refused: dict[str, str]
    error: str

    @property
    def accepted(self) -> str:
        """A value for XLA_FLAGS with which jax starts."""
        return " ".join(flag for flag in self.flags if flag.startswith("-") and flag not in self.refused)


def probe_start(xla_flags: str) -> StartProbe:
    """Starts jax in new processes: with all flags and, if that fails, with each flag alone.

    Args:
      xla_flags: the value of XLA_FLAGS. If it does not begin with a hyphen, it is the name of a file.
    """
    flags = _FLAG.findall(xla_flags) if xla_flags.startswith("-") else [xla_flags] * bool(xla_flags)
    error = _start_error(xla_flags)
    if not error or not flags:
        return StartProbe(flags, {}, error)
    if error := _start_error(""):
        return StartProbe(flags, {}, error)
    reasons = {flag: _start_error(flag) for flag in flags if flag == flags[0] or flag.startswith("-")}
    probe = StartProbe(flags, {flag: reason for flag, reason in reasons.items() if reason}, "")
    if error := _start_error(probe.accepted):  # each flag is accepted alone, but not all of them together
        return probe._replace(refused=dict.fromkeys(reasons, error))
    return probe


def _start_error(xla_flags: str) -> str:
    """Why a new process with these flags fails to list jax's devices, or ""."""
    environment = os.environ | {"XLA_FLAGS": xla_flags, "TF_CPP_MIN_LOG_LEVEL": "1"}  # 1: errors are logged
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-c", "import jax; jax.devices()"],
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"jax does not find its devices within {PROBE_TIMEOUT_S:g} s"
    except OSError as error:
        return f"no new process can be started: {error.strerror}"
    return _failure_reason(process.returncode, process.stderr)


def _failure_reason(exit_code: int, stderr: str) -> str:
    """Why a process that starts jax failed, from its exit code and standard error; "" if it succeeded."""
    if exit_code == 0:
        return ""
    if "Traceback" in stderr:
        reason = stderr.strip().splitlines()[-1]
        # jax raises this if JAX_PLATFORMS names a known platform that has no plugin.
        return "jax finds no device of this platform" if reason == "AssertionError" else reason
    logged = _LOGGED_ERROR.search(stderr)
    return logged[1] if logged else f"exit code {exit_code}"


def flags(probe: StartProbe) -> Section:
    """The section of XLA's flags. An accepted flag is known to XLA, but it may have no effect."""
    facts, findings = {}, []
    for i, flag in enumerate(probe.flags):
        if flag in probe.refused:
            facts[flag] = f"refused: {probe.refused[flag]}"
            findings.append(
                f"jax does not start with {flag} in XLA_FLAGS ({probe.refused[flag]}): remove the flag"
            )
        elif probe.error:
            facts[flag] = "not tried: jax does not start without flags either"
        elif i > 0 and not flag.startswith("-"):
            facts[flag] = "ignored: it does not begin with --"
            findings.append(f"XLA ignores {flag!r} in XLA_FLAGS: write flags as --name=value")
        else:
            facts[flag] = "accepted"
    return Section(facts, findings)

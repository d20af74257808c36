"""The devices that jax computes on."""

import os
import shutil
from collections import Counter
from pathlib import Path

import jax

from nnjax.cli.doctor.section import Section
from nnjax.cli.doctor.system import jax_setting
from nnjax.cli.doctor.xla_flags import StartProbe
from nnjax.runtime.limits import ControlGroups, xla_threads


def devices(probe: StartProbe) -> Section:
    """The section of the devices. Findings: jax does not start, an unused GPU, too many threads."""
    if probe.error:
        platforms = os.environ.get("JAX_PLATFORMS")
        setting, action = (f" with JAX_PLATFORMS={platforms}", ": unset it") if platforms else ("", "")
        return Section({"error": probe.error}, [f"jax does not start{setting} ({probe.error}){action}"])
    local, on_cpu = jax.local_devices(), jax.default_backend() == "cpu"
    memory = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in local]
    has_nvidia_driver = any(Path("/dev").glob("nvidia[0-9]*")) or bool(shutil.which("nvidia-smi"))
    facts = {
        "backend": jax.default_backend(),
        "devices": dict(Counter(device.device_kind for device in local)),
        "memory_gb": [round(limit / 1e9, 1) for limit in memory if limit],
        "nvidia_driver": has_nvidia_driver,
    }
    findings = []
    if on_cpu and has_nvidia_driver and not (jax_setting("platforms") or "").startswith("cpu"):
        findings.append(
            "an NVIDIA driver is installed, but jax computes on the CPU: "
            'install the CUDA plugin with pip install "jax[cuda13]"'
        )
    limit, threads = ControlGroups().cpu_limit(), xla_threads()
    if on_cpu and limit and threads > max(limit, 1) + 0.5:
        findings.append(
            f"XLA starts {threads} threads, but this container may use the time of {limit:g} cores: "
            f"set NPROC={max(round(limit), 1)}"
        )
    return Section(facts, findings)

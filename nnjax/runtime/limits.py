"""What this process may use of the machine: cores, threads and memory.

The limits of a container or a batch job are those of Linux control groups, version 2.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ControlGroups:
    """The control group of a process and the groups that contain it.

    Attributes:
      root: the directory in which control groups are mounted.
      process_group: the file that names the group of the process.
    """

    root: Path = Path("/sys/fs/cgroup")
    process_group: Path = Path("/proc/self/cgroup")

    def directories(self) -> Iterator[Path]:
        """The directory of the group, then those of the groups that contain it."""
        if not self.process_group.exists():
            return
        lines = self.process_group.read_text().splitlines()
        path = next((line.removeprefix("0::").strip("/") for line in lines if line.startswith("0::")), "")
        for directory in (self.root / path, *(self.root / path).parents):
            if directory.is_relative_to(self.root):
                yield directory

    def cpu_limit(self) -> float | None:
        """The number of cores whose time the groups allow; None without a limit."""
        files = (directory / "cpu.max" for directory in self.directories())
        limits = (file.read_text().split() for file in files if file.exists())
        cores = [int(quota) / int(period) for quota, period in limits if quota != "max"]
        return round(min(cores), 2) if cores else None

    def memory(self) -> tuple[float, float]:
        """The bytes that the groups allow in total, and those that are left; infinite without a limit.

        The cache of files that were not used lately counts as free, because the system can drop it.
        """
        total = free = math.inf
        for directory in self.directories():
            limit, used, statistics = (directory / f"memory.{name}" for name in ("max", "current", "stat"))
            if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
                lines = statistics.read_text().splitlines() if statistics.exists() else []
                cache = next((int(x.split()[1]) for x in lines if x.startswith("inactive_file ")), 0)
                total = min(total, int(text))
                free = min(free, max(int(text) - int(used.read_text()) + cache, 0))
        return total, free


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def xla_threads() -> int:
    """The number of threads that XLA starts on a CPU: $NPROC, or one for each core."""
    nproc = os.environ.get("NPROC", "")
    return int(nproc) if nproc.isdigit() and int(nproc) else cores()


def num_threads() -> int:
    """The default number of threads of a sweep: that of XLA, but at most the CPU limit; at least 1."""
    limit = ControlGroups().cpu_limit()
    return max(1, min(xla_threads(), round(limit) if limit else cores()))


def total_memory() -> int:
    """The bytes of memory that this process may use in total."""
    total, _ = ControlGroups().memory()
    return int(min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), total))


def available_memory() -> int:
    """The bytes that this process can still allocate.

    If the system does not report what is available, all memory counts as available.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return total_memory()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    _, free = ControlGroups().memory()
    return int(min(available, free))

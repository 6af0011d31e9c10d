"""What the figures were measured on."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("aiohttp", "uvloop", "grpcio", "protobuf", "chdb", "clickhouse-connect")


def cores() -> tuple[int, int]:
    """Return (the client's core, the server's core) of those that we may use; the same one where there is one only."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def facts(journal_directory: Path) -> dict[str, object]:
    """Return the machine's facts."""
    return {
        "cpu": _cpu_model(),
        "core_count": os.cpu_count(),
        "usable_cores": sorted(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "journal_file_system": _file_system(journal_directory),
        "load_average_before": os.getloadavg(),
    }


def busy_share(seconds: float = 1.0) -> float:
    """Return how much of all cores others use while we do nothing: with much of it, figures mean little."""
    before = _busy_and_total()
    time.sleep(seconds)
    after = _busy_and_total()
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def _busy_and_total() -> tuple[int, int]:
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _file_system(path: Path) -> str:
    """Return type and device of the file system that holds ``path``: on a tmpfs a sync costs nothing."""
    best = ("", "")
    for line in Path("/proc/mounts").read_text().splitlines():
        device, mount, kind = line.split()[:3]
        if path.resolve().is_relative_to(mount) and len(mount) > len(best[0]):
            best = (mount, f"{kind} on {device}")
    return best[1]

"""Memory of a gateway worker that answers a million clicks while nobody takes them off its hands."""

from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.run import SERVER_CORE, BenchError, Pace, answering, clicks, free_port, load, running
from tests.mesh.gateway_alone import gateway_alone
from tests.mesh.process import Process

MIB = 1024 * 1024
MOST_MIB = 150
_STEPS = 10


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Send with capture_svc down: every event stays in the journal."""
    port = free_port()
    gateway = gateway_alone(directory, port, core=SERVER_CORE)
    async with running(gateway):
        await answering(port)
        at_start = rss_mib(gateway)
        samples: list[tuple[int, float]] = []
        event_count, rate = 0, 0.0
        while event_count < pace.memory_event_count:
            seconds = pace.memory_event_count / _STEPS / rate if rate else 0.5
            report = await load(clicks(port, seconds=seconds, warmup_seconds=0.0))
            event_count, rate = event_count + report.answered_count, report.rate
            samples.append((event_count, rss_mib(gateway)))
    return [memory_figure("gateway RSS, ClickHouse down", at_start, samples)]


def rss_mib(process: Process) -> float:
    """Return the resident memory of a process."""
    return process.usage().rss_bytes / MIB


def memory_figure(name: str, at_start: float, samples: list[tuple[int, float]]) -> Figure:
    """Return the figure of a worker whose memory was looked at after so many events, the most of them last."""
    if not samples:
        raise BenchError("memory was never looked at")
    event_count, at_end = samples[-1]
    most = max(rss for _, rss in samples)
    return Figure(
        name=name,
        measured=f"{at_end:.0f} MiB after {event_count:,} events",
        comparison=f"{at_start:.0f} MiB at start, {samples[0][1]:.0f} after {samples[0][0]:,}",
        result=f"{most:.0f} MiB at most",
        wanted=f"< {MOST_MIB} MiB, flat",
        is_met=most < MOST_MIB,
        details={"at_start_mib": at_start, "samples": samples},
    )

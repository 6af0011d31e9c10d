"""The whole mesh on this machine: what it sustains without a growing backlog, and what that costs."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import linear_regression

from tests.bench.figure import Figure
from tests.bench.load import Report
from tests.bench.memory import MIB, memory_figure, rss_mib
from tests.bench.run import BenchError, Pace, clicks, load
from tests.mesh.mesh import Mesh
from tests.mesh.process import Usage
from trellisctl.up.plan import POSTGRES

_FIRST_SHARE = 0.6
"""Of what the mesh takes in a closed loop, before anything is caught up with."""
_STEP = 0.75
_MOST_TRIES = 6
_STEADY_GROWTH = 0.01
"""A backlog that grows by less than this share of the arrivals is steady: it sways with batches and merges."""
_CATCH_UP_SECONDS = 60.0
_SAMPLE_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """The mesh under a constant rate."""

    rate: float
    report: Report
    backlog: list[tuple[float, float]]
    """(Seconds, events that wait in the journal), sampled."""
    seconds: float
    usage: Mapping[str, tuple[float, float]]
    """(Share of one core, RSS in MiB) by process."""

    @property
    def growth(self) -> float:
        """Events per second by which the backlog grew."""
        # The first second fills the pipe.
        settled = [(at, count) for at, count in self.backlog if at > 1.0]
        return linear_regression(*zip(*settled, strict=True)).slope if len(settled) > 2 else 0.0

    @property
    def is_steady(self) -> bool:
        """True when everything was answered and the backlog did not grow."""
        return not self.report.errors and self.growth < self.rate * _STEADY_GROWTH


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Look for a rate that the mesh sustains, hold it, and go on to a million events for the gateway's memory."""
    mesh = await Mesh.plan(directory)
    try:
        await mesh.start(POSTGRES)
        await mesh.wait_ready(POSTGRES)
        await mesh.start()
        await mesh.wait_ready()
        await mesh.seed()
        at_start = rss_mib(mesh["gateway-0"])
        samples: list[tuple[int, float]] = []
        run = await _sustained(mesh, pace, samples)
        await _up_to_a_million(mesh, run.rate, pace, samples)
    finally:
        mesh.kill()
    return [_figure(run), memory_figure("gateway RSS, whole mesh up", at_start, samples)]


async def _sustained(mesh: Mesh, pace: Pace, samples: list[tuple[int, float]]) -> Run:
    closed = await load(clicks(mesh.http_port, core=None, seconds=pace.probe_seconds / 2))
    rate = closed.rate * _FIRST_SHARE
    for _ in range(_MOST_TRIES):
        await _caught_up(mesh, rate)
        samples.append(await _memory(mesh))
        if (await _hold(mesh, rate, pace.probe_seconds)).is_steady:
            await _caught_up(mesh, rate)
            run = await _hold(mesh, rate, pace.mesh_seconds)
            if run.is_steady:
                return run
        rate *= _STEP
    raise BenchError(f"the backlog grows even at {rate / _STEP:,.0f} clicks/s")


async def _hold(mesh: Mesh, rate: float, seconds: float) -> Run:
    """Send at a rate; meanwhile look at the backlog."""
    before, began = _usages(mesh), time.monotonic()
    plan = clicks(mesh.http_port, core=None, rate=rate, connection_count=512, seconds=seconds, warmup_seconds=0.5)
    sending = asyncio.create_task(load(plan, may_fail=True))
    backlog = []
    while not sending.done():
        backlog.append((time.monotonic() - began, await _backlog(mesh)))
        await asyncio.wait({sending}, timeout=_SAMPLE_SECONDS)
    took, after = time.monotonic() - began, _usages(mesh)
    usage = {
        name: ((after[name].cpu_seconds - before[name].cpu_seconds) / took, after[name].rss_bytes / MIB)
        for name in before
    }
    return Run(rate, sending.result(), backlog, took, usage)


def _usages(mesh: Mesh) -> dict[str, Usage]:
    return {name: process.usage() for name, process in mesh.processes.items()}


async def _backlog(mesh: Mesh) -> float:
    return (await mesh.metrics()).get("journal_pending_events", 0.0)


async def _caught_up(mesh: Mesh, rate: float) -> None:
    """Wait until no more waits than arrives in a second."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while (waiting := await _backlog(mesh)) > rate:
        if time.monotonic() > deadline:
            raise BenchError(f"{waiting:,.0f} events still wait after {_CATCH_UP_SECONDS:g} s without arrivals")
        await asyncio.sleep(0.2)


async def _memory(mesh: Mesh) -> tuple[int, float]:
    """Return how many events the gateway has written, and its RSS."""
    return int((await mesh.metrics()).get("journal_events_total", 0.0)), rss_mib(mesh["gateway-0"])


async def _up_to_a_million(mesh: Mesh, rate: float, pace: Pace, samples: list[tuple[int, float]]) -> None:
    samples.append(await _memory(mesh))
    while (left := pace.memory_event_count - samples[-1][0]) > 0:
        seconds = min(10.0, left / rate + 0.5)
        plan = clicks(mesh.http_port, core=None, rate=rate, connection_count=512, seconds=seconds, warmup_seconds=0.0)
        await load(plan, may_fail=True)
        samples.append(await _memory(mesh))


def _figure(run: Run) -> Figure:
    report = run.report
    by_share = sorted(run.usage.items(), key=lambda item: -item[1][0])
    return Figure(
        name=f"whole mesh, sustained for {report.seconds:.0f} s",
        measured=f"{report.rate:,.0f}/s, p99 {report.p99_ms:.1f} ms",
        comparison=f"backlog {run.growth:+,.0f} events/s",
        result="steady",
        notes=(
            *(f"{name} {cpu:.0%} of a core, {rss:.0f} MiB" for name, (cpu, rss) in by_share),
            f"load generator {report.cpu_share:.0%} of a core",
        ),
        details={
            "report": dataclasses.asdict(report),
            "backlog": run.backlog,
            "growth": run.growth,
            "usage": {name: {"cpu_share": cpu, "rss_mib": rss} for name, (cpu, rss) in run.usage.items()},
        },
    )

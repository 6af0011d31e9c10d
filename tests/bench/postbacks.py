"""Postbacks: what the whole mesh keeps of them as conversions, each order once, and how fast a backlog is read."""

import asyncio
import contextlib
import dataclasses
import os
import time
from pathlib import Path

import asyncpg

from tests.bench.figure import Figure
from tests.bench.load import Plan, Report
from tests.bench.run import BenchError, Pace, load
from tests.mesh.mesh import ATTRIBUTION, Mesh
from trellisctl import demo
from trellisctl.up.plan import POSTGRES

LEAST_RATE = 1_000.0
_RATE = 1_500.0
_REPEATED = 5
"""Of so many postbacks one is another report of an order."""
_CATCH_UP_SECONDS = 120.0
_LOOK_SECONDS = 0.05
_COUNTS = "SELECT (SELECT count(*) FROM conversion_events), (SELECT count(*) FROM conversions WHERE merged_into = '')"


@dataclasses.dataclass(frozen=True, slots=True)
class Sustained:
    """Postbacks at a constant rate."""

    report: Report
    sent_count: int
    behind_seconds: float
    """From the last answer until all were kept."""
    order_count: int
    kept_count: int
    kept_rate: float
    """Postbacks a second from the first that was sent to the last that was kept."""
    cpu_us: dict[str, float]
    """CPU time for each postback, by process: what others do on the machine changes it less than the rate."""


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Measure from the outside, over HTTP, and count in PostgreSQL."""
    mesh = await Mesh.plan(directory)
    seconds = pace.mesh_seconds / 3
    try:
        await mesh.start(POSTGRES)
        await mesh.wait_ready(POSTGRES)
        await mesh.start()
        await mesh.wait_ready()
        await mesh.seed()
        sustained = await _sustained(mesh, seconds)
        drained, count = await _drained(mesh, seconds)
    finally:
        mesh.kill()
    return [_sustained_figure(sustained), _drained_figure(drained, count)]


def postback_requests(name: str, count: int) -> tuple[str, ...]:
    """Return postbacks of orders, some of which are reported again."""
    queries = (
        f"k={demo.PUBLISHABLE_KEY}&txid={name}{number - (number % _REPEATED == 0)}&click_id=c{name}{number % 997}"
        "&status=approved&payout=12.50&currency=USD&source=adnet"
        for number in range(count)
    )
    return tuple(f"GET /postback?{query} HTTP/1.1\r\nHost: {demo.HOST}\r\n\r\n" for query in queries)


def _plan(mesh: Mesh, name: str, seconds: float, rate: float) -> Plan:
    # The generator begins again with the first one when it has sent all: there are more than it sends.
    requests = postback_requests(name, int(rate * (seconds + 2)))
    return Plan(
        port=mesh.http_port,
        requests=requests,
        status=200,
        body="OK",
        rate=rate,
        seconds=seconds,
        warmup_seconds=0.0,
        connection_count=128,
    )


async def _counts(mesh: Mesh) -> tuple[int, int]:
    """Return how many events and how many conversions are kept."""
    connection = await asyncpg.connect(mesh[ATTRIBUTION].launch.environment["ATTRIBUTION_POSTGRES_DSN"])
    try:
        (row,) = await connection.fetch(_COUNTS)
    finally:
        await connection.close()
    return row[0], row[1]


async def _until_kept(mesh: Mesh, count: int) -> int:
    """Wait until so many events are kept; return how many conversions are."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while (counts := await _counts(mesh))[0] < count:
        if time.monotonic() > deadline:
            raise BenchError(f"{counts[0]} of {count} postbacks are kept after {_CATCH_UP_SECONDS:g} s")
        await asyncio.sleep(_LOOK_SECONDS)
    return counts[1]


async def _sustained(mesh: Mesh, seconds: float) -> Sustained:
    before = _cpu_seconds(mesh)
    began = time.monotonic()
    report = await load(_plan(mesh, "a", seconds, _RATE), may_fail=True)
    answered = time.monotonic()
    sent = report.answered_count
    kept = await _until_kept(mesh, sent)
    took = time.monotonic() - began
    cpu_us = {name: (seconds - before[name]) / sent * 1e6 for name, seconds in _cpu_seconds(mesh).items()}
    orders = sum(1 for number in range(sent) if number % _REPEATED or not number)
    return Sustained(report, sent, began + took - answered, orders, kept, sent / took, cpu_us)


def _cpu_seconds(mesh: Mesh) -> dict[str, float]:
    """Return what each process has used so far; PostgreSQL's connections are children of its first process."""
    seconds = {name: process.usage().cpu_seconds for name, process in mesh.processes.items()}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(") ")[2].split()
            if int(fields[1]) == mesh[POSTGRES].pid:
                seconds[POSTGRES] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


async def _drained(mesh: Mesh, seconds: float) -> tuple[float, int]:
    """Return how many postbacks a second are read from a backlog, and how many that was."""
    before = (await _counts(mesh))[0]
    mesh.kill(ATTRIBUTION)
    report = await load(_plan(mesh, "b", seconds, _RATE), may_fail=True)
    await asyncio.sleep(2)  # until the last of them is with capture_svc
    await mesh.start(ATTRIBUTION)
    await mesh[ATTRIBUTION].listening()
    while (first := (await _counts(mesh))[0]) == before:  # noqa: ASYNC110 - a store tells nobody
        await asyncio.sleep(_LOOK_SECONDS)
    began = time.monotonic()
    await _until_kept(mesh, before + report.answered_count)
    read = before + report.answered_count - first
    return read / max(time.monotonic() - began, _LOOK_SECONDS), read


def _sustained_figure(found: Sustained) -> Figure:
    is_whole = found.kept_count == found.order_count and not found.report.errors
    by_cost = sorted(found.cpu_us.items(), key=lambda item: -item[1])
    return Figure(
        name="postbacks to conversions in PostgreSQL, whole mesh",
        measured=f"{found.report.rate:,.0f}/s, kept {found.behind_seconds:.1f} s after the last answer",
        comparison=f"{found.kept_count:,} conversions of {found.sent_count:,} postbacks ({found.order_count:,} orders)",
        result=f"{found.kept_rate:,.0f}/s",
        wanted=f">= {LEAST_RATE:,.0f}/s from the first answer to the last kept",
        is_met=is_whole and found.kept_rate >= LEAST_RATE,
        notes=tuple(f"{name} {cost:.0f} µs of CPU for each" for name, cost in by_cost if cost >= 1),
        details=dataclasses.asdict(found),
    )


def _drained_figure(rate: float, count: int) -> Figure:
    return Figure(
        name="postbacks read from a backlog into PostgreSQL",
        measured=f"{rate:,.0f}/s over {count:,}",
        comparison="attribution_svc was away meanwhile",
        result=f"{rate:,.0f}/s",
        wanted=f">= {LEAST_RATE:,.0f}/s",
        is_met=rate >= LEAST_RATE,
        details={"events_per_second": rate, "event_count": count},
    )

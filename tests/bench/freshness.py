"""How long it takes from a click's answer until the click is in an organisation's SQL, at a steady rate of others."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from tests.bench.figure import Figure
from tests.bench.load import Report
from tests.bench.run import BenchError, Pace, clicks, load
from tests.mesh.gateway_alone import write_snapshots
from tests.mesh.mesh import ANALYTICS, CAPTURE, LINK, Mesh
from trellisctl import demo
from trellisctl.up.plan import VALKEY

RATE = 1000.0
MOST_SECONDS = 2.0
_PROBE_SECONDS = 0.05
"""Between two clicks that are looked for: their moments fall anywhere between two inserts."""
_LOOK_SECONDS = 0.03
_LATE_SECONDS = 30.0
_WARMUP_SECONDS = 3.0
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
_SEEN = (
    "SELECT toUInt32(params['probe']) FROM events"
    " WHERE event_time > now() - INTERVAL 1 MINUTE AND source = 'probe' AND toUInt32(params['probe']) >= {least:UInt32}"
)


@dataclasses.dataclass(slots=True)
class Probes:
    """Clicks that are looked for, by number."""

    answered: dict[int, float] = dataclasses.field(default_factory=dict)
    """When the redirect was there."""
    seen: dict[int, float] = dataclasses.field(default_factory=dict)
    """When the first answer of SQL that has it was there."""
    look_seconds: list[float] = dataclasses.field(default_factory=list)
    """How long each question took: a click is seen at the end of one."""

    @property
    def waiting(self) -> list[int]:
        """Those that are not seen yet."""
        return [number for number in self.answered if number not in self.seen]

    def seconds(self) -> list[float]:
        """Return how long each took, in order."""
        return sorted(self.seen[number] - self.answered[number] for number in self.seen)


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Measure from the outside, over HTTP, with every process of the way on this machine."""
    mesh = await Mesh.plan(directory, names=(CAPTURE, ANALYTICS, VALKEY, "gateway"))
    write_snapshots(mesh.directory.gateway, pepper=mesh.directory.secrets().key_pepper)
    try:
        await mesh.start()
        await mesh.wait_ready()
        probes, report = await _measured(mesh, 2 * pace.latency_seconds)
    finally:
        mesh.kill()
    return [_figure(probes, report)]


async def _measured(mesh: Mesh, seconds: float) -> tuple[Probes, Report]:
    plan = clicks(
        mesh.http_port, core=None, rate=RATE, connection_count=256, seconds=seconds, warmup_seconds=_WARMUP_SECONDS
    )
    probes = Probes()
    async with _client(mesh) as http:
        sending = asyncio.create_task(load(plan, may_fail=True))
        await asyncio.sleep(_WARMUP_SECONDS)
        looking = asyncio.create_task(_look(http, probes))
        try:
            while not sending.done():
                await _click(http, probes)
                await asyncio.wait({sending}, timeout=_PROBE_SECONDS)
            await _all_seen(probes)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
    return probes, sending.result()


@asynccontextmanager
async def _client(mesh: Mesh) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(30)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{mesh.http_port}", timeout=timeout) as http:
        yield http


async def _click(http: aiohttp.ClientSession, probes: Probes) -> None:
    number = len(probes.answered)
    target = f"{LINK}?{urlencode({'source': 'probe', 'probe': number})}"
    headers = {"Host": demo.HOST, "User-Agent": _BROWSER}
    async with http.get(target, headers=headers, allow_redirects=False) as answer:
        if answer.status != 302:
            raise BenchError(f"a click was answered by {answer.status}")
    probes.answered[number] = time.perf_counter()


async def _look(http: aiohttp.ClientSession, probes: Probes) -> None:
    """Ask for those that wait, until cancelled."""
    headers = {"Authorization": f"Bearer {demo.SECRET_KEY}"}
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if not (waiting := probes.waiting):
            continue
        body = {"sql": _SEEN, "parameters": {"least": waiting[0]}}
        began = time.perf_counter()
        async with http.post("/api/v1/query", json=body, headers=headers) as answer:
            found = await answer.json(content_type=None)
        now = time.perf_counter()
        probes.look_seconds.append(now - began)
        for (number,) in found["rows"]:
            if number in probes.answered:
                probes.seen.setdefault(number, now)


async def _all_seen(probes: Probes) -> None:
    deadline = time.monotonic() + _LATE_SECONDS
    while waiting := probes.waiting:
        if time.monotonic() > deadline:
            raise BenchError(
                f"{len(waiting)} of {len(probes.answered)} clicks are not in SQL after {_LATE_SECONDS:g} s"
            )
        await asyncio.sleep(0.05)


def _figure(probes: Probes, report: Report) -> Figure:
    took, looks = probes.seconds(), sorted(probes.look_seconds)
    if len(took) < 10:
        raise BenchError(f"{len(took)} clicks were looked for: too few")

    def at(share: float) -> float:
        return took[min(len(took) - 1, int(len(took) * share))]

    return Figure(
        name="freshness, click answered to SQL",
        measured=f"p50 {at(0.5):.2f} s, p99 {at(0.99):.2f} s, max {took[-1]:.2f} s",
        comparison=f"{report.rate:,.0f} clicks/s, redirects p99 {report.p99_ms:.1f} ms",
        result=f"{at(0.99):.2f} s",
        wanted=f"<= {MOST_SECONDS:g} s at {RATE:,.0f} clicks/s",
        # Another rate, or a click that was lost, would be another figure.
        is_met=at(0.99) <= MOST_SECONDS and report.rate >= 0.98 * RATE and not report.errors,
        notes=(f"{len(took)} clicks looked for, each question to SQL took {looks[len(looks) // 2]:.2f} s (median)",),
        details={"seconds": took, "look_seconds": looks, "report": dataclasses.asdict(report)},
    )

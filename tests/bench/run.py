"""How a measurement is run: servers on one core, the client on the other, one plan after the other."""

import asyncio
import contextlib
import dataclasses
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.load import Plan, Report, click_requests
from tests.bench.machine import cores
from tests.mesh.mesh import LINK, inherited_environment
from tests.mesh.process import Process
from trellisctl import demo

ROOT = Path(__file__).parents[2]
REQUESTS = click_requests(512, host=demo.HOST, path=LINK)
MIXED_REQUESTS = (*REQUESTS[:99], *click_requests(1, host=demo.HOST, path=f"/in?slug={demo.CAMPAIGN_ID}"))
"""One in a hundred names the link in the query, which is no matter for the gateway's fast lane."""
CLIENT_CORE, SERVER_CORE = cores()
_WARMUP_SECONDS = 0.3


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How long everything takes."""

    round_count: int
    round_seconds: float
    latency_seconds: float
    mesh_seconds: float
    probe_seconds: float
    memory_event_count: int


FULL = Pace(
    round_count=7, round_seconds=2.5, latency_seconds=15, mesh_seconds=60, probe_seconds=8, memory_event_count=1_000_000
)
QUICK = Pace(
    round_count=2, round_seconds=1, latency_seconds=3, mesh_seconds=5, probe_seconds=3, memory_event_count=60_000
)


class BenchError(Exception):
    """A measurement that means nothing, for example because answers were wrong."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def load(plan: Plan, *, may_fail: bool = False) -> Report:
    """Run the generator in a process of its own; raise BenchError when an answer was wrong or missing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.load",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=inherited_environment(),
    )
    output, _ = await process.communicate(json.dumps(dataclasses.asdict(plan)).encode())
    if process.returncode:
        raise BenchError(f"the load generator ended with {process.returncode}")
    report = Report(**json.loads(output))
    if (report.errors or not report.answered_count) and not may_fail:
        raise BenchError(f"{report.answered_count} answers, errors: {report.errors}")
    return report


def clicks(port: int, *, core: int | None = CLIENT_CORE, requests: tuple[str, ...] = REQUESTS, **how: Any) -> Plan:
    """Return a plan of clicks on the demo link; ``how`` are more fields of it."""
    return Plan(port=port, requests=requests, location=demo.DESTINATION_URL, core=core, **how)


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A process under measurement and its port."""

    process: Process
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class Round:
    """One short run against one server."""

    report: Report
    cpu_us: float
    """CPU time of the server for each answer: what others do on the machine changes it less than the rate."""


async def in_turn(
    servers: Sequence[Server],
    pace: Pace,
    *,
    new_connection_each: bool = False,
    requests: tuple[str, ...] = REQUESTS,
) -> list[list[Round]]:
    """Measure the servers A B A B…; return the rounds of each."""
    rounds: list[list[Round]] = [[] for _ in servers]
    for _ in range(pace.round_count):
        for index, server in enumerate(servers):
            plan = clicks(
                server.port,
                requests=requests,
                seconds=pace.round_seconds,
                warmup_seconds=_WARMUP_SECONDS,
                new_connection_each=new_connection_each,
            )
            before = server.process.usage().cpu_seconds
            report = await load(plan)
            used = server.process.usage().cpu_seconds - before
            # The warm-up's answers were paid for, and are not counted.
            answered = report.answered_count * (1 + _WARMUP_SECONDS / pace.round_seconds)
            rounds[index].append(Round(report, used / answered * 1e6))
    return rounds


def module(name: str, *arguments: str, **environment: str) -> tuple[Callable[[], Sequence[str]], Mapping[str, str]]:
    """Return command and environment of one of our own modules as a process."""
    return (
        lambda: (sys.executable, "-m", name, *arguments),
        {**inherited_environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", **environment},
    )


@contextlib.asynccontextmanager
async def running(*processes: Process) -> AsyncIterator[None]:
    """Run processes for the time of the block; kill them at its end."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            process.kill()


async def answering(port: int, *, seconds: float = 20.0) -> bytes:
    """Wait until a server answers the first request of the plan; return the head of the answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(REQUESTS[0].encode("latin-1"))
                return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            finally:
                writer.close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise BenchError(f"nobody answers on port {port} after {seconds:g} s") from error
            await asyncio.sleep(0.1)

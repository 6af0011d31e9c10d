"""The redirect itself: a durable ``/in`` against a bare aiohttp handler that returns the same 302."""

import dataclasses
import json
from pathlib import Path
from statistics import median

from tests.bench.figure import Figure, against
from tests.bench.run import (
    CLIENT_CORE,
    MIXED_REQUESTS,
    SERVER_CORE,
    Pace,
    Server,
    answering,
    clicks,
    free_port,
    in_turn,
    load,
    module,
    running,
)
from tests.mesh.gateway_alone import gateway_alone
from tests.mesh.process import Launch, Process

# Both servers write these themselves.
_NOT_COPIED = frozenset({"date", "content-length"})
_SHARE_OF_MAXIMUM = 0.7
_MOST_P99_MS, _HOPED_P99_MS = 50.0, 15.0


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Keep-alive and new connections, the gateway alone and while it ships, then its latency below its maximum."""
    alone_port, shipping_port, sink_port, bare_port = (free_port() for _ in range(4))
    alone = Server(gateway_alone(directory / "alone", alone_port, core=SERVER_CORE), alone_port)
    shipping = Server(
        gateway_alone(directory / "shipping", shipping_port, core=SERVER_CORE, capture_target=f"127.0.0.1:{sink_port}"),
        shipping_port,
    )
    sink = Process(
        "sink", Launch(*module("tests.bench.sink", str(sink_port)), core=CLIENT_CORE), directory / "sink.log"
    )
    async with running(alone.process, sink, shipping.process):
        headers = copied_headers(await answering(alone_port))
        await answering(shipping_port)
        launch = Launch(*module("tests.bench.bare", str(bare_port), json.dumps(headers)), core=SERVER_CORE)
        bare = Server(Process("bare", launch, directory / "bare.log"), bare_port)
        async with running(bare.process):
            await answering(bare_port)
            kept = await in_turn([alone, bare, shipping], pace)
            mixed = await in_turn([alone, bare], pace, requests=MIXED_REQUESTS)
            fresh = await in_turn([alone, bare], pace, new_connection_each=True)
        latency = await _latency(alone_port, median(r.report.rate for r in kept[0]), pace)
    return [
        against("/in durable, keep-alive, one core", kept[0], kept[1], their_name="bare", least=0.55, hoped=0.70),
        against("the same, shipping to a sink meanwhile", kept[2], kept[1], their_name="bare"),
        against("the same, 1 % of it in the slow lane", mixed[0], mixed[1], their_name="bare"),
        against("/in durable, a new connection each", fresh[0], fresh[1], their_name="bare", least=0.75),
        latency,
    ]


def copied_headers(head: bytes) -> list[tuple[str, str]]:
    """Return the headers of an answer that the bare server must copy."""
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return [(name, value) for name, value in pairs if name.lower() not in _NOT_COPIED]


async def _latency(port: int, maximum: float, pace: Pace) -> Figure:
    """Constant arrivals at a share of the maximum that was just measured."""
    rate = maximum * _SHARE_OF_MAXIMUM
    plan = clicks(port, rate=rate, connection_count=512, seconds=pace.latency_seconds, warmup_seconds=1.0)
    report = await load(plan, may_fail=True)
    lost = sum(report.errors.values())
    return Figure(
        name="p99 of /in at 70 % of its maximum",
        measured=f"{report.p99_ms:.1f} ms at {rate:,.0f}/s" + (f", {lost} errors" if lost else ""),
        comparison=f"p50 {report.p50_ms:.1f}, p99.9 {report.p999_ms:.1f}, max {report.max_ms:.1f} ms",
        result=f"{report.p99_ms:.1f} ms",
        wanted=f"< {_MOST_P99_MS:g} ms ({_HOPED_P99_MS:g} ms hoped for)",
        is_met=report.p99_ms < _MOST_P99_MS and not lost,
        details=dataclasses.asdict(report),
    )

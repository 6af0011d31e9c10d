"""The redirect itself: a durable ``/in`` against a bare aiohttp handler that returns the same 302."""

import dataclasses
import json
from pathlib import Path
from statistics import median

from tests.bench.figure import Figure, Ratios
from tests.bench.load import Report
from tests.bench.run import (
    CLIENT_CORE,
    MIXED_REQUESTS,
    SERVER_CORE,
    Pace,
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
    alone = gateway_alone(directory / "alone", alone_port, core=SERVER_CORE)
    shipping = gateway_alone(
        directory / "shipping", shipping_port, core=SERVER_CORE, capture_target=f"127.0.0.1:{sink_port}"
    )
    sink = Process(
        "sink", Launch(*module("tests.bench.sink", str(sink_port)), core=CLIENT_CORE), directory / "sink.log"
    )
    async with running(alone, sink, shipping):
        headers = _headers(await answering(alone_port))
        await answering(shipping_port)
        launch = Launch(*module("tests.bench.bare", str(bare_port), json.dumps(headers)), core=SERVER_CORE)
        async with running(Process("bare", launch, directory / "bare.log")):
            await answering(bare_port)
            ours, bare, shipped = await in_turn([alone_port, bare_port, shipping_port], pace)
            ours_fresh, bare_fresh = await in_turn([alone_port, bare_port], pace, new_connection_each=True)
            ours_mixed, bare_mixed = await in_turn([alone_port, bare_port], pace, requests=MIXED_REQUESTS)
        latency = await _latency(alone_port, median(report.rate for report in ours), pace)
    return [
        _against_bare("/in durable, keep-alive, one core", ours, bare, least=0.55, hoped=0.70),
        _against_bare("the same, shipping to a sink meanwhile", shipped, bare),
        _against_bare("the same, 1 % of it in the slow lane", ours_mixed, bare_mixed),
        _against_bare("/in durable, a new connection each", ours_fresh, bare_fresh, least=0.75),
        latency,
    ]


def _headers(head: bytes) -> list[tuple[str, str]]:
    """Return the headers of an answer that the bare server must copy."""
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return [(name, value) for name, value in pairs if name.lower() not in _NOT_COPIED]


def _against_bare(
    name: str, ours: list[Report], bare: list[Report], *, least: float = 0.0, hoped: float = 0.0
) -> Figure:
    ratios = Ratios.of([report.rate for report in ours], [report.rate for report in bare])
    wanted = f">= {least:.2f}" + (f" ({hoped:.2f} hoped for)" if hoped else "") if least else ""
    return Figure(
        name=name,
        measured=f"{median(r.rate for r in ours):,.0f}/s, p99 {median(r.p99_ms for r in ours):.1f} ms",
        comparison=f"bare {median(r.rate for r in bare):,.0f}/s, p99 {median(r.p99_ms for r in bare):.1f} ms",
        result=str(ratios),
        wanted=wanted,
        is_met=ratios.median >= least if least else None,
        details={
            "ratios": ratios.values,
            "ours": [dataclasses.asdict(report) for report in ours],
            "bare": [dataclasses.asdict(report) for report in bare],
        },
    )


async def _latency(port: int, maximum: float, pace: Pace) -> Figure:
    """Constant arrivals at a share of the maximum that was just measured."""
    rate = maximum * _SHARE_OF_MAXIMUM
    report = await load(clicks(port, rate=rate, connection_count=512, seconds=pace.latency_seconds, warmup_seconds=1.0))
    return Figure(
        name="p99 of /in at 70 % of its maximum",
        measured=f"{report.p99_ms:.1f} ms at {rate:,.0f}/s",
        comparison=f"p50 {report.p50_ms:.1f}, p99.9 {report.p999_ms:.1f}, max {report.max_ms:.1f} ms",
        result=f"{report.p99_ms:.1f} ms",
        wanted=f"< {_MOST_P99_MS:g} ms ({_HOPED_P99_MS:g} ms hoped for)",
        is_met=report.p99_ms < _MOST_P99_MS,
        details=dataclasses.asdict(report),
    )

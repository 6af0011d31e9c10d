"""What tracing costs: a gateway that samples 1 % of its clicks against one that traces nothing."""

import asyncio
import dataclasses
from pathlib import Path
from statistics import median

from tests.bench.figure import Figure, Ratios
from tests.bench.run import CLIENT_CORE, SERVER_CORE, BenchError, Pace, answering, free_port, in_turn, module, running
from tests.mesh.gateway_alone import gateway_alone
from tests.mesh.process import Launch, Process

_LEAST = 0.97
_SAMPLED_SHARE = 0.01
# The exporter sends what it has every 5 s.
_EXPORT_SECONDS = 6.0


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Both gateways on one core in turn; the spans go to a receiver in a process of its own, which counts them."""
    traced_port, plain_port, receiver_port = (free_port() for _ in range(3))
    spans = directory / "spans"
    receiver = Process(
        "receiver",
        Launch(*module("tests.bench.spans", str(receiver_port), str(spans)), core=CLIENT_CORE),
        directory / "log",
    )
    plain = gateway_alone(directory / "plain", plain_port, core=SERVER_CORE)
    traced = gateway_alone(
        directory / "traced",
        traced_port,
        core=SERVER_CORE,
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver_port}",
            "OTEL_TRACES_SAMPLER_ARG": str(_SAMPLED_SHARE),
        },
    )
    async with running(receiver, plain, traced):
        await answering(plain_port)
        await answering(traced_port)
        with_tracing, without = await in_turn([traced_port, plain_port], pace)
        await asyncio.sleep(_EXPORT_SECONDS)
        span_count = int(spans.read_text())
    if not span_count:
        raise BenchError("no span reached the receiver: nothing was traced")
    ratios = Ratios.of([report.rate for report in with_tracing], [report.rate for report in without])
    return [
        Figure(
            name="tracing 1 % of clicks",
            measured=f"{median(r.rate for r in with_tracing):,.0f}/s, {span_count:,} spans",
            comparison=f"off {median(r.rate for r in without):,.0f}/s",
            result=str(ratios),
            wanted=f">= {_LEAST:.2f}",
            is_met=ratios.median >= _LEAST,
            details={
                "ratios": ratios.values,
                "span_count": span_count,
                "traced": [dataclasses.asdict(report) for report in with_tracing],
                "plain": [dataclasses.asdict(report) for report in without],
            },
        )
    ]

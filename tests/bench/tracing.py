"""What tracing costs: a gateway that samples 1 % of its clicks against one that traces nothing."""

import asyncio
import dataclasses
from pathlib import Path

from tests.bench.figure import Figure, against
from tests.bench.run import CLIENT_CORE, SERVER_CORE, Pace, Server, answering, free_port, in_turn, module, running
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
        with_tracing, without = await in_turn([Server(traced, traced_port), Server(plain, plain_port)], pace)
        await asyncio.sleep(_EXPORT_SECONDS)
        span_count = int(spans.read_text())
    sampled_share = span_count / sum(r.report.answered_count for r in with_tracing)
    figure = against("tracing 1 % of clicks", with_tracing, without, their_name="off", least=_LEAST)
    is_sampled = 0.5 * _SAMPLED_SHARE < sampled_share < 2 * _SAMPLED_SHARE
    return [
        dataclasses.replace(
            figure,
            # Who traces less is faster, and that is no merit.
            is_met=figure.is_met and is_sampled,
            notes=(f"{span_count:,} spans arrived: {sampled_share:.2%} of the clicks",),
            details={**figure.details, "span_count": span_count, "sampled_share": sampled_share},
        )
    ]

"""From a journal's stream to ClickHouse, against a plain insert: the measurement is capture_svc's own."""

from pathlib import Path

from tests.bench import capture_path
from tests.bench.figure import Figure
from tests.bench.run import FULL, Pace

_LEAST = 0.8


async def measure(_directory: Path, pace: Pace) -> list[Figure]:
    """Make a figure of it."""
    found = await (capture_path.measure() if pace is FULL else capture_path.measure(batch_count=5, round_count=1))
    return [
        Figure(
            name="journal stream to ClickHouse",
            measured=f"{found['path_events_per_second']:,.0f} events/s",
            comparison=f"plain ProtobufList insert {found['plain_events_per_second']:,.0f}/s",
            result=f"{found['ratio']:.2f} ({found['ratio_min']:.2f}-{found['ratio_max']:.2f})",
            wanted=f">= {_LEAST:.2f}",
            is_met=found["ratio"] >= _LEAST,
            details=dict(found),
        )
    ]

"""Credits over a million conversions, and removal effects over 10,000 paths.

The reading is made once and kept in ``build/``: half of its visitors convert, after 1 to 6 touches. analytics_svc is a
process of its own, as a mesh has it; attribution_svc's part is done here, over gRPC.

``python -m tests.bench.attribution DIRECTORY CONVERSIONS`` makes the reading.
"""

import asyncio
import csv
import hashlib
import os
import random
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import SecretStr

from attribution_svc.crediting.journey_stream import JourneyStream
from attribution_svc.crediting.report import CreditReport, JourneyScope, ReportQuestion
from attribution_svc.crediting.reports import CreditReports
from attribution_svc.crediting.settings import AskedModel, TypedLookback, asked_model
from attribution_svc.crediting.turns import Turns
from attribution_svc.models.markov import removal_effects
from attribution_svc.models.paths import Path as Walked
from attribution_svc.models.paths import split
from attribution_svc.models.registry import KINDS, RuleKind
from attribution_svc.models.touch import Lookback
from svc_runtime.clickhouse import use_spool
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.settings import MeshSettings
from tests.bench import warehouse_data
from tests.bench.figure import Figure
from tests.bench.memory import rss_mib
from tests.bench.run import FULL, ROOT, BenchError, Pace, free_port, module, running
from tests.mesh.process import Launch, Process
from trellis.analytics.v1 import report_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CONVERSION_COUNT = 1_000_000
QUICK_CONVERSION_COUNT = 20_000
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY_COUNT = 90
PATH_DATA = "TRELLIS_PATH_DATA_CSV"
_ORGANIZATION = "org_large"
_MOST_SECONDS, _MOST_MARKOV_SECONDS = 20.0, 1.0
_QUERY_MEMORY_BYTES = 2 * 1024**3
_SECRET = "b" * 40
_NO_ONE = "127.0.0.1:1"
_CHUNK = 200_000
_DONE = "made"
_INSERT = """
INSERT INTO events (organization_id, event_id, event_time, event_type, route, user_id, session_id, source, medium,
    channel, campaign_id, traffic_rule, conversion_event, is_conversion, value, currency, device_type,
    enrichment_version)
SELECT {organization:String}, reinterpretAsUUID(sipHash128(v, k)), fromUnixTimestamp64Milli(at_ms, 'UTC'),
    if(sold, 'purchase', 'click'), if(sold, 'postback', 'in'), concat('usr_', toString(v)), '', if(sold, '', src),
    'cpc', src, concat('cmp_', toString(sipHash64(v, k, 4) % 60)), 'tagged', if(sold, 'purchase', ''), sold,
    if(sold, toDecimal64(1 + sipHash64(v, 5) % 20000, 6) / 100, NULL), if(sold, 'USD', ''), 'mobile', 1
FROM (
    SELECT number AS v, k, v % 2 = 0 AS converts, 1 + sipHash64(v, 1) % if(converts, 6, 3) AS touches,
        toUInt8(k = touches) AS sold,
        toInt64({start_ms:Int64}) + toInt64(sipHash64(v, 2) % {days_ms:Int64})
            + k * toInt64(sipHash64(v, 3) % 200000000) AS at_ms,
        arrayElement(['facebook', 'google', 'tiktok', 'direct', 'email', 'bing', 'taboola', 'reddit'],
            1 + toUInt32(pow((sipHash64(v, k, 6) % 1000) / 1000, 2) * 8)) AS src
    FROM numbers({first:UInt64}, {count:UInt64}) ARRAY JOIN range(touches + converts) AS k
)
"""


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Make the reading unless there is one, then ask."""
    count = CONVERSION_COUNT if pace is FULL else QUICK_CONVERSION_COUNT
    reading = _place(count)
    for stale in set((ROOT / "build").glob(f"attribution-{count}-*")) - {reading}:
        shutil.rmtree(stale)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.attribution", str(reading), str(count), cwd=ROOT
    )
    if await process.wait():
        raise BenchError("the reading could not be made")
    port = free_port()
    service = Process("analytics", _launch(reading, port), directory / "analytics.log")
    mesh = MeshSettings(mesh_secret=SecretStr(_SECRET))
    async with running(service), open_channel(mesh, f"127.0.0.1:{port}") as channel:
        await service.listening(seconds=120)
        reports = CreditReports(JourneyStream(channel, Credentials(mesh, "bench")), Turns(1))
        rules = [name for name, kind in KINDS.items() if isinstance(kind, RuleKind)]
        learners = [name for name, kind in KINDS.items() if not isinstance(kind, RuleKind)]
        figures = [
            await _report(reports, service, rules, count, name="rule models", most_seconds=_MOST_SECONDS),
            await _report(reports, service, learners, count, name="models that learn", most_seconds=None),
        ]
    return [*figures, await asyncio.to_thread(_markov)]


async def _report(
    reports: CreditReports,
    service: Process,
    names: Sequence[str],
    count: int,
    *,
    name: str,
    most_seconds: float | None,
) -> Figure:
    models = tuple(asked_model(each) for each in names)
    began, own, theirs = time.monotonic(), time.process_time(), service.usage().cpu_seconds
    report = await reports.report(_caller(), _question(models))
    seconds, own = time.monotonic() - began, time.process_time() - own
    theirs = service.usage().cpu_seconds - theirs
    _check(report, models, count)
    return Figure(
        name=f"{name} over {count:,} conversions",
        measured=f"{len(names)} side by side in {seconds:.1f} s",
        comparison=f"CPU: {theirs:.1f} s in analytics_svc ({rss_mib(service):.0f} MiB), {own:.1f} s in attribution_svc",
        result=f"{seconds:.1f} s",
        wanted="" if most_seconds is None else f"<= {most_seconds:g} s",
        is_met=None if most_seconds is None else seconds <= most_seconds,
        details={
            "seconds": seconds,
            "cpu_seconds": {"analytics_svc": theirs, "attribution_svc": own},
            "models": list(names),
        },
    )


def _check(report: CreditReport, models: Sequence[AskedModel], count: int) -> None:
    if report.conversion_count != count:
        raise BenchError(f"{report.conversion_count} conversions, {count} were made")
    for place, model in enumerate(models):
        given = sum(row.credits[place].micros for row in report.rows) + report.nobody[place].micros
        if model.is_additive and given != report.micros:
            raise BenchError(f"{model.name} gives {given} of {report.micros}")


def _caller() -> Caller:
    return Caller(CallerKind.ORGANIZATION, "key:bench", _ORGANIZATION, frozenset({"analytics:read"}))


def _question(models: tuple[AskedModel, ...]) -> ReportQuestion:
    part = report_pb2.Slice(currency="USD")
    part.time_range.start_time.FromDatetime(START)
    part.time_range.end_time.FromDatetime(START + timedelta(days=2 * DAY_COUNT))
    lookback = (TypedLookback("", Lookback.days(30)),)
    return ReportQuestion(JourneyScope(part.SerializeToString(), "source", (), lookback), models, 1000)


def _markov() -> Figure:
    paths, source = _paths()
    began = time.process_time()
    found = removal_effects(paths)
    seconds = time.process_time() - began
    conversions = sum(path.conversions for path in paths)
    credited = split(conversions * 1_000_000, found.shares)
    away = float(max(abs(credited[channel] / 1e6 - exact * conversions) for channel, exact in _dense(paths).items()))
    return Figure(
        name="Markov removal effects",
        measured=f"{len(paths):,} paths of {source} in {seconds:.2f} s of CPU",
        comparison="the chain's linear equations, solved once for each channel",
        result=f"{seconds:.2f} s, {away:.6f} conversions away",
        wanted=f"<= {_MOST_MARKOV_SECONDS:g} s, < 0.00005",
        is_met=seconds <= _MOST_MARKOV_SECONDS and away < 0.00005,
        details={"seconds": seconds, "away": away, "source": source},
    )


def _paths() -> tuple[list[Walked], str]:
    """Return ChannelAttribution's PathData where its export is at hand, else paths of the same shape."""
    if PATH_DATA in os.environ:
        with Path(os.environ[PATH_DATA]).open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return [
            Walked(tuple(row["path"].split(" > ")), int(row["total_conversions"]), int(row["total_null"]))
            for row in rows
        ], "PathData"
    chance = random.Random(7)
    names = ["alpha", "iota", "eta", "beta", "theta", "lambda", "epsilon", "zeta", "kappa", "gamma", "delta", "mi"]
    weights = [2.0**-place for place in range(len(names))]
    paths = []
    for _ in range(10_000):
        length = min(89, 1 + int(chance.expovariate(1 / 5)))
        walked = tuple(chance.choices(names, weights, k=length))
        paths.append(Walked(walked, chance.randrange(5), chance.randrange(15)))
    return paths, "their shape"


def _dense(paths: Sequence[Walked]) -> dict[str, float]:
    """Return the shares of removal effects from ``(I - Q) x = R``, with nothing of the product's."""
    channels = sorted({channel for path in paths for channel in path.channels})
    numbers = {channel: at + 1 for at, channel in enumerate(channels)}
    size = len(channels) + 1
    counts, ends = np.zeros((size, size)), np.zeros((size, 2))
    for path in paths:
        walks = path.conversions + path.nulls
        visited = [0, *(numbers[channel] for channel in path.channels)]
        for before, after in pairwise(visited):
            counts[before, after] += walks
        ends[visited[-1]] += (path.conversions, path.nulls)
    leaving = counts.sum(axis=1) + ends.sum(axis=1)
    leaving[leaving == 0] = 1
    chain, converting = counts / leaving[:, None], ends[:, 0] / leaving
    whole = np.linalg.solve(np.eye(size) - chain, converting)[0]
    effects = {}
    for channel, number in numbers.items():
        without = chain.copy()
        without[:, number] = 0
        effects[channel] = 1 - np.linalg.solve(np.eye(size) - without, converting)[0] / whole
    total = sum(effects.values())
    return {channel: effect / total for channel, effect in effects.items()}


def _launch(reading: Path, port: int) -> Launch:
    command, environment = module(
        "analytics_svc",
        ANALYTICS_LISTEN=f"127.0.0.1:{port}",
        ANALYTICS_CLICKHOUSE_DSN=f"chdb://{reading}",
        ANALYTICS_CAPTURE_TARGET=_NO_ONE,
        ANALYTICS_AUTH_TARGET=_NO_ONE,
        ANALYTICS_QUERY_MEMORY_BYTES=str(_QUERY_MEMORY_BYTES),
        TRELLIS_MESH_SECRET=_SECRET,
    )
    return Launch(command, environment)


def _place(count: int) -> Path:
    """Return where a reading of that size lives: another one whenever its tables or its making change."""
    kept = warehouse_data.place(ROOT / "build", count).name + _INSERT
    return ROOT / "build" / f"attribution-{count}-{hashlib.sha256(kept.encode()).hexdigest()[:12]}"


def make(directory: Path, count: int) -> None:
    """Make the reading; a directory that is done already is left as it is."""
    if (directory / _DONE).exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    dsn = warehouse_data.dsn_of(directory)
    use_spool(dsn)
    client: Client = warehouse_data.migrated(dsn)
    try:
        for first in range(0, 2 * count, _CHUNK):
            client.command(
                _INSERT,
                parameters={
                    "organization": _ORGANIZATION,
                    "start_ms": int(START.timestamp() * 1000),
                    "days_ms": DAY_COUNT * 86_400_000,
                    "first": first,
                    "count": min(_CHUNK, 2 * count - first),
                },
            )
        client.command("OPTIMIZE TABLE events FINAL")
        (directory / _DONE).write_text("")
    finally:
        client.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))

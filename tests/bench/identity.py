"""Finding the person of a visitor among a million edges: what a journey across devices waits for first."""

import asyncio
import dataclasses
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from analytics_svc.identity.end import End, EndHasher, EndKind
from analytics_svc.identity.people import People
from analytics_svc.store.edges import TABLE
from analytics_svc.store.reader import ClickHouseReadingReader
from tests.bench.figure import Figure
from tests.bench.run import FULL, Pace
from tests.reading import ACME, reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MOST_MS = 100.0
_HASHER = EndHasher(b"k" * 32)
# Two of three customers have two devices or three, and each of them some orders.
_EDGES = """
INSERT INTO identity_edges
SELECT '{organization}', toDate('2026-01-01') + number % 90, '{edition}', side, other,
    (toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + toIntervalSecond(number), generateUUIDv4()),
    toDateTime64('2026-04-01 00:00:00', 3, 'UTC')
FROM (
    SELECT number, concat('visitor_usr_', leftPad(toString(number), 10, '0')) AS visitor,
        if(number % 3 = 2, concat('order_', lower(hex(sipHash128(number)))),
            concat('login_', lower(hex(sipHash128(intDiv(number, 3) % {customers}))))) AS value,
        arrayJoin([(visitor, value), (value, visitor)]) AS pair, pair.1 AS side, pair.2 AS other
    FROM numbers({count})
)
"""


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Look visitors up one after the other."""
    count = 1_000_000 if pace is FULL else 100_000
    with reading(directory / "identity") as (dsn, client):
        await asyncio.to_thread(_fill, client, count)
        async with ClickHouseReadingReader.open(dsn, thread_count=1) as reader:
            people = People(reader, _HASHER)
            taken, sizes = await _asked(people, count, 200 if pace is FULL else 50)
    median, slowest = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
    return [
        Figure(
            name="person of a visitor",
            measured=f"{median:.1f} ms",
            comparison=f"p99 {slowest:.1f} ms; {statistics.mean(sizes):.1f} visitors a person",
            result=f"{median:.1f} ms",
            wanted=f"<= {MOST_MS:.0f} ms",
            is_met=median <= MOST_MS,
            notes=(f"among {count:,} edges of one organisation, by CPU time, embedded engine",),
            details=dataclasses.asdict(_Taken(taken)),
        )
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class _Taken:
    milliseconds: list[float]


def _fill(client: "Client", count: int) -> None:
    values = {"organization": ACME, "edition": _HASHER.edition, "customers": count // 6, "count": count}
    client.command(_EDGES.format(**values))
    client.command(f"OPTIMIZE TABLE {TABLE} FINAL")


async def _asked(people: People, count: int, times: int) -> tuple[list[float], list[int]]:
    chance, taken, sizes = random.Random(1), [], []
    for number in range(times + 5):
        began = time.process_time()
        person = await people.person_of(ACME, [End(EndKind.VISITOR, f"usr_{chance.randrange(count):010}")])
        if number >= 5:  # the first ones warm up
            taken.append((time.process_time() - began) * 1000)
            sizes.append(len(person.user_ids))
    return taken, sizes

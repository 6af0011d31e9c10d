"""Events from the feed's bytes to the reading: enriched, settled and counted.

By CPU time of the whole process, merges included: that is what one core can do, whoever else is on the machine.
"""

import asyncio
import dataclasses
import random
import statistics
import time
import uuid
from pathlib import Path

from analytics_svc.identity.end import EndHasher
from analytics_svc.projection.enricher import Enricher
from analytics_svc.store import Bookmark, Page
from analytics_svc.store.clickhouse import SETTLED, STAGED, ClickHouseReadingStore
from analytics_svc.store.connect import open_client
from analytics_svc.store.derive import Deriver
from analytics_svc.store.edges import keep_page
from svc_runtime.clickhouse import Dsn, parse_dsn
from tests.bench.figure import Figure
from tests.bench.run import FULL, Pace
from tests.integration.enrich.networks import CITIES, write
from trellis.capture.v1 import event_pb2

LEAST = 40_000
PAGE_EVENTS = 52_000
"""What ``follow.ENOUGH_BYTES`` holds."""
_START_MS = 1_790_000_000_000
_AGENT = (
    b"Mozilla/5.0 (Linux; Android %d; SM-G%d) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/%d.0.0.0 Mobile Safari/537.36"
)
_REFERERS = (
    b"https://l.facebook.com/l.php?u=%d",
    b"https://www.google.com/search?q=%d",
    b"https://blog%d.example/",
    b"",
)
_CONVERSIONS_IN = 50
_VISITORS = 200_000
_LOGIN_IN = 10
MOST_FOR_EDGES = 1.15


class Traffic:
    """Clicks with eight parameters, browsers' headers, and a postback for one of every fifty.

    One click of every ``login_in`` comes from somebody who is logged in; 0: none.
    """

    def __init__(self, *, login_in: int = 0) -> None:
        self._login_in = login_in
        self._chance = random.Random(1)
        self._agents = [_AGENT % (self._chance.randint(8, 15), n, self._chance.randint(90, 140)) for n in range(2_000)]
        self._ips = [f"81.2.{self._chance.randint(0, 255)}.{self._chance.randint(1, 254)}" for _ in range(20_000)]
        self._number = 0
        self._last_click = ""

    def page(self, count: int) -> Page:
        """Return the next events as one page."""
        batch = event_pb2.EventBatch(events=[self._event() for _ in range(count)]).SerializeToString()
        return Page((batch,), count, Bookmark(b"%d" % self._number, None))

    def _event(self) -> event_pb2.Event:
        self._number += 1
        event = self._postback() if self._number % _CONVERSIONS_IN == 0 else self._click()
        event.organization_id = f"org_{self._number % 3}"
        event.event_id = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        event.event_time_ms = _START_MS + self._number // 2
        event.scheme, event.host, event.http_version = "https", b"go.example", "1.1"
        event.journal_id, event.sequence, event.trace_id = "a" * 32, self._number, "0" * 32
        return event

    def _click(self) -> event_pb2.Event:
        chance, number = self._chance, self._number
        self._last_click = f"{chance.getrandbits(128):032x}"
        referer = chance.choice(_REFERERS)
        headers = (
            b"Host: go.example\r\nUser-Agent: %b\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
            b"Accept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
            b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: cross-site\r\nCookie: [redacted]\r\nReferer: %b\r\n"
        ) % (
            self._agents[min(int(chance.paretovariate(0.7)), 2_000) - 1],
            referer % (number % 500) if b"%d" in referer else referer,
        )
        query = (
            b"click_id=%x&source=facebook&medium=cpc&utm_campaign=summer%%20%d&zoneid=%d&cost=0.%03d&sub2={SUB}&fbclid=IwAR%x"
        ) % (chance.getrandbits(64), number % 50, number % 300, number % 1000, chance.getrandbits(96))
        visitor = chance.randrange(_VISITORS)
        if self._login_in and number % self._login_in == 0:
            query += b"&customer_id=c%d" % (visitor // 2)
        return event_pb2.Event(
            event_type=b"click",
            route="in",
            method="GET",
            target=b"/in/sale?" + query,
            headers=headers,
            ip=self._ips[min(int(chance.paretovariate(0.5)), 20_000) - 1],
            click_id=self._last_click,
            external_click_id=b"%x" % chance.getrandbits(64),
            user_id=f"usr_{visitor}",
            campaign_id=f"cmp_{number % 20}",
            campaign_version=3,
            location=b"https://shop.example/?" + query,
            status=302,
        )

    def _postback(self) -> event_pb2.Event:
        return event_pb2.Event(
            event_type=b"purchase",
            route="postback",
            method="GET",
            target=f"/postback?click_id={self._last_click}&amount=9.99&currency=USD&order_id=o{self._number}".encode(),
            headers=b"Host: go.example\r\nUser-Agent: python-requests/2.31\r\n",
            ip="81.2.69.160",
            status=200,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """Events/s of CPU time, by rounds, and of wall time."""

    whole: list[float]
    derivation: list[float]
    wall: list[float]


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Write pages, as the follower does while there is a backlog."""
    round_count = 30 if pace is FULL else 3  # fewer end before the large merges begin
    city = write(directory / "city", CITIES)
    dsn = parse_dsn(f"chdb://{directory}/reading?max_threads=1", default_database="analytics")
    found = await _measured(dsn, Enricher([city]), round_count)
    # Of all rounds together: a merge falls into a few of them, which a median does not see.
    whole, derivation = statistics.harmonic_mean(found.whole), statistics.median(found.derivation)
    return [
        Figure(
            name="projection, enrichment on",
            measured=f"{whole:,.0f} events/s per core",
            comparison=f"derivation alone {derivation:,.0f}/s",
            result=f"{whole:,.0f} ({min(found.whole):,.0f}-{max(found.whole):,.0f})",
            wanted=f">= {LEAST:,}",
            is_met=whole >= LEAST,
            notes=(f"by CPU time; pages of {PAGE_EVENTS:,} events of 900 bytes, one in {_CONVERSIONS_IN} a postback",),
            details=dataclasses.asdict(found),
        ),
        await _edges(directory, Enricher([city]), round_count),
    ]


async def _edges(directory: Path, enricher: Enricher, round_count: int) -> Figure:
    """Write pages, and add the edges of each by itself: what a merge takes of one round falls on no comparison."""
    traffic, hasher = Traffic(login_in=_LOGIN_IN), EndHasher(b"k" * 32)
    ratios: list[float] = []
    dsn = parse_dsn(f"chdb://{directory}/reading?max_threads=1", default_database="edges")
    async with ClickHouseReadingStore.open(dsn, enricher=enricher) as store:
        client = await asyncio.to_thread(open_client, dsn)
        for number in range(round_count + 1):
            page = traffic.page(PAGE_EVENTS)
            began = time.process_time()
            await store.write(page)
            written = time.process_time()
            await asyncio.to_thread(keep_page, client, STAGED, SETTLED, hasher)
            if number:
                ratios.append((time.process_time() - began) / (written - began))
        client.close()
    ratio = statistics.median(ratios)
    return Figure(
        name="projection, edges of persons",
        measured=f"{ratio:.3f} of the time without",
        comparison="the same pages without them",
        result=f"{ratio:.3f} ({min(ratios):.3f}-{max(ratios):.3f})",
        wanted=f"<= {MOST_FOR_EDGES}",
        is_met=ratio <= MOST_FOR_EDGES,
        notes=(
            f"by CPU time; one click in {_LOGIN_IN} of somebody who is logged in, one in {_CONVERSIONS_IN} a postback",
        ),
        details={"ratios": ratios},
    )


async def _measured(dsn: Dsn, enricher: Enricher, round_count: int) -> Measured:
    traffic, found = Traffic(), Measured([], [], [])
    async with ClickHouseReadingStore.open(dsn, enricher=enricher) as store:
        for number in range(round_count + 1):
            page = traffic.page(PAGE_EVENTS)
            cpu, wall = time.process_time(), time.perf_counter()
            if await store.write(page) != PAGE_EVENTS:
                raise RuntimeError("a page was not written as a whole")
            if number:  # the first one warms up
                found.whole.append(PAGE_EVENTS / (time.process_time() - cpu))
                found.wall.append(PAGE_EVENTS / (time.perf_counter() - wall))
    found.derivation.extend(await asyncio.to_thread(_derivations, dsn, enricher, traffic, round_count))
    return found


def _derivations(dsn: Dsn, enricher: Enricher, traffic: Traffic, round_count: int) -> list[float]:
    client = open_client(dsn)
    deriver = Deriver(dsn, enricher, prefix="bench")
    deriver.prepare(client)
    client.command("CREATE TABLE bench_derived AS events ENGINE = Memory")
    rates = []
    for _ in range(round_count):
        page = traffic.page(PAGE_EVENTS)
        client.command("TRUNCATE TABLE bench_derived")
        cpu = time.process_time()
        deriver.derive(client, page.events, "bench_derived", {})
        rates.append(PAGE_EVENTS / (time.process_time() - cpu))
    client.close()
    return rates

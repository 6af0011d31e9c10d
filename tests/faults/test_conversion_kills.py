"""Postbacks in a burst while what keeps conversions is killed and stopped: each that was answered counts, once."""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.mesh.mesh import ATTRIBUTION, CAPTURE, Mesh
from trellisctl import demo
from trellisctl.up.plan import POSTGRES

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

_SETTLE_SECONDS = 90.0
_PARTNERS = 8
"""Who send at the same time."""
_PAUSE_SECONDS = 0.02
_KEY = {"Authorization": f"Bearer {demo.SECRET_KEY}"}


@dataclass
class Burst:
    """Postbacks of a partner crowd: orders that are reported several times, some of them by several at once."""

    mesh: Mesh
    random: random.Random
    answered: dict[str, str] = field(default_factory=dict)
    """Order by event."""
    is_over: bool = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as http:
            chances = [random.Random(self.random.random()) for _ in range(_PARTNERS)]
            tasks = [asyncio.create_task(self._send(http, chance)) for chance in chances]
            yield
            self.is_over = True
            await asyncio.gather(*tasks)

    async def _send(self, http: aiohttp.ClientSession, chance: random.Random) -> None:
        while not self.is_over:
            order = f"o{chance.randrange(400)}"
            query = f"k={demo.PUBLISHABLE_KEY}&txid={order}&event=purchase&payout=3.50&cur=EUR&click_id=c{order}"
            url = f"http://127.0.0.1:{self.mesh.http_port}/postback?{query}"
            async with http.get(url) as answer:
                assert answer.status == 200
                self.answered[answer.headers["X-Trellis-Event-Id"]] = order
            await asyncio.sleep(_PAUSE_SECONDS)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    mesh = await Mesh.plan(tmp_path / "mesh", names=(POSTGRES, "auth_svc", ATTRIBUTION, CAPTURE, "gateway"))
    try:
        await mesh.start(POSTGRES)
        await mesh.wait_ready(POSTGRES)
        await mesh.start()
        await mesh.wait_ready()
        await mesh.seed()
        yield mesh
    finally:
        mesh.kill()


@pytest.fixture
def burst(mesh: Mesh) -> Burst:
    return Burst(mesh, random.Random(7))


async def kept(mesh: Mesh) -> list[dict[str, Any]]:
    """Return all conversions of the organisation, over HTTP."""
    found: list[dict[str, Any]] = []
    url = f"http://127.0.0.1:{mesh.http_port}/api/v1/conversions"
    async with aiohttp.ClientSession(headers=_KEY) as http:
        token = ""
        while True:
            parameters = {"page_size": "1000", **({"page_token": token} if token else {})}
            async with http.get(url, params=parameters) as answer:
                page = await answer.json()
                assert answer.status == 200, page
            found += page["conversions"]
            token = page["next_page_token"]
            if not token:
                return found


async def settled(mesh: Mesh, burst: Burst) -> list[dict[str, Any]]:
    """Wait until every answered postback is in a conversion, and return them."""
    async with asyncio.timeout(_SETTLE_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError, AssertionError):
                found = await kept(mesh)
                if sum(len(conversion["event_ids"]) for conversion in found) >= len(burst.answered):
                    return found
            await asyncio.sleep(0.5)


async def must_hold(mesh: Mesh, burst: Burst) -> None:
    """Compare what was answered with what is kept: every event once, every order one conversion, its money once."""
    found = await settled(mesh, burst)
    by_order: dict[str, set[str]] = defaultdict(set)
    for event_id, order in burst.answered.items():
        by_order[order].add(event_id)
    assert {conversion["order_id"]: set(conversion["event_ids"]) for conversion in found} == dict(by_order)
    assert len(found) == len(by_order)
    assert {conversion["value"] for conversion in found} == {3.5}
    told = await rows(mesh, "SELECT kind, count(*) FROM conversion_changes GROUP BY kind")
    assert Counter(dict(told))["created"] >= len(by_order)
    counted = await rows(mesh, "SELECT count(*), count(DISTINCT event_id) FROM conversion_events")
    assert tuple(counted[0]) == (len(burst.answered), len(burst.answered))
    # Each order counts once in the reading: whatever else was sent for it was told to count for nothing.
    silenced = await rows(mesh, "SELECT count(*) FROM conversion_verdicts WHERE NOT is_conversion")
    assert silenced[0][0] == len(burst.answered) - len(found)


async def rows(mesh: Mesh, statement: str) -> list[Any]:
    connection = await asyncpg.connect(mesh[ATTRIBUTION].launch.environment["ATTRIBUTION_POSTGRES_DSN"])
    try:
        found: list[Any] = await connection.fetch(statement)
        return found
    finally:
        await connection.close()


async def test_kills_in_a_burst_of_postbacks(mesh: Mesh, burst: Burst) -> None:
    async with burst.running():
        for _ in range(5):
            await asyncio.sleep(burst.random.uniform(0.3, 1.2))
            await asyncio.to_thread(mesh.kill, ATTRIBUTION)
            await mesh.start(ATTRIBUTION)
            await mesh[ATTRIBUTION].listening()
        answered = len(burst.answered)
    assert answered > 300
    await must_hold(mesh, burst)


async def test_postbacks_go_on_without_postgresql_and_without_capture(mesh: Mesh, burst: Burst) -> None:
    async with burst.running():
        await asyncio.sleep(1)
        await asyncio.to_thread(mesh.stop, POSTGRES)
        before = len(burst.answered)
        await asyncio.sleep(3)
        assert len(burst.answered) > before
        await mesh.start(POSTGRES)
        await mesh.wait_ready(POSTGRES)
        await asyncio.to_thread(mesh.kill, CAPTURE)
        before = len(burst.answered)
        await asyncio.sleep(2)
        assert len(burst.answered) > before
        await mesh.start(CAPTURE)
        await mesh.wait_ready(CAPTURE)
    await must_hold(mesh, burst)


async def test_the_feed_from_zero_changes_nothing(mesh: Mesh, burst: Burst) -> None:
    async with burst.running():
        await asyncio.sleep(2)
    await must_hold(mesh, burst)
    changes = await rows(mesh, "SELECT count(*) FROM conversion_changes")
    await asyncio.to_thread(mesh.kill, ATTRIBUTION)
    await rows(mesh, "UPDATE conversion_feed SET cursor = '' RETURNING 1")
    await mesh.start(ATTRIBUTION)
    await mesh.wait_ready(ATTRIBUTION)
    async with asyncio.timeout(_SETTLE_SECONDS):
        while f'"repeated_count": {len(burst.answered)}' not in mesh[ATTRIBUTION].log_since_start():  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.2)
    await must_hold(mesh, burst)
    assert await rows(mesh, "SELECT count(*) FROM conversion_changes") == changes

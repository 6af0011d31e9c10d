"""``kill -9`` of attribution_svc in the middle of a queue, and PostgreSQL away: nothing is lost, little comes twice."""

import asyncio
import contextlib
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from attribution_svc.store.postgres import PostgresCampaignStore
from attribution_svc.store.webhooks import PostgresWebhookStore
from attribution_svc.webhooks.vault import Vault
from attribution_svc.webhooks.webhook import WebhookKind
from tests.contract.webhooks.things import make_change, make_webhook
from tests.integration.webhooks.conftest import as_logged
from tests.integration.webhooks.receiver import Receiver, running_receiver
from tests.postgres import PostgresServer, running_postgres

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
SECRET = "m" * 32
CONCURRENCY = 20
_LOG = (
    "INSERT INTO conversion_changes (organization_id, conversion_id, kind, after) VALUES ('org_a', $1, 'created', $2)"
)
_COUNTS = "SELECT state, count(*) AS count FROM webhook_deliveries GROUP BY state"
_ABANDONED = """
SELECT delivery_id, count(*) AS count FROM webhook_attempts WHERE failure = 'abandoned' GROUP BY delivery_id
"""


class Process:
    """attribution_svc as a process that is killed and started again."""

    def __init__(self, dsn: str, *ports: int) -> None:
        self._environment = {
            **os.environ,
            "TRELLIS_MESH_SECRET": SECRET,
            "TRELLIS_LOG_LEVEL": "error",
            "ATTRIBUTION_LISTEN": "127.0.0.1:0",
            "ATTRIBUTION_POSTGRES_DSN": dsn,
            "ATTRIBUTION_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "ATTRIBUTION_WEBHOOK_ALLOWED_PORTS": ",".join(map(str, ports)),
            "ATTRIBUTION_WEBHOOK_CONCURRENCY": str(CONCURRENCY),
            "ATTRIBUTION_WEBHOOK_CONCURRENCY_EACH": str(CONCURRENCY // 2),
            "ATTRIBUTION_WEBHOOK_ATTEMPT_SECONDS": "2",
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.webhooks.quick_service", env=self._environment
        )

    async def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def leave(self) -> None:
        """Tell it to leave, as an upgrade does, and wait for its end."""
        assert self._process is not None
        self._process.terminate()
        assert await self._process.wait() == 0


async def answer_slowly(_request: web.Request) -> web.StreamResponse:
    """Take a moment, so that a kill finds some on their way."""
    await asyncio.sleep(0.05)
    return web.Response(text="OK")


@pytest.fixture
def own_postgres() -> Any:
    """Run a server for one test."""
    with running_postgres() as server:
        yield server


@contextlib.asynccontextmanager
async def prepared(dsn: str, receiver: Receiver) -> AsyncIterator[Process]:
    """Two webhooks of one organisation, and the process that serves them."""
    vault = Vault(SECRET)
    async with PostgresCampaignStore.open(dsn) as campaigns:
        store = PostgresWebhookStore(campaigns.database)
        for webhook_id in ("wh_1", "wh_2"):
            _, signing = vault.new_signing("org_a", webhook_id)
            url = f"{receiver.url}/{webhook_id}"
            webhook = make_webhook(webhook_id, kind=WebhookKind.WEBHOOK, url=url, secrets=(signing,))
            await store.insert(webhook, actor="key:1", most=5)
    process = Process(dsn, receiver.port)
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


async def write_log(dsn: str, numbers: range) -> None:
    """Write changes, as conversions do."""
    connection = await asyncpg.connect(dsn)
    rows = [(f"conv_{number}", as_logged(make_change(number).conversion)) for number in numbers]
    await connection.executemany(_LOG, rows)
    await connection.close()


async def until_all_succeeded(dsn: str, count: int) -> dict[str, int]:
    """Wait until so many deliveries have succeeded and none waits; return how often each was abandoned."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(120):
            while True:
                counts = {row["state"]: row["count"] for row in await connection.fetch(_COUNTS)}
                if counts == {"succeeded": count}:
                    break
                await asyncio.sleep(0.2)
        return {row["delivery_id"]: row["count"] for row in await connection.fetch(_ABANDONED)}
    finally:
        await connection.close()


def came(receiver: Receiver) -> Counter[str]:
    """Return how often each delivery came."""
    return Counter(request.headers["webhook-id"] for request in receiver.requests)


async def test_kills_in_the_middle_of_a_queue_lose_nothing_and_repeat_only_what_was_on_its_way(
    own_postgres: PostgresServer,
) -> None:
    dsn = await own_postgres.create_database()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    changes, kills = 800, 5
    async with running_receiver(answer_slowly) as receiver, prepared(dsn, receiver) as process:
        await write_log(dsn, range(1, changes + 1))
        for _ in range(kills):
            await receiver.until(len(receiver.requests) + 20)
            await asyncio.sleep(choose.uniform(0.0, 0.3))
            await process.kill()
            await process.start()
        abandoned = await until_all_succeeded(dsn, 2 * changes)
        found = came(receiver)
        conversions = Counter(
            (request.target, request.body.split(b'"conversion_id":"')[1].split(b'"')[0])
            for request in receiver.requests
        )
    # Every change came to both; each under one id; and again only where a process died before it knew the answer.
    assert len(found) == len(conversions) == 2 * changes
    assert all(count <= 1 + abandoned.get(delivery_id, 0) for delivery_id, count in found.items())
    assert 0 < sum(abandoned.values()) <= kills * CONCURRENCY


async def test_a_store_that_goes_away_in_the_middle_loses_and_repeats_nothing(own_postgres: PostgresServer) -> None:
    dsn = await own_postgres.create_database()
    changes = 800
    async with running_receiver(answer_slowly) as receiver, prepared(dsn, receiver):
        await write_log(dsn, range(1, changes + 1))
        await receiver.until(50)
        await asyncio.to_thread(own_postgres.stop)
        stopped_at = len(receiver.requests)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_postgres.start)
        abandoned = await until_all_succeeded(dsn, 2 * changes)
        found = came(receiver)
    assert stopped_at < len(found) == 2 * changes
    assert all(count <= 1 + abandoned.get(delivery_id, 0) for delivery_id, count in found.items())


async def test_a_process_that_is_told_to_leave_repeats_nothing(own_postgres: PostgresServer) -> None:
    dsn = await own_postgres.create_database()
    changes = 400
    async with running_receiver(answer_slowly) as receiver, prepared(dsn, receiver) as process:
        await write_log(dsn, range(1, changes + 1))
        for _ in range(3):
            await receiver.until(len(receiver.requests) + 20)
            await process.leave()
            await process.start()
        abandoned = await until_all_succeeded(dsn, 2 * changes)
        found = came(receiver)
    assert abandoned == {}
    assert set(found.values()) == {1}
    assert len(found) == 2 * changes

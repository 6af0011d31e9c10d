"""Conversions in a real PostgreSQL."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from attribution_svc.conversions.book import ConversionStore
from attribution_svc.store.postgres import PostgresCampaignStore
from tests.contract.attribution.conversion.store_contract import ConversionStoreContract, listed, take
from tests.unit.attribution.conversion.reports import event_id_of, postback

pytestmark = pytest.mark.store


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[ConversionStore]:
    """An empty one."""
    async with PostgresCampaignStore.open(dsn) as store:
        yield store.conversions


class TestPostgresConversionStore(ConversionStoreContract):
    """In PostgreSQL."""


async def rows(dsn: str, statement: str) -> list[dict[str, Any]]:
    """Return what a statement finds."""
    connection = await asyncpg.connect(dsn)
    try:
        return [dict(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def test_every_change_is_told_once_and_in_its_order(store: ConversionStore, dsn: str) -> None:
    await take(store, postback(1, "txid=1&status=lead"), postback(2, "txid=2&event=purchase"))
    await take(store, postback(3, "txid=1&status=lead"))
    await take(store, postback(4, "txid=1&status=approved&payout=5"), postback(5, "txid=2&event=purchase&payout=1"))
    await take(store, postback(6, "txid=1&status=refund&payout=2"))
    await take(store, postback(6, "txid=1&status=refund&payout=2"))
    changes = await rows(dsn, "SELECT * FROM conversion_changes ORDER BY change_id")
    told = [(change["conversion_id"][-1], change["kind"]) for change in changes]
    assert told == [("1", "created"), ("2", "created"), ("1", "status"), ("2", "value"), ("1", "refund")]
    before, after = json.loads(changes[2]["before"]), json.loads(changes[2]["after"])
    assert (before["status"], after["status"], after["value_micros"]) == ("lead", "sale", 5_000_000)
    assert changes[0]["before"] is None
    assert json.loads(changes[0]["after"])["conversion_id"] == event_id_of(1)


async def test_the_reading_is_told_where_an_event_counts_for_something_else(store: ConversionStore, dsn: str) -> None:
    await take(store, postback(1, "txid=1&event=purchase&payout=5"), postback(2, "txid=2&event=purchase&payout=7"))
    assert await rows(dsn, "SELECT * FROM conversion_verdicts") == []
    await take(store, postback(3, "txid=1&event=purchase&payout=5"))
    (duplicate,) = await rows(dsn, "SELECT * FROM conversion_verdicts")
    assert (duplicate["event_id"], duplicate["is_conversion"], duplicate["value_micros"]) == (
        event_id_of(3),
        False,
        None,
    )
    assert duplicate["revision"] > duplicate["sent_revision"] == 0
    await take(store, postback(4, "txid=1&event=purchase&status=rejected"))
    verdicts = await rows(dsn, "SELECT * FROM conversion_verdicts ORDER BY event_id")
    assert [verdict["event_id"][-1] for verdict in verdicts] == ["1", "3"]
    assert not any(verdict["is_conversion"] or verdict["is_adjustment"] for verdict in verdicts)
    assert verdicts[1]["revision"] == duplicate["revision"]


async def test_the_reading_is_told_that_events_count_for_nothing_where_an_order_has_no_room(
    store: ConversionStore, dsn: str
) -> None:
    events = [postback(number, "txid=1&event=purchase&payout=5", seconds=number / 1000) for number in range(1, 1004)]
    for _ in range(2):
        await take(store, *events[:1001])
        await take(store, *events[900:])
    verdicts = await rows(dsn, "SELECT * FROM conversion_verdicts ORDER BY event_id")
    assert [verdict["event_id"] for verdict in verdicts] == [event_id_of(number) for number in range(2, 1004)]
    assert not any(verdict["is_conversion"] or verdict["value_micros"] for verdict in verdicts)


async def test_what_anybody_may_send_fits_the_columns(store: ConversionStore, dsn: str) -> None:
    longest = "%ff" * 512
    events = [
        postback(
            number,
            f"txid={longest}&payout=999999999999&status={longest}&click_id={longest}&gclid={longest}&source={longest}",
        )
        for number in range(12)
    ]
    odd = postback(20, "txid=%00", user_id="a\0b", marks=("m\0",), network="n\0")
    await take(store, *events, odd)
    (kept,) = await listed(store, order_id="\\x00")
    assert (kept.conversion.user_id, kept.conversion.network) == ("a\\x00b", "n\\x00")

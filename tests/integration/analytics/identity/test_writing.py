"""Edges as pages are written, made again, found in history, and gone with what is too old."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from analytics_svc.identity.end import EndHasher
from analytics_svc.identity.history import make_history
from analytics_svc.store import Bookmark, Page, clickhouse
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from analytics_svc.store.connect import connect, open_client
from analytics_svc.store.edges import TABLE, ClickHouseEdges
from analytics_svc.store.expiry import expire
from svc_runtime.clickhouse import Dsn
from tests.contract.analytics.fake_capture import make_event
from tests.integration.analytics.identity.conftest import HASHER
from tests.integration.analytics.test_clickhouse_store import MakeDsn
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.store, pytest.mark.timeout(120)]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def named(number: int, at: datetime, target: bytes, **fields: Any) -> event_pb2.Event:
    event = make_event(number * 5)
    event.organization_id, event.event_time_ms = "org_a", int(at.timestamp() * 1000)
    event.route, event.event_type, event.target, event.user_id = "pixel", b"pageview", target, f"usr_{number}"
    event.MergeFrom(event_pb2.Event(**fields))
    return event


EVENTS = [
    named(1, NOON, b"/pixel?Customer_ID=c1&em=bob%40shop.de"),
    named(2, NOON + 40 * DAY, b"/pixel?user_id=c1"),
    named(3, NOON + DAY, b"/pixel?event=purchase&order_id=o1", event_type=b"purchase"),
    named(4, NOON + 2 * DAY, b"/pixel", body=b'{"login_id": "c2", "email": "BOB@shop.de"}'),
    named(5, NOON, b"/pixel?zoneid=c1"),
]


def page(events: Sequence[event_pb2.Event]) -> Page:
    batch = event_pb2.EventBatch(events=events).SerializeToString()
    return Page((batch,), len(events), Bookmark(b"1", NOON))


def edges(dsn: Dsn) -> list[Any]:
    client = open_client(dsn)
    try:
        return list(client.query(f"SELECT * FROM {TABLE} FINAL ORDER BY ALL").result_rows)
    finally:
        client.close()


@contextlib.asynccontextmanager
async def history_of(dsn: Dsn, hasher: EndHasher = HASHER) -> AsyncIterator[ClickHouseEdges]:
    clickhouse_ = connect(dsn)
    try:
        yield ClickHouseEdges(clickhouse_, hasher)
    finally:
        await clickhouse_.close()


async def test_a_page_brings_the_edges_of_its_events(make_dsn: MakeDsn) -> None:
    dsn = make_dsn()
    async with ClickHouseReadingStore.open(dsn, hasher=HASHER) as store:
        await store.write(page(EVENTS))
    found = {(row[3].partition("_")[0], row[4].partition("_")[0], row[1]) for row in edges(dsn)}
    assert {(one, other) for one, other, _ in found if one == "visitor"} == {
        ("visitor", "login"),
        ("visitor", "email"),
        ("visitor", "order"),
    }
    assert len(edges(dsn)) == 2 * 6
    emails = {row[4] for row in edges(dsn) if row[4].startswith("email")}
    assert len(emails) == 1


@pytest.mark.parametrize("small_bytes", [0, 10**9])
async def test_edges_do_not_depend_on_the_way_of_derivation_or_the_pages(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    whole, pieces = make_dsn(), make_dsn()
    async with ClickHouseReadingStore.open(whole, hasher=HASHER) as store:
        await store.write(page(EVENTS))
    async with ClickHouseReadingStore.open(pieces, hasher=HASHER) as store:
        monkeypatch.setattr(store._deriver, "_small_bytes", small_bytes)
        for event in reversed(EVENTS):
            await store.write(page([event]))
    assert edges(pieces) == edges(whole) != []


async def test_a_page_that_failed_before_its_rows_were_seen_brings_its_edges_with_the_next_try(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, other = make_dsn(), make_dsn()
    async with ClickHouseReadingStore.open(other, hasher=HASHER) as store:
        await store.write(page(EVENTS))
    async with ClickHouseReadingStore.open(dsn, hasher=HASHER) as store:
        keep = clickhouse.keep_page

        def failing(*given: Any) -> None:
            keep(*given)
            raise RuntimeError("killed")

        monkeypatch.setattr(clickhouse, "keep_page", failing)
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it becomes
            await store.write(page(EVENTS))
        monkeypatch.setattr(clickhouse, "keep_page", keep)
        assert await store.write(page(EVENTS)) == len(EVENTS)
    assert edges(dsn) == edges(other)


async def test_history_gets_the_edges_that_it_would_have_had(make_dsn: MakeDsn) -> None:
    without, with_ = make_dsn(), make_dsn()
    async with ClickHouseReadingStore.open(with_, hasher=HASHER) as store:
        await store.write(page(EVENTS))
    async with ClickHouseReadingStore.open(without) as store, history_of(without) as history:
        await store.write(page(EVENTS))
        assert edges(without) == []
        assert await history.missing_months() == [date(2026, 4, 1), date(2026, 3, 1)]
        await make_history(history, writing=store.writing)
        assert edges(without) == edges(with_)
        assert await history.missing_months() == []
        await make_history(history, writing=store.writing)
        assert edges(without) == edges(with_)


async def test_another_key_makes_every_edge_again_and_leaves_none_of_before(make_dsn: MakeDsn) -> None:
    dsn, other = make_dsn(), EndHasher(b"o" * 32)
    async with ClickHouseReadingStore.open(dsn, hasher=HASHER) as store, history_of(dsn, other) as history:
        await store.write(page(EVENTS))
        before = edges(dsn)
        await make_history(history, writing=store.writing)
        after = edges(dsn)
    assert len(after) == len(before)
    assert {row[2] for row in after} == {other.edition} != {HASHER.edition}
    assert {row[3] for row in after if row[3].startswith("login")}.isdisjoint({row[3] for row in before})


async def test_edges_leave_with_the_days_of_their_events(make_dsn: MakeDsn) -> None:
    dsn = make_dsn()
    async with ClickHouseReadingStore.open(dsn, hasher=HASHER) as store:
        await store.write(page(EVENTS))
    before, client = edges(dsn), open_client(dsn)
    try:
        await asyncio.to_thread(expire, client, {"": NOON + DAY})
    finally:
        client.close()
    assert edges(dsn) == [row for row in before if row[1] >= (NOON + DAY).date()] != before

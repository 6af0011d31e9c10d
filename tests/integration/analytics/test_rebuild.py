"""The reading made again from the raw events, in a real engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from analytics_svc import operations as operations_module
from analytics_svc import raw
from analytics_svc.mappings.mapping import ActiveMapping, Span
from analytics_svc.mappings.mappings import MappingChange
from analytics_svc.operation import Operation, State
from analytics_svc.store.connect import open_client
from analytics_svc.store.making import ClickHouseMonthMaker
from capture_svc import servicer as capture_servicer
from svc_runtime.clickhouse import Dsn, parse_dsn
from svc_runtime.errors import UnavailableError
from tests.contract.capture.things import make_event
from tests.integration.analytics.rebuilding import Site, site, traffic
from tests.integration.analytics.rollup_check import assert_rollups_agree
from tests.reading import insert_events

pytestmark = [pytest.mark.store, pytest.mark.loopback]
START = datetime(2026, 1, 25, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations_module, "WATCH_SECONDS", 0.02)


@pytest.fixture
def dsns(make_dsn: Callable[[], Dsn]) -> tuple[Dsn, Dsn]:
    """Return two databases of one engine: of raw events, and of the reading."""
    dsn = make_dsn()
    return parse_dsn(f"chdb://{dsn.path}", default_database=f"{dsn.database}_raw"), dsn


@pytest.fixture
async def running(dsns: tuple[Dsn, Dsn]) -> AsyncIterator[Site]:
    """Run all of it."""
    async with site(*dsns) as found:
        yield found


def check(found: Site) -> None:
    """Check what must hold at all times."""
    count, unique = found.query("SELECT count(), uniqExact(event_id) FROM events")[0]
    assert count == unique
    client = open_client(found.dsn)
    try:
        assert_rollups_agree(client)
    finally:
        client.close()
    assert found.query(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'made_%_own'"
    ) == [(0,)]


async def test_a_rebuild_gives_the_same_rows_and_the_same_counts(running: Site) -> None:
    events = traffic(3000, seed=1, start=START, days=70)
    await running.send(events)
    await running.followed(3000)
    before = running.checksums()
    operation = await running.over(await running.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED, operation.error
    assert operation.done_events == operation.total_events == 3000
    assert len(operation.done_months) == 4
    assert running.checksums() == before
    check(running)


async def test_a_rebuild_of_what_was_lost_and_spoiled_gives_it_back(running: Site) -> None:
    await running.send(traffic(1500, seed=2, start=START, days=20))
    await running.followed(1500)
    before = running.checksums()
    client = open_client(running.dsn)
    try:
        async with running.store.writing():
            client.command("DELETE FROM events WHERE user_id = 'usr_7'")
            client.command("UPDATE events SET source = 'nonsense', session_id = 'x' WHERE organization_id = 'org_b'")
            client.command("TRUNCATE TABLE rollup_day")
    finally:
        client.close()
    assert running.checksums() != before
    operation = await running.over(await running.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED, operation.error
    assert running.checksums() == before
    check(running)


async def test_months_that_raw_does_not_have_go(running: Site) -> None:
    await running.send(traffic(600, seed=3, start=START, days=5))
    await running.followed(600)
    before = running.checksums()
    client = open_client(running.dsn)
    try:
        async with running.store.writing():
            insert_events(client, [{"event_time": datetime(2025, 6, 3, tzinfo=UTC), "user_id": "ghost"}])
    finally:
        client.close()
    operation = await running.over(await running.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED, operation.error
    assert operation.done_months[0] == date(2025, 6, 1)
    assert running.checksums() == before
    check(running)


async def test_one_organisation_made_again_by_another_mapping_leaves_the_others_bit_by_bit(running: Site) -> None:
    await running.send(traffic(2000, seed=4, start=START, days=40))
    await running.followed(2000)
    others, own = "organization_id != 'org_a'", "organization_id = 'org_a'"
    before, before_own = running.checksums(others), running.checksums(own)
    mapping = ActiveMapping("map_1", 1, "", {"content": "zoneid"})

    async def activate(*mappings: ActiveMapping) -> None:
        running.mappings["org_a"] = mappings

    span = Span(None, None)
    change = MappingChange("org_a", "map_1", 1, "key:k", span)
    operation = await running.over(await running.operations.change(change, lambda: activate(mapping)))
    assert operation.state is State.SUCCEEDED, operation.error
    assert running.checksums(others) == before
    assert running.checksums(own)["events"] != before_own["events"]
    read = "SELECT count() FROM events WHERE organization_id = 'org_a' AND has(mapping_versions, 'map_1/1')"
    assert running.query(read)[0][0] > 0
    check(running)
    undone = await running.over(await running.operations.change(change, activate))
    assert undone.state is State.SUCCEEDED, undone.error
    assert running.checksums(others) == before
    assert running.checksums(own) == before_own, "undone: as if nothing had been"
    check(running)


async def test_one_month_made_again_leaves_what_it_takes_from_other_months(running: Site) -> None:
    await running.send(traffic(2000, seed=5, start=START, days=40))
    await running.followed(2000)
    before = running.checksums()

    async def activate() -> None:
        pass

    for month in (1, 2, 3):
        span = Span(datetime(2026, month, 10, tzinfo=UTC), datetime(2026, month, 11, tzinfo=UTC))
        change = MappingChange("org_a", "map_1", 1, "key:k", span)
        operation = await running.over(await running.operations.change(change, activate))
        assert operation.state is State.SUCCEEDED, operation.error
        assert operation.done_months == (date(2026, month, 1),)
        assert running.checksums() == before, operation.done_months
    check(running)


async def test_events_that_keep_coming_and_questions_that_keep_being_asked(running: Site) -> None:
    await running.send(traffic(1000, seed=6, start=START, days=40))
    await running.followed(1000)
    sent = [1000]
    seen: list[tuple[int, int]] = []
    is_over = asyncio.Event()

    async def keep_sending() -> None:
        # Enough to come in the middle of everything, and not so much that a busy machine never sees the end.
        while not is_over.is_set() and sent[0] < 3000:
            await running.send(traffic(40, seed=sent[0], start=START, days=40, first=sent[0] + 10_000))
            sent[0] += 40
            await asyncio.sleep(0.1)

    def ask(client: Client) -> tuple[int, int]:
        row = client.query("SELECT count(), uniqExact(event_id) FROM events").result_rows[0]
        return row[0], row[1]

    async def keep_asking() -> None:
        client = await asyncio.to_thread(open_client, running.dsn)
        try:
            while not is_over.is_set():
                seen.append(await asyncio.to_thread(ask, client))
        finally:
            client.close()

    async def rebuild() -> Operation:
        try:
            return await running.over(await running.operations.start_rebuild("", actor="operator"), seconds=240)
        finally:
            is_over.set()

    operation, _, _ = await asyncio.gather(rebuild(), keep_sending(), keep_asking())
    assert operation.state is State.SUCCEEDED, operation.error
    await running.followed(sent[0])
    assert len(seen) > 20
    assert all(count == unique for count, unique in seen), "nobody saw a row twice"
    counts = [count for count, _ in seen]
    assert counts == sorted(counts), "nobody missed a row"
    during = running.checksums()
    check(running)
    again = await running.over(await running.operations.start_rebuild("", actor="operator"), seconds=240)
    assert again.state is State.SUCCEEDED, again.error
    assert running.checksums() == during, "what comes during a rebuild is settled as by the next one"


@pytest.mark.parametrize("days", [1, 20], ids=["in the same month", "in the next month"])
async def test_who_clicked_is_known_to_a_conversion_that_comes_while_the_month_is_made(
    running: Site, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    clicked_ms, click_id = int(START.timestamp() * 1000), "OcDiH1nNQkQ-qW_momK3WM"
    click: dict[str, Any] = {"event_time_ms": clicked_ms, "click_id": click_id, "user_id": "usr_1"}
    sale: dict[str, Any] = {
        "event_type": b"purchase",
        "route": "postback",
        "target": f"/postback?click_id={click_id}&amount=5&txid=t1".encode(),
        "user_id": "",
    }
    await running.send([make_event("org_a", **click)])
    await running.followed(1)
    settle = ClickHouseMonthMaker.settle

    async def and_then_it_converts(self: ClickHouseMonthMaker) -> None:
        await settle(self)
        monkeypatch.undo()
        at = clicked_ms + days * 86_400_000
        await running.send([make_event("org_a", event_time_ms=at, click_id="", external_click_id=b"", **sale)])
        await running.followed(2)

    monkeypatch.setattr(ClickHouseMonthMaker, "settle", and_then_it_converts)
    during = await running.over(await running.operations.start_rebuild("", actor="operator"))
    assert during.state is State.SUCCEEDED, during.error
    found = running.checksums()
    again = await running.over(await running.operations.start_rebuild("", actor="operator"))
    assert again.state is State.SUCCEEDED, again.error
    assert running.checksums() == found


async def test_a_capture_svc_that_goes_away_is_waited_for(
    dsns: tuple[Dsn, Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "FIRST_DELAY_SECONDS", 0.05)
    async with site(*dsns) as found:
        await found.send(traffic(2000, seed=7, start=START, days=3))
        await found.followed(2000)
        before = found.checksums()
        events = found.capture.parts.events
        scan, calls = events.scan, []

        async def failing(*arguments: Any, **named: Any) -> Any:
            calls.append(len(calls))
            if 2 <= len(calls) < 8:
                raise UnavailableError("made to fail")
            return await scan(*arguments, **named)

        monkeypatch.setattr(capture_servicer, "PATIENCE_SECONDS", 0.0)
        monkeypatch.setattr(events, "scan", failing)
        operation = await found.over(await found.operations.start_rebuild("", actor="operator"))
        assert operation.state is State.SUCCEEDED, operation.error
        assert len(calls) > 8
        assert found.checksums() == before
        check(found)

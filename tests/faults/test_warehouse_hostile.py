"""Traffic and questions that mean harm: poison, clocks of another century, queries without an end."""

import asyncio
import contextlib
import json
import time
from typing import Any

import aiohttp
import pytest

from tests.faults.stumbling import POISON
from tests.faults.warehouse import COUNT, RefusedError, Warehouse
from tests.mesh.mesh import ANALYTICS
from trellisctl import demo

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

_ENDLESS = "SELECT count() FROM events a, events b, events c WHERE a.url != b.user_agent AND b.url != c.ip"
_RUN_SECONDS = 4
_CLOCKS = {
    "1970": "1970-01-01T00:00:01Z",
    "2099": "2099-12-31T23:59:59Z",
    "0": 0,
    "milliseconds": 4_102_444_799_000,
    "negative": -62_135_596_800,
}


async def _send(warehouse: Warehouse, body: bytes, *, agent: str = "Mozilla/5.0", query: str = "") -> int:
    """Send an event; return the status."""
    url = f"http://127.0.0.1:{warehouse.mesh.http_port}/events?run={warehouse.ledger.run_id}{query}"
    headers = {
        "Authorization": f"Bearer {demo.PUBLISHABLE_KEY}",
        "Content-Type": "application/json",
        "User-Agent": agent,
        "Host": demo.HOST,
    }
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        return answer.status


def _event(name: str, **fields: Any) -> bytes:
    return json.dumps({"event": name, **fields}).encode()


async def _rows(warehouse: Warehouse, columns: str) -> list[list[Any]]:
    """Return what the reading has of this test's events, in their order."""
    return await warehouse.sql(
        f"SELECT {columns} FROM events WHERE params['run'] = '{warehouse.ledger.run_id}' ORDER BY event_time, event_id"
    )


async def test_an_event_that_breaks_a_rule_is_kept_marked_and_stops_nobody(warehouse: Warehouse) -> None:
    mesh = warehouse.mesh
    honest = mesh[ANALYTICS].launch.command
    mesh.run_module(ANALYTICS, "tests.faults.stumbling")
    await warehouse.restart()
    async with warehouse.load().running():
        for number in range(3):
            assert await _send(warehouse, _event("before", number=number)) == 200
            assert await _send(warehouse, _event("poison", number=number), agent=POISON) == 200
        await warehouse.until(lambda: warehouse.acknowledged() > 200)
    await warehouse.caught_up()
    # Of one that cannot be read there is what the gateway said: its name, its time, no parameter.
    named = "SELECT event_type, has(marks, 'unreadable'), count() FROM events WHERE event_type IN ('before', 'poison')"
    found = await warehouse.sql(f"{named} GROUP BY event_type, has(marks, 'unreadable') ORDER BY event_type")
    assert [(name, int(is_marked), int(count)) for name, is_marked, count in found] == [
        ("before", 0, 3),
        ("poison", 1, 3),
    ]
    assert "an event cannot be read" in mesh[ANALYTICS].log_since_start()

    # The rule is mended: making the reading again reads them like any other.
    mesh[ANALYTICS].launch.command = honest
    await warehouse.restart()
    await warehouse.rebuilt(await warehouse.begin_rebuild())
    rows = [
        (name, int(is_marked)) for name, is_marked in await _rows(warehouse, "event_type, has(marks, 'unreadable')")
    ]
    assert sorted(rows) == [("before", 0)] * 3 + [("poison", 0)] * 3
    await warehouse.settle()


async def test_bodies_and_queries_that_mean_harm_are_rows_like_any_other(warehouse: Warehouse) -> None:
    bodies = [
        b'{"event":"deep","properties":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"event":"list","properties":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"event":"number","value":1e999999,"cost":-1e400,"currency":"\\ud800"}',
        b'{"event":"huge","value":' + b"9" * 4000 + b',"currency":"' + b"X" * 4000 + b'"}',
        b'{"event":"\\u0000\\uffff","user_id":{"a":[]},"order_id":[],"timestamp":{}}',
        b'{"event":"twice","event":"thrice","value":"1","value":"NaN","click_id":"' + b"\xff\xfe" + b'"}',
        b'{"event":"cut","value":',
        b"\x00\x01\x02",
        b'"only a text"',
    ]
    queries = ["&%00=%00&%ff=%fe&=&&&", "&" + "&".join(f"p{n}=v" for n in range(800)), f"&click_id={'x' * 4000}"]
    sent = 0
    for body in bodies:
        assert await _send(warehouse, body) in {200, 400}
    for query in queries:
        sent += await _send(warehouse, _event("query"), query=query) == 200
    assert await _send(warehouse, _event("last", value=5, currency="EUR")) == 200
    await warehouse.caught_up()
    rows = await _rows(warehouse, "event_type, value")
    assert rows[-1] == ["last", "5"]
    assert len(rows) >= sent + 1
    await warehouse.settle(
        note=f"{len(rows)} of {len(bodies) + len(queries) + 1} hostile requests were taken as events"
    )


async def test_clocks_of_another_century_are_flagged_and_make_no_partition(warehouse: Warehouse) -> None:
    for name, clock in _CLOCKS.items():
        assert await _send(warehouse, _event(f"clock_{name}", timestamp=clock)) == 200
    assert await _send(warehouse, _event("clock_right", timestamp=time.time())) == 200
    await warehouse.caught_up()
    rows = await _rows(
        warehouse,
        "event_type, has(marks, 'client_time_implausible'), isNull(client_time), abs(event_time - now()) < 3600",
    )
    flagged = {name: (int(marked), int(unknown), int(near)) for name, marked, unknown, near in rows}
    assert flagged.pop("clock_right") == (0, 0, 1)
    # A partition is a month of `event_time`, which is near.
    assert flagged == {f"clock_{name}": (1, 1, 1) for name in _CLOCKS}


async def test_queries_that_read_too_much_or_run_too_long_are_refused_with_the_way_out(warehouse: Warehouse) -> None:
    async with warehouse.load(rate=600).running():
        await warehouse.until(lambda: warehouse.acknowledged() > 2000)
    rows_to_read = 4 * await warehouse.caught_up()
    warehouse.mesh.configure(
        ANALYTICS, ANALYTICS_SQL_ROWS_TO_READ=str(rows_to_read), ANALYTICS_SQL_RUN_SECONDS=str(_RUN_SECONDS)
    )
    await warehouse.restart()
    for statement, limit in (
        (f"SELECT count() FROM ({' UNION ALL '.join(['SELECT url FROM events'] * 6)})", f"({rows_to_read} rows)"),
        (_ENDLESS, f"({_RUN_SECONDS} s)"),
    ):
        began = time.monotonic()
        with pytest.raises(RefusedError) as refused:
            await warehouse.sql(statement, seconds=60)
        assert (refused.value.status, refused.value.reason) == (422, "QUERY_LIMIT")
        assert limit in refused.value.detail
        assert time.monotonic() - began < _RUN_SECONDS + 20
        assert await warehouse.sql(COUNT), "the next question is not answered"


async def test_a_query_that_its_client_left_ends(warehouse: Warehouse) -> None:
    mesh = warehouse.mesh
    mesh.configure(ANALYTICS, ANALYTICS_SQL_RUN_SECONDS="120")
    await warehouse.restart()
    async with warehouse.load(rate=600).running():
        await warehouse.until_count(2000)
    for _ in range(4):
        # More than may run at a time: one that went on would keep its place.
        with contextlib.suppress(TimeoutError):
            await warehouse.sql(_ENDLESS, seconds=1.5)
            pytest.fail("the query was not long enough to be left")
    assert await warehouse.sql(COUNT)
    await warehouse.until(lambda: mesh[ANALYTICS].log_since_start().count('"outcome": "abandoned"') == 4)
    await _is_idle(warehouse)


async def _is_idle(warehouse: Warehouse) -> None:
    """Wait until analytics_svc uses little of a core."""
    process = warehouse.mesh[ANALYTICS]
    deadline = time.monotonic() + 30
    while True:
        before, began = process.usage().cpu_seconds, time.monotonic()
        await asyncio.sleep(1)
        share = (process.usage().cpu_seconds - before) / (time.monotonic() - began)
        if share < 0.5:
            return
        assert time.monotonic() < deadline, f"analytics_svc still uses {share:.0%} of a core"

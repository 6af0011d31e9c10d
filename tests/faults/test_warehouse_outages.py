"""The neighbours of analytics_svc away, slow, late or in its place: answers go on, and are right."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from urllib.parse import unquote

import pytest

from tests.faults.ledger import Fate
from tests.faults.warehouse import COUNT, RefusedError, Warehouse
from tests.mesh.mesh import ANALYTICS, CAPTURE
from tests.mesh.process import Launch, Process
from trellisctl.up.plan import VALKEY
from trellisctl.up.ports import choose_ports

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

_REPORT = "/analytics/breakdown?dimensions=event_type&metrics=events&include_bots=true"


async def _ask_valkey(warehouse: Warehouse, command: str) -> bytes:
    url = warehouse.mesh[ANALYTICS].launch.environment["ANALYTICS_REDIS_URL"]
    reader, writer = await asyncio.open_unix_connection(unquote(url.removeprefix("unix://")))
    writer.write(f"{command}\r\n".encode())
    answer = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return answer


async def _total(warehouse: Warehouse) -> int:
    return int((await warehouse.ask(_REPORT))["totals"]["events"])


@contextlib.asynccontextmanager
async def _asking(warehouse: Warehouse) -> AsyncIterator[list[tuple[int, float]]]:
    """Ask the same report all the time; gives what it said and how long it took. A refusal fails the test."""
    answers: list[tuple[int, float]] = []
    ends = asyncio.Event()

    async def ask() -> None:
        while not ends.is_set():
            began = time.monotonic()
            answers.append((await _total(warehouse), time.monotonic() - began))
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        ends.set()
        await asking


async def test_a_cache_that_is_flushed_frozen_or_gone_changes_no_answer(warehouse: Warehouse) -> None:
    mesh = warehouse.mesh
    before = await warehouse.caught_up()

    async def answered(answers: list[tuple[int, float]], count: int = 3) -> None:
        wanted = len(answers) + count
        await warehouse.until(lambda: len(answers) >= wanted)

    async with warehouse.load().running(), _asking(warehouse) as answers:
        await answered(answers)
        for _ in range(5):
            assert await _ask_valkey(warehouse, "FLUSHALL") == b"+OK\r\n"
            await answered(answers, 1)
        mesh[VALKEY].freeze()
        await answered(answers)
        mesh[VALKEY].thaw()
        await answered(answers)
        mesh.kill(VALKEY)
        await answered(answers)
        await mesh.start(VALKEY)
        await mesh.wait_ready(VALKEY)
        await answered(answers)
    stored = await warehouse.caught_up()
    totals = [total for total, _ in answers]
    assert totals == sorted(totals), "an older answer came after a newer one"
    assert before <= totals[0] <= totals[-1] <= stored
    deadline = time.monotonic() + 20
    while (total := await _total(warehouse)) != stored:
        assert time.monotonic() < deadline, f"the report says {total}, {stored} are stored"
        await asyncio.sleep(0.2)
    rows = (await warehouse.ask(_REPORT))["rows"]
    assert sum(row["metrics"]["events"] for row in rows) == stored
    await warehouse.settle(note=f"{len(answers)} answers, the slowest took {max(took for _, took in answers):.1f} s")


async def test_questions_are_answered_while_capture_svc_is_away_and_after_a_start_without_it(
    warehouse: Warehouse, outage_seconds: float
) -> None:
    mesh = warehouse.mesh
    async with warehouse.load().running():
        await warehouse.until(lambda: warehouse.acknowledged() > 100)
        mesh.kill(CAPTURE)
        away_since = time.monotonic()
        known = await warehouse.until_count(0)
        # It was up before its neighbour, and it starts before it.
        mesh.kill(ANALYTICS)
        await mesh.start(ANALYTICS)
        await mesh.wait_ready(ANALYTICS)
        count = await warehouse.until_count(known)
        assert await _total(warehouse) >= known
        await asyncio.sleep(max(0.0, outage_seconds - (time.monotonic() - away_since)))
        await mesh.start(CAPTURE)
        await mesh.wait_ready(CAPTURE)
        came_back = time.monotonic()
        await warehouse.until_count(count + warehouse.ledger.count(Fate.ACKNOWLEDGED) // 2)
        took = time.monotonic() - came_back
    assert warehouse.ledger.statuses("click") == {302}
    await warehouse.settle(note=f"away {outage_seconds:g} s, events of the outage in the reading after {took:.1f} s")


async def test_a_process_waits_for_the_one_that_leaves_its_directory(warehouse: Warehouse) -> None:
    """As after a kill whose victim takes its time, or in an overlap of two deployments."""
    mesh = warehouse.mesh
    successor = Process("successor", await _elsewhere(mesh[ANALYTICS].launch), mesh.directory.log_path("successor"))
    try:
        successor.start()
        await successor.logged("waiting for ClickHouse")
        assert await warehouse.sql(COUNT), "the one that was there is disturbed"
        mesh.kill(ANALYTICS)
        await successor.listening()
        assert '"Traceback' not in successor.log_since_start()
    finally:
        successor.stop()


async def _elsewhere(launch: Launch) -> Launch:
    ports = await choose_ports("127.0.0.1", 0, 0)
    environment: Mapping[str, str] = {**launch.environment, "ANALYTICS_LISTEN": f"127.0.0.1:{ports.http}"}
    return Launch(command=launch.command, environment=environment, os_ids=launch.os_ids)


async def test_a_refusal_is_the_answer_while_analytics_svc_is_away(warehouse: Warehouse) -> None:
    warehouse.mesh.kill(ANALYTICS)
    with pytest.raises(RefusedError) as refused:
        await warehouse.sql(COUNT)
    assert (refused.value.status, refused.value.reason) == (503, "UNAVAILABLE")
    assert await warehouse.mesh.click_status() == 302

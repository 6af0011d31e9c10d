"""``kill -9`` of analytics_svc under load: every event is in the reading once, and roll-ups say what the events say."""

import asyncio
import re
import shutil

import pytest

from tests.faults.reading import forget_cursor
from tests.faults.warehouse import Warehouse
from tests.mesh.mesh import ANALYTICS
from trellis.analytics.v1 import projection_service_pb2 as projection_pb

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

_KILLS_SHARE = 7
"""A soak of so many rounds kills once here: each is followed by a start."""


@pytest.fixture
def kills(rounds: int) -> int:
    """How many times a test kills."""
    return max(3, rounds // _KILLS_SHARE)


async def test_kills_while_pages_are_written(warehouse: Warehouse, kills: int) -> None:
    mesh = warehouse.mesh
    async with warehouse.watched() as watch, warehouse.load().running():
        for _ in range(kills):
            await asyncio.sleep(warehouse.random.uniform(0.3, 1.5))
            await asyncio.to_thread(mesh.kill, ANALYTICS)
            await mesh.start(ANALYTICS)
            if warehouse.random.random() < 0.7:
                # Else the next kill comes while this one is still putting things in order.
                await mesh[ANALYTICS].listening()
        acknowledged = warehouse.acknowledged()
    reading = await warehouse.settle(note=f"{kills} kills, {watch.answered_count} looks")
    assert len(reading.ids) >= acknowledged > 0


async def test_kills_while_the_reading_is_made_again(warehouse: Warehouse, kills: int) -> None:
    mesh = warehouse.mesh
    async with warehouse.watched() as watch, warehouse.load().running():
        await warehouse.until_count(500)
        begun = [await warehouse.begin_rebuild()]
        for _ in range(kills):
            await asyncio.sleep(warehouse.random.uniform(0.0, 1.0))
            await asyncio.to_thread(mesh.kill, ANALYTICS)
            await warehouse.start()
            async with warehouse.projection() as call:
                at_work = (await call("GetProjection", projection_pb.GetProjectionRequest())).running_operation_id
            if not at_work:
                begun.append(await warehouse.begin_rebuild())
        ended = [await warehouse.rebuilt(operation_id) for operation_id in begun]
    assert {operation.state for operation in ended} == {projection_pb.OPERATION_STATE_SUCCEEDED}
    reading = await warehouse.settle(note=f"{kills} kills, {len(begun)} rebuilds, {watch.answered_count} looks")
    assert ended[-1].done_event_count > 0
    assert len(reading.partitions) == 1


async def test_the_feed_from_zero_gives_the_same_reading(warehouse: Warehouse) -> None:
    mesh = warehouse.mesh
    async with warehouse.load().running():
        await warehouse.until(lambda: warehouse.acknowledged() > 500)
    first = await warehouse.settle()

    await forget_cursor(mesh)
    await warehouse.start()
    await warehouse.until(lambda: _repeated_count(warehouse) == len(first.ids))
    again = await warehouse.settle()
    assert (again.ids, again.fingerprint) == (first.ids, first.fingerprint)

    shutil.rmtree(mesh.directory.analytics)
    mesh.directory.make()
    anew = await warehouse.settle(note="read again into what was there, and into nothing")
    assert (anew.ids, anew.fingerprint) == (first.ids, first.fingerprint)


def _repeated_count(warehouse: Warehouse) -> int:
    """Return how many events the process that runs was given though they were there."""
    found = re.findall(r'"repeated_count": (\d+)', warehouse.mesh[ANALYTICS].log_since_start())
    return sum(map(int, found))

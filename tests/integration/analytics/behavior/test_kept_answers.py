"""Answers are kept as long as they are true."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.integration.analytics.behavior.conftest import Asked, at
from tests.integration.analytics.behavior.test_funnel_vectors import funnel_request, march
from tests.reading import OTHER, insert_events
from trellis.analytics.v1 import behavior_pb2 as pb

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.loopback]

FUNNEL = funnel_request([{"click"}], 1000)
RETENTION = pb.QueryRetentionRequest(slice=march(), metric="revenue", period_count=2)
PATHS = pb.QueryPathsRequest(slice=march())


async def ask_all(asked: Asked, organization_id: str = "org_acmecorp") -> list[tuple[bool, bytes]]:
    """Ask every kind of question; return for each whether it was kept, and the answer."""
    caller = Asked.caller(organization_id)
    funnel = await asked.stub.QueryFunnel(FUNNEL, metadata=caller)
    retention = await asked.stub.QueryRetention(RETENTION, metadata=caller)
    paths = await asked.stub.QueryPaths(PATHS, metadata=caller)
    found = []
    for response in (funnel, retention, paths):
        is_cached, response.info.is_cached = response.info.is_cached, False
        response.info.rows_read = 0
        response.info.elapsed_seconds = 0
        found.append((is_cached, response.SerializeToString(deterministic=True)))
    return found


@pytest.mark.parametrize("days", [0, 40], ids=["running", "over"])
async def test_an_equal_question_gets_the_same_answer_until_the_reading_changes(
    asked: Asked, client: "Client", days: int
) -> None:
    client.command("TRUNCATE TABLE rollup_day")
    asked.clock.watermark_time = at(0) + timedelta(days=days)
    insert_events(client, [{"user_id": "u", "event_time": at(0)}])
    sale = {"is_conversion": 1, "value": "1.000001", "currency": "EUR", "event_type": "sale"}
    insert_events(client, [{"user_id": "u", "event_time": at(1), **sale}])
    first, again = await ask_all(asked), await ask_all(asked)
    assert [is_kept for is_kept, _ in first] == [False] * 3
    assert [is_kept for is_kept, _ in again] == [True] * 3
    assert [answer for _, answer in again] == [answer for _, answer in first]
    assert [is_kept for is_kept, _ in await ask_all(asked, OTHER)] == [False] * 3
    insert_events(client, [{"user_id": "v", "event_time": at(2)}, {"user_id": "v", "event_time": at(3), **sale}])
    if not days:
        asked.clock.watermark_time += timedelta(seconds=5)
    later = await ask_all(asked)
    assert [is_kept for is_kept, _ in later] == [False] * 3
    assert all(new != old for (_, new), (_, old) in zip(later, first, strict=True))

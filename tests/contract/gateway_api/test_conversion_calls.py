"""Conversions over HTTP."""

from datetime import UTC, datetime

import pytest

from tests.contract.gateway_api.fakes import ACME, OTHER, key_without
from tests.contract.gateway_api.mesh import Mesh
from trellis.attribution.v1 import conversion_service_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
PATH = "/api/v1/conversions"


async def test_a_list_is_of_the_caller_and_says_what_each_is_worth(mesh: Mesh) -> None:
    mesh.conversions.put(ACME, "c1")
    mesh.conversions.put(ACME, "c2", status="lead", match_state=pb.MATCH_STATE_ORPHAN, orphan_reason="never_seen")
    mesh.conversions.conversions[ACME, "c2"].ClearField("value_micros")
    mesh.conversions.conversions[ACME, "c2"].ClearField("touch")
    mesh.conversions.put(OTHER, "c3")
    first, second = (await mesh.get(PATH)).json["conversions"]
    assert (first["conversion_id"], first["value"], first["currency"], first["status"]) == ("c1", 99.99, "USD", None)
    assert (first["click"]["external_click_id"], first["match_state"]) == ("fb_123abc", "matched")
    assert (second["value"], second["status"], second["click"], second["orphan_reason"]) == (
        None,
        "lead",
        None,
        "never_seen",
    )


async def test_every_filter_arrives(mesh: Mesh) -> None:
    query = (
        "start_time=2026-03-01T00:00:00Z&end_time=2026-04-01T00:00:00Z&conversion_type=purchase&status=none"
        "&campaign_id=summer&click_id=fb_1&order_id=A%201&orphans=true&orphan_reason=truncated&is_test=false&page_size=7"
    )
    assert (await mesh.get(f"{PATH}?{query}")).status == 200
    asked = mesh.conversions.asked[-1]
    assert asked.time_range.start_time.ToDatetime(UTC) == datetime(2026, 3, 1, tzinfo=UTC)
    assert asked.time_range.end_time.ToDatetime(UTC) == datetime(2026, 4, 1, tzinfo=UTC)
    assert (asked.conversion_type, asked.HasField("status"), asked.status) == ("purchase", True, "")
    assert (asked.campaign_id, asked.click_id, asked.order_id) == ("summer", "fb_1", "A 1")
    assert (asked.is_orphan, asked.orphan_reason, asked.is_test) == (True, "truncated", False)
    assert asked.HasField("is_test")
    assert asked.page_size == 7


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=sold", "status"),
        ("orphans=perhaps", "orphans"),
        ("orphan_reason=lost", "orphan_reason"),
        ("start_time=yesterday", "start_time"),
        ("start_time=2026-03-02T00:00:00Z&end_time=2026-03-01T00:00:00Z", "end_time"),
        ("type=purchase", "type"),
    ],
)
async def test_what_is_wrong_is_named(mesh: Mesh, query: str, field: str) -> None:
    answer = await mesh.get(f"{PATH}?{query}")
    assert (answer.status, list(answer.violations)) == (400, [field])


async def test_one_is_read_with_its_events_and_anothers_is_not_there(mesh: Mesh) -> None:
    mesh.conversions.put(ACME, "c1")
    mesh.conversions.put(OTHER, "c3")
    found = await mesh.get(f"{PATH}/c1")
    assert found.json["events"][0]["amount_text"] == "99.99"
    for missing in ("c3", "c4"):
        answer = await mesh.get(f"{PATH}/{missing}")
        assert (answer.status, answer.json["detail"]) == (404, f"no conversion {missing!r}")


async def test_reading_takes_the_scope(mesh: Mesh) -> None:
    for path in (PATH, f"{PATH}/c1"):
        assert (await mesh.get(path, key=key_without("conversions:read"))).status == 403

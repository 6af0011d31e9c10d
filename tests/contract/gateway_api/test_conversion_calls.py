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


async def test_orphans_are_summed_up_by_cause(mesh: Mesh) -> None:
    answer = await mesh.get(f"{PATH}/orphans?start_time=2026-03-01T00:00:00Z")
    assert answer.json == {
        "orphans": [
            {
                "reason": "truncated",
                "conversion_count": 3,
                "amounts": [{"currency": "USD", "value": 3.5}, {"currency": "EUR", "value": 1.0}],
            },
            {"reason": "never_seen", "conversion_count": 1, "amounts": []},
        ]
    }
    assert mesh.conversions.asked[-1].time_range.HasField("start_time")
    assert not mesh.conversions.asked[-1].time_range.HasField("end_time")


async def test_a_click_is_said_to_be_the_one(mesh: Mesh) -> None:
    mesh.conversions.put(ACME, "c1")
    mesh.conversions.put(OTHER, "c3")
    answer = await mesh.post(f"{PATH}/c1:match", {"click_id": "fb_9"})
    assert (answer.status, answer.json["click"]["external_click_id"], answer.json["is_accepted"]) == (200, "fb_9", True)
    assert (await mesh.post(f"{PATH}/c3:match", {"click_id": "fb_9"})).status == 404
    assert (await mesh.post(f"{PATH}/c1:match", {})).violations == {"click_id": "is required"}


async def test_a_policy_is_set_read_and_taken_away(mesh: Mesh) -> None:
    answer = await mesh.call("PUT", f"{PATH}/policies", json={"conversion_type": "purchase", "policy": "sum"})
    policy = {"conversion_type": "purchase", "policy": "sum", "lookback_days": 30}
    assert (answer.status, answer.json["policies"], answer.json["operation"]["state"]) == (202, [policy], "running")
    again = await mesh.call("PUT", f"{PATH}/policies", json=policy)
    assert (again.status, again.json["operation"]) == (200, None)
    assert (await mesh.get(f"{PATH}/policies")).json["policies"] == [policy]
    assert (await mesh.call("DELETE", f"{PATH}/policies/purchase")).status == 202
    assert (await mesh.call("DELETE", f"{PATH}/policies/purchase")).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "policy"),
        ({"policy": "best"}, "policy"),
        ({"policy": "sum", "lookback_days": 0}, "lookback_days"),
        ({"policy": "sum", "lookback_days": 3651}, "lookback_days"),
        ({"policy": "sum", "days": 3}, "days"),
    ],
)
async def test_what_is_wrong_with_a_policy_is_named(mesh: Mesh, body: dict[str, object], field: str) -> None:
    answer = await mesh.call("PUT", f"{PATH}/policies", json={"conversion_type": "purchase", **body})
    assert (answer.status, list(answer.violations)) == (400, [field])


async def test_a_networks_words_are_set_and_read(mesh: Mesh) -> None:
    wanted = {"network": "adnet", "words": [{"word": "5", "status": "sale"}], "default_currency": "EUR"}
    answer = await mesh.call("PUT", f"{PATH}/statuses", json=wanted)
    assert (answer.status, answer.json["networks"]) == (202, [wanted])
    found = (await mesh.get(f"{PATH}/statuses")).json
    assert found["networks"] == [wanted]
    assert found["unmapped"] == [{"network": "adnet", "word": "5", "event_count": 17}]
    wrong = {"network": "adnet", "words": [{"word": "5", "status": "sold"}, {"word": 5}]}
    assert set((await mesh.call("PUT", f"{PATH}/statuses", json=wrong)).violations) == {
        "words[1].word",
        "words[1].status",
    }
    assert (await mesh.call("PUT", f"{PATH}/statuses", json={"network": "a"})).violations == {"words": "is required"}


async def test_changing_takes_the_scope_to_write(mesh: Mesh) -> None:
    mesh.conversions.put(ACME, "c1")
    key = key_without("conversions:write")
    for method, path, body in (
        ("PUT", "policies", {"conversion_type": "purchase", "policy": "sum"}),
        ("DELETE", "policies/purchase", None),
        ("PUT", "statuses", {"words": []}),
        ("POST", "c1:match", {"click_id": "c"}),
    ):
        assert (await mesh.call(method, f"{PATH}/{path}", json=body, key=key)).status == 403

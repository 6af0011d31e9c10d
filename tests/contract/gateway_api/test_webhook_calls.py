"""``/api/v1/webhooks``."""

from typing import Any

import pytest

from tests.contract.gateway_api.fake_webhooks import SECRET
from tests.contract.gateway_api.fakes import ACME, OTHER, OTHER_KEY
from tests.contract.gateway_api.mesh import Mesh
from trellis.attribution.v1 import webhook_service_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

ALL = "/api/v1/webhooks"
WANTED: dict[str, Any] = {
    "kind": "postback",
    "name": "Ads ❄",
    "url": "https://network.example/pb?c={external_click_id}",
    "method": "POST",
    "body": '{"p": "{payout}"}',
    "headers": [
        {"name": "X-Api-Key", "value": "s3cret", "is_secret": True},
        {"name": "X-Plain", "value": "plain"},
    ],
    "event_kinds": ["conversion.created", "conversion.refund"],
    "campaign_ids": ["summer_sale"],
    "conversion_types": ["sale"],
    "statuses": ["sale", "lead"],
    "condition": {"field": "country", "operator": "in", "values": ["DE", "AT"]},
    "waits_for_click": True,
    "follows_redirects": True,
    "max_attempts": 3,
    "max_age_seconds": 3600,
    "rate_per_second": 7,
    "is_enabled": False,
}


async def test_a_webhook_comes_back_as_it_was_made_without_its_secrets(mesh: Mesh) -> None:
    made = await mesh.post(ALL, WANTED)
    assert made.status == 201
    shown = {name: value for name, value in WANTED.items() if name != "headers"}
    assert {name: made.json[name] for name in shown} == shown
    assert made.json["headers"] == [
        {"name": "X-Api-Key", "value": None, "is_secret": True},
        {"name": "X-Plain", "value": "plain", "is_secret": False},
    ]
    assert b"s3cret" not in made.body
    assert made.json["secret"] is None
    assert mesh.webhooks.asked[0].definition.headers[0].value == "s3cret"
    got = await mesh.get(made.headers["Location"])
    assert got.json == {
        **{name: value for name, value in made.json.items() if name != "secret"},
        "failure_count": 0,
        "paused_until_time": None,
    }
    assert (await mesh.get(ALL)).json["webhooks"][0]["webhook_id"] == made.json["webhook_id"]


async def test_what_is_left_out_is_left_to_the_service(mesh: Mesh) -> None:
    made = await mesh.post(ALL, {"kind": "webhook", "url": "https://a.example/"})
    assert (made.json["secret"], made.json["is_enabled"]) == (SECRET, True)
    definition = mesh.webhooks.asked[0].definition
    assert not definition.HasField("waits_for_click")
    assert not definition.HasField("condition")
    assert not definition.HasField("max_age_duration")
    assert (definition.max_attempts, list(definition.event_kinds)) == (0, [])


async def test_a_change_names_what_it_changes(mesh: Mesh) -> None:
    mesh.webhooks.put(ACME, "wh_1")
    answer = await mesh.patch(
        f"{ALL}/wh_1", {"statuses": [], "condition": None, "max_age_seconds": 60, "is_enabled": False}
    )
    assert (answer.status, answer.json["is_enabled"], answer.json["max_age_seconds"]) == (200, False, 60)
    asked = mesh.webhooks.asked[-1]
    assert sorted(asked.update_mask.paths) == ["condition", "max_age_duration", "statuses"]
    assert answer.json["url"] == "https://network.example/pb?c={click_id}"
    stale = await mesh.patch(f"{ALL}/wh_1", {"name": "x", "expected_version": 1})
    assert (stale.status, stale.reason) == (409, "FAILED_PRECONDITION")


@pytest.mark.parametrize(
    ("changed", "field", "problem"),
    [
        ({"kind": "mail"}, "kind", "is 'mail', must be one of: postback, webhook"),
        ({"headers": {}}, "headers", "must be a list of objects with name, value and is_secret"),
        ({"headers": [{"name": "X", "value": 7}]}, "headers[0].value", "is 7, must be a text"),
        ({"headers": [{"name": "X", "is_secret": "yes"}]}, "headers[0].is_secret", "is 'yes', must be true or false"),
        ({"max_attempts": 51}, "max_attempts", "is 51, must be a whole number from 1 to 50"),
        ({"max_age_seconds": 1}, "max_age_seconds", "is 1, must be a whole number from 60 to 2592000"),
        ({"url": "http://10.0.0.1/"}, "url", "10.0.0.1 is in a network that webhooks do not go to"),
        ({"condition": {"field": "colour"}}, "condition", "has field; "),
    ],
)
async def test_a_bad_value_is_told_by_its_field(mesh: Mesh, changed: dict[str, Any], field: str, problem: str) -> None:
    answer = await mesh.post(ALL, {**WANTED, **changed})
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")
    assert answer.violations[field].startswith(problem)


async def test_a_secret_is_shown_when_it_is_made_and_never_again(mesh: Mesh) -> None:
    mesh.webhooks.put(ACME, "wh_1", kind=pb.WEBHOOK_KIND_WEBHOOK)
    rotated = await mesh.post(f"{ALL}/wh_1:rotate-secret")
    assert (rotated.status, rotated.json["secret"]) == (200, SECRET)
    assert rotated.json["old_secret_expire_time"] == "2026-11-03T12:00:00Z"
    assert "secret" not in (await mesh.get(f"{ALL}/wh_1")).json
    mesh.webhooks.put(ACME, "wh_2")
    assert (await mesh.post(f"{ALL}/wh_2:rotate-secret")).status == 409


async def test_a_test_answers_with_what_was_answered(mesh: Mesh) -> None:
    mesh.webhooks.put(ACME, "wh_1")
    tested = await mesh.post(f"{ALL}/wh_1:test")
    assert (tested.status, tested.json["event_kind"], tested.json["state"]) == (200, "webhook.test", "succeeded")
    first, second = tested.json["attempts"]
    assert (first["status"], first["failure"], first["response_body"]) == (500, "status", "� no")
    assert (second["status"], second["failure"], second["response_body"]) == (200, None, "OK")
    assert tested.json["payload"] == {"type": "conversion.created"}


async def test_deliveries_are_listed_by_what_is_asked_for(mesh: Mesh) -> None:
    mesh.webhooks.put(ACME, "wh_1")
    mesh.webhooks.put_delivery(ACME, "wh_1", "msg_1")
    mesh.webhooks.put_delivery(ACME, "wh_1", "msg_2", state=pb.DELIVERY_STATE_DEAD)
    path = f"{ALL}/wh_1/deliveries"
    assert [d["delivery_id"] for d in (await mesh.get(path)).json["deliveries"]] == ["msg_1", "msg_2"]
    found = await mesh.get(
        f"{path}?state=dead&event_kind=conversion.refund&conversion_id=c&start_time=2026-11-03T00:00:00Z"
    )
    assert [d["delivery_id"] for d in found.json["deliveries"]] == ["msg_2"]
    asked = mesh.webhooks.asked[-1]
    assert (asked.event_kind, asked.conversion_id) == ("conversion.refund", "c")
    assert (asked.time_range.HasField("start_time"), asked.time_range.HasField("end_time")) == (True, False)
    assert (await mesh.get(f"{path}?state=lost")).status == 400


async def test_one_and_a_range_are_replayed(mesh: Mesh) -> None:
    mesh.webhooks.put(ACME, "wh_1")
    mesh.webhooks.put_delivery(ACME, "wh_1", "msg_1")
    one = await mesh.post(f"{ALL}/wh_1/deliveries/msg_1:replay")
    assert (one.status, one.json["state"], one.json["end_time"]) == (202, "pending", None)
    assert (await mesh.post(f"{ALL}/wh_1/deliveries/msg_1:replay")).status == 409
    several = await mesh.post(f"{ALL}/wh_1:replay", {"states": ["dead", "succeeded"]})
    assert (several.status, several.json) == (202, {"replayed_count": 17})
    assert list(mesh.webhooks.asked[-1].states) == [pb.DELIVERY_STATE_DEAD, pb.DELIVERY_STATE_SUCCEEDED]
    refused = await mesh.post(f"{ALL}/wh_1:replay", {"states": ["pending"]})
    assert refused.violations == {"states[0]": "must be one of: dead, cancelled, succeeded"}


async def test_what_was_not_heard_is_told_in_pages(mesh: Mesh) -> None:
    mesh.webhooks.put(ACME, "wh_1")
    wanted = {"start_time": "2026-11-03T00:00:00Z"}
    first = await mesh.post(f"{ALL}/wh_1:backfill", wanted)
    assert (first.status, first.json) == (202, {"delivery_count": 5, "next_page_token": "more"})
    second = await mesh.post(f"{ALL}/wh_1:backfill", {**wanted, "page_token": "more"})
    assert second.json["next_page_token"] == ""
    assert mesh.webhooks.asked[-1].time_range.start_time.ToJsonString() == "2026-11-03T00:00:00Z"


async def test_each_organisation_has_its_own_and_takes_it_away(mesh: Mesh) -> None:
    mesh.webhooks.put(OTHER, "wh_theirs")
    assert (await mesh.get(ALL)).json["webhooks"] == []
    assert (await mesh.call("DELETE", f"{ALL}/wh_theirs")).status == 404
    assert (await mesh.call("DELETE", f"{ALL}/wh_theirs", key=OTHER_KEY)).status == 204
    assert (await mesh.get(ALL, key=OTHER_KEY)).json["webhooks"] == []

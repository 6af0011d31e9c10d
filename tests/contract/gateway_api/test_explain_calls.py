"""Why a campaign does with a click what it does, over HTTP."""

from typing import Any

import pytest

from tests.contract.gateway_api.fakes import ACME, OTHER_KEY, key_with
from tests.contract.gateway_api.mesh import Mesh
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
RULED: dict[str, Any] = {
    "campaign_id": "ruled",
    "destination": "https://shop.acmecorp.com/rest",
    "rules": [
        {
            "rule_id": "german",
            "priority": 9,
            "when": {"field": "country", "operator": "equals", "value": "DE"},
            "action": {"destination": "https://shop.acmecorp.com/de"},
        },
        {
            "rule_id": "phones",
            "priority": 5,
            "when": [
                {"field": "device_type", "operator": "equals", "value": "mobile"},
                {"not": {"field": "param.zone", "operator": "in", "values": ["1", "2"]}},
            ],
            "action": {"destination": "https://shop.acmecorp.com/phone", "tags": ["phone"]},
        },
        {"rule_id": "all", "action": {"destination": "https://shop.acmecorp.com/all"}},
        {"rule_id": "off", "is_disabled": True, "action": {"destination": "https://shop.acmecorp.com/off"}},
    ],
    "caps": [{"kind": "clicks", "period": "day", "limit": 5}],
}
EXPLAIN = "/api/v1/campaigns/ruled:explain"


def outcomes(answer: Any) -> dict[str, tuple[str, bool]]:
    """Return the outcome by rule, and whether it decides."""
    return {rule["rule_id"]: (rule["outcome"], rule["decides"]) for rule in answer.json["rules"]}


async def test_every_rule_is_explained_with_what_was_asked_and_found(mesh: Mesh) -> None:
    await mesh.post("/api/v1/campaigns", RULED)
    request = {"url": "https://track.acmecorp.com/in/ruled?zone=7", "headers": {"user-agent": PHONE}}
    answer = await mesh.post(EXPLAIN, {"request": request}, key=key_with("campaigns:read"))
    assert answer.status == 200, answer.body
    assert outcomes(answer) == {
        "german": ("unknown", False),
        "phones": ("true", True),
        "all": ("true", False),
        "off": ("true", False),
    }
    assert answer.json["rule_id"] == "phones"
    assert answer.json["goes_to"] == {
        "campaign_id": "ruled",
        "rule_id": "phones",
        "destination_id": None,
        "url": "https://shop.acmecorp.com/phone",
        "status": 302,
        "tags": ["phone"],
    }
    german, phones, rest, off = answer.json["rules"]
    assert german["why_not"] == ["country equals DE: country cannot be told"]
    assert german["when"]["actual"] == {"state": "unknown", "value": None}
    assert rest["why_not"] == ["the rule phones comes before it and matches too"]
    assert off["why_not"] == ["it is disabled"]
    mobile, zone = phones["when"]["of"]
    assert (mobile["actual"]["value"], mobile["outcome"]) == ("mobile", "true")
    assert (zone["kind"], zone["outcome"], zone["of"][0]["actual"]["value"]) == ("not", "true", "7")
    assert answer.json["caps"] == [{"kind": "clicks", "period": "day", "limit": 5, "count": 0, "is_over": False}]
    assert (answer.json["is_active"], answer.json["is_in_schedule"], answer.json["is_open"]) == (True, True, False)


async def test_a_campaign_that_is_routed_by_is_explained_without_a_service(mesh: Mesh) -> None:
    asked = {"request": {"url": "/in/summer_sale", "time": "2026-11-03T10:00:00Z", "ip": "192.0.2.1"}}
    answer = await mesh.post("/api/v1/campaigns/summer_sale:explain", asked)
    assert (answer.json["rule_id"], answer.json["rules"], answer.json["time"]) == (None, [], "2026-11-03T10:00:00.000Z")
    assert answer.json["goes_to"]["url"] == "https://shop.acmecorp.com/summer-sale"


async def test_a_paused_campaign_says_so(mesh: Mesh) -> None:
    await mesh.post("/api/v1/campaigns", {**RULED, "status": "paused"})
    answer = await mesh.post(EXPLAIN, {"request": {"url": "/in/ruled", "headers": {"User-Agent": PHONE}}})
    assert (answer.json["goes_to"], answer.json["marks"], answer.json["is_active"]) == (
        None,
        ["campaign_paused"],
        False,
    )
    assert answer.json["rule_id"] == "phones"


async def test_an_event_is_explained_by_its_request_and_its_claims(mesh: Mesh) -> None:
    await mesh.post("/api/v1/campaigns", RULED)
    event_id = "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f"
    mesh.capture.events.append(
        event_pb2.Event(
            organization_id=ACME,
            event_id=event_id,
            event_time_ms=1_760_000_000_123,
            event_type=b"click",
            method="GET",
            target=b"/in/old?zone=2",
            headers=f"Host: track.acmecorp.com\r\nUser-Agent: {PHONE}\r\n".encode(),
            scheme="https",
            host=b"track.acmecorp.com",
            campaign_id="old",
            campaign_version=3,
            rule_id="x",
        )
    )
    answer = await mesh.post(EXPLAIN, {"event_id": event_id})
    assert answer.status == 200, answer.body
    assert (answer.json["rule_id"], answer.json["time"]) == ("all", "2025-10-09T08:53:20.123Z")
    assert answer.json["rules"][1]["why_not"] == ["param.zone in 1, 2: param.zone is '2'"]
    assert (answer.json["event"]["campaign_id"], answer.json["event"]["rule_id"]) == ("old", "x")
    assert answer.json["claims"] is None
    mesh.overlay.claimed[ACME, event_id] = "tiktok"
    claims = (await mesh.post(EXPLAIN, {"event_id": event_id})).json["claims"]
    assert (claims["campaign_id"], claims["claims"][0]["version"]) == ("tiktok", 2)
    assert (await mesh.post(EXPLAIN, {"event_id": event_id}, key=OTHER_KEY)).status == 404
    assert (await mesh.post(EXPLAIN, {"event_id": event_id}, key=key_with("campaigns:read"))).reason == "SCOPE_MISSING"


async def test_an_earlier_version_is_explained_by_its_rules(mesh: Mesh) -> None:
    await mesh.post("/api/v1/campaigns", RULED)
    await mesh.patch("/api/v1/campaigns/ruled", {"name": "other"})
    asked = {"request": {"url": "/in/ruled"}, "version": 1}
    assert (await mesh.post(EXPLAIN, asked)).json["version"] == 1
    assert (await mesh.post(EXPLAIN, {**asked, "version": 9})).status == 404


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"request": {"url": "/"}, "event_id": "x"}, {"request"}),
        ({"request": {"url": "ftp://x"}}, {"request.url"}),
        ({"request": {"url": "/in/a b", "ip": "here", "time": "now"}}, {"request.url", "request.ip", "request.time"}),
        ({"request": {"url": "/", "headers": {"A": "b\r\nC: d"}}}, {"request.headers"}),
        ({"request": {"url": "/", "body": "x"}}, {"request.body"}),
        ({"request": "/in"}, {"request"}),
    ],
)
async def test_what_is_wrong_with_a_question_is_named(mesh: Mesh, body: dict[str, Any], wrong: set[str]) -> None:
    answer = await mesh.post("/api/v1/campaigns/summer_sale:explain", body)
    assert answer.status == 400
    assert set(answer.violations) == wrong


async def test_another_organisations_campaign_is_not_explained(mesh: Mesh) -> None:
    answer = await mesh.post("/api/v1/campaigns/summer_sale:explain", {"request": {"url": "/"}}, key=OTHER_KEY)
    assert (answer.status, answer.json["detail"]) == (404, "no campaign 'summer_sale'")

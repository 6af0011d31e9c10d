"""Retroactive campaigns and versions over HTTP."""

from typing import Any

import pytest

from tests.contract.gateway_api.fakes import ACME, OTHER_KEY, key_with
from tests.contract.gateway_api.mesh import Mesh
from trellis.attribution.v1 import claim_pb2

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

CAMPAIGNS = "/api/v1/campaigns"
ONE = f"{CAMPAIGNS}/summer_sale"
# Example 2, step 2 of the specification, byte for byte.
SPECIFICATION = b"""{
    "campaign_id": "tiktok_organic_q2_2024",
    "name": "TikTok Organic Q2 2024",
    "status": "active",
    "retroactive": true,
    "time_range": {
      "start": "2024-03-01",
      "end": "2024-06-01"
    },
    "rules": [
      {
        "type": "custom",
        "priority": 100,
        "conditions": [
          {
            "field": "referer",
            "operator": "contains",
            "value": "tiktok.com"
          }
        ],
        "action": {
          "type": "redirect",
          "destination": "https://shop.acmecorp.com/tiktok-landing",
          "tags": ["tiktok", "organic", "social"]
        }
      }
    ]
  }"""
WANTED: dict[str, Any] = {
    "campaign_id": "tiktok",
    "destination": "https://shop.acmecorp.com/",
    "retroactive": True,
    "time_range": {"start": "2024-03-01", "end": "2024-06-01T12:00:00+02:00"},
    "conflict_policy": "by_priority",
}


async def test_the_specifications_retroactive_campaign_is_made(mesh: Mesh) -> None:
    made = await mesh.call("POST", CAMPAIGNS, body=SPECIFICATION)
    assert made.status == 201, made.body
    assert (made.json["retroactive"], made.json["operation_id"]) == (True, "op_claim")
    assert made.json["claim"] == {
        "time_range": {"start": "2024-03-01T00:00:00Z", "end": "2024-06-01T00:00:00Z"},
        "conflict_policy": "unattributed",
        "forward_start_time": "2026-11-03T12:00:00Z",
        "is_withdrawn": False,
        "version": 1,
        "state": "taken",
        "error": "",
    }
    assert made.json["rules"][0]["when"] == {
        "all": [{"field": "referer", "operator": "contains", "value": "tiktok.com"}]
    }
    assert (await mesh.get(made.headers["Location"])).json == made.json


async def test_a_dry_run_says_what_would_change_and_makes_nothing(mesh: Mesh) -> None:
    answer = await mesh.post(CAMPAIGNS, {**WANTED, "dry_run": True})
    assert answer.status == 200
    assert (answer.json["campaign_id"], answer.json["event_count"]) == ("tiktok", 15420)
    assert answer.json["revenue"] == [{"currency": "USD", "amount": 127840.5}]
    assert answer.json["taken_from"][0]["campaign_id"] is None
    assert mesh.attribution.previewed.campaign.claim.conflict_policy == claim_pb2.CONFLICT_POLICY_BY_PRIORITY
    assert mesh.attribution.previewed.campaign.claim.time_range.end_time.ToJsonString() == "2024-06-01T10:00:00Z"
    assert (await mesh.get(f"{CAMPAIGNS}/tiktok")).status == 404


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"retroactive": False}, {"time_range", "conflict_policy"}),
        ({"retroactive": False, "dry_run": True}, {"time_range", "conflict_policy", "dry_run"}),
        ({"time_range": {"start": "2024-13-01"}}, {"time_range.start"}),
        ({"time_range": {"start": "yesterday", "until": 1}}, {"time_range.start", "time_range.until"}),
        ({"time_range": ["2024-01-01"]}, {"time_range"}),
        ({"conflict_policy": "all", "retroactive": "yes"}, {"conflict_policy", "retroactive", "time_range"}),
    ],
)
async def test_what_is_wrong_with_a_claim_is_named(mesh: Mesh, fields: dict[str, Any], wrong: set[str]) -> None:
    answer = await mesh.post(CAMPAIGNS, {**WANTED, **fields})
    assert answer.status == 400
    assert set(answer.violations) == wrong


async def test_a_campaign_that_is_there_is_previewed_and_applied(mesh: Mesh) -> None:
    preview = await mesh.post(f"{ONE}:preview", {"time_range": {"start": "2024-03-01"}}, key=key_with("campaigns:read"))
    assert preview.status == 200
    change = mesh.attribution.previewed.change
    assert change.claim.time_range.start_time.ToJsonString() == "2024-03-01T00:00:00Z"
    assert not change.claim.time_range.HasField("end_time")
    assert (await mesh.get(ONE)).json["retroactive"] is False
    applied = await mesh.post(f"{ONE}:apply", {"time_range": {"start": "2024-03-01"}, "expected_version": 1})
    assert (applied.status, applied.json["version"], applied.json["retroactive"]) == (202, 2, True)
    assert applied.headers["ETag"] == '"2"'
    assert (await mesh.post(f"{ONE}:apply", {"expected_version": 1})).status == 409


async def test_a_preview_without_a_body_is_of_the_campaign_as_it_is(mesh: Mesh) -> None:
    assert (await mesh.call("POST", f"{ONE}:preview")).status == 200
    assert not mesh.attribution.previewed.change.claim.HasField("time_range")


async def test_versions_are_listed_read_compared_and_activated(mesh: Mesh) -> None:
    await mesh.patch(ONE, {"name": "Second"})
    await mesh.patch(ONE, {"name": "Third"})
    page = await mesh.get(f"{ONE}/versions?page_size=2")
    assert [version["version"] for version in page.json["versions"]] == [3, 2]
    rest = await mesh.get(f"{ONE}/versions?page_token={page.json['next_page_token']}")
    assert [version["campaign"]["name"] for version in rest.json["versions"]] == ["summer_sale"]
    second = await mesh.get(f"{ONE}/versions/2?compare=1")
    assert second.json["changes"] == [{"field": "name", "before": "summer_sale", "after": "Second"}]
    back = await mesh.post(f"{ONE}/versions/1:activate", headers={"If-Match": '"3"'})
    assert (back.status, back.json["version"], back.json["restored_version"]) == (200, 4, 1)
    assert back.json["name"] == "summer_sale"
    assert (await mesh.post(f"{ONE}/versions/2:activate", headers={"If-Match": '"3"'})).status == 409


async def test_version_0_takes_a_claim_back(mesh: Mesh) -> None:
    await mesh.post(CAMPAIGNS, WANTED)
    undone = await mesh.post(f"{CAMPAIGNS}/tiktok/versions/0:activate", {})
    assert (undone.json["retroactive"], undone.json["status"]) == (False, "paused")
    assert (undone.json["claim"]["is_withdrawn"], undone.json["claim"]["version"]) == (True, 0)
    assert (await mesh.post(f"{ONE}/versions/0:activate", {})).reason == "FAILED_PRECONDITION"


@pytest.mark.parametrize("version", ["9", "x", "4294967296", "-1"])
async def test_a_version_that_never_was_is_404(mesh: Mesh, version: str) -> None:
    assert (await mesh.get(f"{ONE}/versions/{version}")).status == 404
    assert (await mesh.post(f"{ONE}/versions/{version}:activate", {})).status == 404


async def test_another_organisation_sees_none_of_it(mesh: Mesh) -> None:
    assert ACME
    for method, path in (
        ("GET", f"{ONE}/versions"),
        ("GET", f"{ONE}/versions/1"),
        ("POST", f"{ONE}/versions/1:activate"),
        ("POST", f"{ONE}:apply"),
        ("POST", f"{ONE}:preview"),
    ):
        answer = await mesh.call(method, path, key=OTHER_KEY)
        assert (answer.status, answer.json["detail"]) == (404, "no campaign 'summer_sale'")

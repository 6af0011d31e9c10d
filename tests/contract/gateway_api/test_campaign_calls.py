from typing import Any

import pytest

from tests.contract.gateway_api.fakes import ACME, OTHER_KEY
from tests.contract.gateway_api.mesh import Mesh
from trellis.attribution.v1 import attribution_service_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

ONE = "/api/v1/campaigns/summer_sale"


async def test_a_campaign_comes_back_as_it_was_made(mesh: Mesh) -> None:
    wanted = {
        "campaign_id": "winter_sale",
        "slug": "winter",
        "name": "Winter ❄",
        "status": "paused",
        "destination_url": "https://shop.acmecorp.com/winter",
        "parameter_policy": "none",
        "fallback_url": "https://shop.acmecorp.com/",
    }
    made = await mesh.post("/api/v1/campaigns", wanted)
    assert made.status == 201
    assert made.headers["Location"] == "/api/v1/campaigns/winter_sale"
    assert made.headers["ETag"] == '"1"'
    assert made.json.items() >= wanted.items()
    assert made.json["version"] == 1
    assert made.json["create_time"] == "2026-11-03T12:00:00Z"
    assert (await mesh.get(made.headers["Location"])).json == made.json


async def test_what_is_left_out_takes_its_default(mesh: Mesh) -> None:
    made = await mesh.post("/api/v1/campaigns", {"destination": "https://shop.acmecorp.com/"})
    assert made.status == 201
    assert made.json["destination_url"] == "https://shop.acmecorp.com/"
    assert (made.json["status"], made.json["parameter_policy"], made.json["fallback_url"]) == ("active", "merge", "")


@pytest.mark.parametrize("method", ["post", "patch"])
async def test_two_destinations_must_agree(mesh: Mesh, method: str) -> None:
    path = "/api/v1/campaigns" if method == "post" else ONE
    call = getattr(mesh, method)
    same = await call(path, {"destination_url": "https://a.example/", "destination": "https://a.example/"})
    assert same.status in (200, 201)
    other = await call(path, {"destination_url": "https://a.example/", "destination": "https://b.example/"})
    assert other.status == 400
    assert list(other.violations) == ["destination"]


async def test_a_campaign_names_its_links(mesh: Mesh) -> None:
    port = mesh.url.rpartition(":")[2]
    assert (await mesh.get(ONE)).json["tracking_urls"] == [f"http://track.acmecorp.com:{port}/in/summer_sale"]
    behind_tls = {"Host": "api.acmecorp.com", "X-Forwarded-Proto": "https"}
    answer = await mesh.get(ONE, headers=behind_tls)
    assert answer.json["tracking_urls"] == ["https://track.acmecorp.com/in/summer_sale"]
    assert (await mesh.get("/api/v1/campaigns/theirs", key=OTHER_KEY)).json["tracking_urls"] == [
        f"http://track.other.example:{port}/in/theirs"
    ]
    archived = await mesh.patch(ONE, {"status": "archived"})
    assert archived.json["tracking_urls"] == []


async def test_only_what_is_given_changes(mesh: Mesh) -> None:
    before = (await mesh.get(ONE)).json
    after = await mesh.patch(ONE, {"name": "Late summer", "fallback_url": "https://shop.acmecorp.com/"})
    assert after.status == 200
    assert after.json == {
        **before,
        "name": "Late summer",
        "fallback_url": "https://shop.acmecorp.com/",
        "version": 2,
    }
    assert (await mesh.patch(ONE, {"fallback_url": ""})).json["fallback_url"] == ""


@pytest.mark.parametrize(
    ("body", "if_match", "status"),
    [
        ({"expected_version": 1}, None, 200),
        ({"expected_version": 2}, None, 409),
        ({}, '"1"', 200),
        ({}, '"2"', 409),
        ({}, "*", 200),
        ({"expected_version": 1}, '"1"', 200),
        ({"expected_version": 2}, "*", 409),
    ],
)
async def test_a_change_of_what_somebody_else_changed_is_a_conflict(
    mesh: Mesh, body: dict[str, Any], if_match: str | None, status: int
) -> None:
    headers = {"If-Match": if_match} if if_match else None
    answer = await mesh.patch(ONE, {"name": "x", **body}, headers=headers)
    assert answer.status == status
    if status == 409:
        assert answer.reason == "FAILED_PRECONDITION"
        assert mesh.attribution.campaigns[ACME, "summer_sale"].name == "summer_sale"


@pytest.mark.parametrize(
    ("body", "if_match", "field"),
    [
        ({"expected_version": 0}, None, "expected_version"),
        ({"expected_version": 2**32}, None, "expected_version"),
        ({"expected_version": True}, None, "expected_version"),
        ({"expected_version": "1"}, None, "expected_version"),
        ({"expected_version": 1.0}, None, "expected_version"),
        ({"expected_version": 2}, '"1"', "expected_version"),
        ({}, "1", "If-Match"),
        ({}, 'W/"1"', "If-Match"),
        ({}, '"1", "2"', "If-Match"),
        ({}, '"4294967296"', "If-Match"),
        ({"name": None}, None, "name"),
        ({"name": 5}, None, "name"),
        ({"name": "a\0b"}, None, "name"),
        ({"status": "Paused"}, None, "status"),
        ({"status": ["paused"]}, None, "status"),
        ({"parameter_policy": "some"}, None, "parameter_policy"),
    ],
)
async def test_a_bad_value_is_told_by_its_field(
    mesh: Mesh, body: dict[str, Any], if_match: str | None, field: str
) -> None:
    answer = await mesh.patch(ONE, body, headers={"If-Match": if_match} if if_match else None)
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")
    assert list(answer.violations) == [field]
    assert not mesh.attribution.does.callers


async def test_everything_wrong_is_told_at_once(mesh: Mesh) -> None:
    wrong = {"staus": "paused", "status": "on", "name": 7, "parameter_policy": "all", "version": 3}
    answer = await mesh.post("/api/v1/campaigns", wrong)
    assert set(answer.violations) == {"staus", "status", "name", "parameter_policy", "version", "destination_url"}
    assert all(field in answer.json["detail"] for field in wrong)
    assert answer.violations["status"] == "is 'on', must be one of: active, paused, archived"


async def test_what_the_service_finds_wrong_is_told_the_same_way(mesh: Mesh) -> None:
    answer = await mesh.post("/api/v1/campaigns", {"destination_url": "ftp://x"})
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")
    assert answer.violations == {"destination_url": "must be an absolute http or https URL"}


async def test_a_taken_name_is_a_conflict(mesh: Mesh) -> None:
    wanted = {"campaign_id": "summer_sale", "destination_url": "https://shop.acmecorp.com/"}
    answer = await mesh.post("/api/v1/campaigns", wanted)
    assert (answer.status, answer.reason) == (409, "ALREADY_EXISTS")
    assert (await mesh.post("/api/v1/campaigns", wanted, key=OTHER_KEY)).status == 201


async def test_pages_follow_each_other_to_the_end(mesh: Mesh) -> None:
    for index in range(4):
        mesh.attribution.put(ACME, f"more{index}")
    seen, path = [], "/api/v1/campaigns?page_size=2&page_token="
    token = ""
    while True:
        page = (await mesh.get(path + token)).json
        seen += [campaign["campaign_id"] for campaign in page["campaigns"]]
        token = page["next_page_token"]
        if not token:
            break
        assert len(page["campaigns"]) == 2
    assert seen == ["summer_sale", "more0", "more1", "more2", "more3"]


async def test_the_archived_are_listed_when_asked_for(mesh: Mesh) -> None:
    mesh.attribution.put(ACME, "old", status=pb.CAMPAIGN_STATUS_ARCHIVED)
    listed = (await mesh.get("/api/v1/campaigns?status=archived")).json["campaigns"]
    assert [(campaign["campaign_id"], campaign["status"]) for campaign in listed] == [("old", "archived")]


@pytest.mark.parametrize(
    ("query", "field", "problem"),
    [
        ("page_size=0", "page_size", "is 0, must be a whole number from 1 to 1000"),
        ("page_size=1001", "page_size", "is 1001, must be a whole number from 1 to 1000"),
        ("page_size=ten", "page_size", "is 'ten', must be a whole number from 1 to 1000"),
        ("page_size=%D9%A3", "page_size", "is '\u0663', must be a whole number from 1 to 1000"),
        ("page_size=" + "9" * 5000, "page_size", None),
        ("page_size=", "page_size", "is empty; give a value or leave it out"),
        ("page_size=5&page_size=6", "page_size", "is given 2 times; once is enough"),
        ("page_token=%FF", "page_token", "must be UTF-8"),
        ("page_token=nonsense", "page_token", "is not a token of this list"),
        ("status=on", "status", "is 'on', must be one of: active, paused, archived"),
        ("%FF%00=1", "\ufffd\0", "is not a parameter of this call; there are: page_size, page_token, status"),
    ],
)
async def test_a_bad_parameter_is_told_with_its_value_and_limit(
    mesh: Mesh, query: str, field: str, problem: str | None
) -> None:
    answer = await mesh.get(f"/api/v1/campaigns?{query}")
    assert answer.status == 400
    assert list(answer.violations) == [field]
    assert problem is None or answer.violations[field] == problem
    assert len(answer.body) < 1000


async def test_a_rule_that_cannot_be_is_refused_by_rule_condition_and_position(mesh: Mesh) -> None:
    action = {"destination": "https://shop.acmecorp.com/"}
    condition = {"field": "referer", "operator": "matches", "value": "tiktok(["}
    rules = [
        {"conditions": [{"field": "refferer", "operator": "equals", "value": "x"}], "action": action},
        {"conditions": [{"field": "country", "operator": "gt", "value": "5"}], "action": action},
        {"when": {"any": [{"field": "path", "operator": "exists"}, {"not": condition}]}, "action": action},
        {"conditions": [{"field": "ip", "operator": "like", "value": "x"}], "action": action},
        {"conditions": [], "action": {"destinations": [{"url": "https://a.example/", "weigth": 1}]}},
    ]
    answer = await mesh.post("/api/v1/campaigns", {"campaign_id": "bad", "rules": rules})
    assert answer.status == 400
    assert set(answer.violations) == {
        "rules[0].conditions[0].field",
        "rules[1].conditions[0].operator",
        "rules[2].when.any[1].not.values[0]",
        "rules[3].conditions[0].operator",
        "rules[4].action.destinations[0].weigth",
    }
    assert answer.violations["rules[0].conditions[0].field"].startswith("there is no field `refferer`; there are asn")
    assert "`country` is a text and has no gt" in answer.violations["rules[1].conditions[0].operator"]
    assert "(at character 8)" in answer.violations["rules[2].when.any[1].not.values[0]"]
    assert "there is no operator `like`" in answer.violations["rules[3].conditions[0].operator"]

"""Persons, edges and values over HTTP."""

import pytest

from tests.contract.gateway_api.mesh import Mesh
from trellis.analytics.v1 import behavior_pb2

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
IDENTITY = "/api/v1/identity"


async def test_a_visitors_person_comes_with_its_evidence(mesh: Mesh) -> None:
    answer = await mesh.get(f"{IDENTITY}/persons/usr_1?as_of=2026-05-01T00:00:00Z")
    assert answer.status == 200
    assert answer.json["user_ids"] == ["usr_1", "usr_2"]
    (edge,) = answer.json["edges"]
    assert [end["kind"] for end in edge["ends"]] == ["login", "visitor"]
    assert (edge["event_id"], edge["is_active"]) == ("e1", True)
    assert answer.json["devices"][0]["os"] == "iOS"
    assert mesh.identity.asked.as_of_time.seconds == 1777593600


async def test_values_that_join_nobody_are_listed_by_kind(mesh: Mesh) -> None:
    answer = await mesh.get(f"{IDENTITY}/suspicious?kind=login")
    assert (answer.json["limit"], answer.json["values"][0]["neighbour_count"]) == (50, 60)
    assert (await mesh.get(f"{IDENTITY}/suspicious?kind=order")).json["values"] == []


@pytest.mark.parametrize(("noun", "name"), [("edges", "edg_1"), ("values", "val_1")])
async def test_a_revocation_is_made_and_taken_back(mesh: Mesh, noun: str, name: str) -> None:
    revoked = await mesh.post(f"{IDENTITY}/{noun}/{name}:revoke")
    assert (revoked.status, revoked.json["is_revoked"], revoked.json["actor"]) == (200, True, "key:1")
    restored = await mesh.post(f"{IDENTITY}/{noun}/{name}:restore", {})
    assert (restored.status, restored.json["is_revoked"]) == (200, False)
    assert [(request.id, request.is_revoked) for request in mesh.identity.decided] == [(name, True), (name, False)]


async def test_a_dry_run_says_what_would_change_and_changes_nothing(mesh: Mesh) -> None:
    answer = await mesh.post(f"{IDENTITY}/edges/edg_1:revoke", {"dry_run": True})
    assert [person["user_ids"] for person in answer.json["before"]] == [["usr_1", "usr_2"]]
    assert [person["user_ids"] for person in answer.json["after"]] == [["usr_1"], ["usr_2"]]
    assert answer.json["conversion_count"] == 4
    assert mesh.identity.decided == []


async def test_restoring_what_nobody_revoked_changes_nothing(mesh: Mesh) -> None:
    answer = await mesh.post(f"{IDENTITY}/edges/edg_untouched:restore")
    assert (answer.json["revision"], answer.json["decide_time"]) == (0, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "persons/usr_nobody", 404),
        ("GET", "persons/usr_1?as_of=yesterday", 400),
        ("GET", "suspicious?kind=shoe", 400),
        ("POST", "edges/edg_nowhere:revoke", 404),
        ("POST", "edges/val_1:revoke", 404),
        ("POST", "values/edg_1:restore", 404),
    ],
)
async def test_what_is_not_there_or_wrong_is_told(mesh: Mesh, method: str, path: str, status: int) -> None:
    answer = await mesh.call(method, f"{IDENTITY}/{path}")
    assert answer.status == status


async def test_a_journey_is_a_visitors_unless_a_persons_is_asked_for(mesh: Mesh) -> None:
    await mesh.get("/api/v1/analytics/journeys?user_id=usr_customer123")
    assert mesh.analytics.requests[-1].identity == behavior_pb2.IDENTITY_UNSPECIFIED
    answer = await mesh.get(
        "/api/v1/analytics/journeys?user_id=usr_customer123&identity=person&as_of=2026-05-01T00:00:00Z"
    )
    assert answer.status == 200
    assert mesh.analytics.requests[-1].identity == behavior_pb2.IDENTITY_PERSON
    assert mesh.analytics.requests[-1].as_of_time.seconds == 1777593600
    await mesh.get("/api/v1/analytics/attribution?user_id=usr_customer123&identity=person")
    assert mesh.attribution.asked.is_person


async def test_a_report_of_attribution_is_of_visitors(mesh: Mesh) -> None:
    answer = await mesh.get("/api/v1/analytics/attribution?identity=person")
    assert (answer.status, [*answer.violations]) == (400, ["identity"])

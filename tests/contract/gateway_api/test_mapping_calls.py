from typing import Any

import pytest

from svc_runtime.errors import FailedPreconditionError
from tests.contract.gateway_api.fakes import ACME, OTHER, OTHER_KEY, key_with
from tests.contract.gateway_api.mesh import Mesh
from trellis.analytics.v1 import projection_service_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

ALL = "/api/v1/mappings"
WANTED: dict[str, Any] = {
    "name": "Zones ❄",
    "source": "PropellerAds",
    "rules": [{"parameter": "zoneid", "field": "placement"}, {"parameter": "p3", "field": "external_id"}],
    "start_time": "2026-03-03T00:00:00Z",
    "end_time": "2026-05-01T00:00:00.5+02:00",
}


async def test_a_mapping_comes_back_as_it_was_made_with_the_work_on_what_is_there(mesh: Mesh) -> None:
    made = await mesh.post(ALL, WANTED)
    assert made.status == 202
    mapping, operation = made.json["mapping"], made.json["operation"]
    assert mapping["rules"] == WANTED["rules"]
    assert (mapping["name"], mapping["source"]) == ("Zones ❄", "propellerads")
    assert (mapping["start_time"], mapping["end_time"]) == ("2026-03-03T00:00:00Z", "2026-04-30T22:00:00.500Z")
    assert (mapping["version"], mapping["is_active"]) == (1, True)
    assert made.headers["Location"] == f"/api/v1/operations/{operation['operation_id']}"
    assert (await mesh.get(made.headers["Location"])).json == operation
    assert operation["state"] == "running"
    assert (operation["mapping_id"], operation["mapping_version"]) == (mapping["mapping_id"], 1)
    assert (await mesh.get(ALL)).json["mappings"] == [mapping]
    assert (await mesh.get(f"{ALL}/{mapping['mapping_id']}")).json == {
        "mapping_id": mapping["mapping_id"],
        "versions": [mapping],
    }


async def test_times_that_are_left_out_are_null(mesh: Mesh) -> None:
    made = await mesh.post(ALL, {"rules": WANTED["rules"]})
    mapping = made.json["mapping"]
    assert (mapping["start_time"], mapping["end_time"], mapping["name"], mapping["source"]) == (None, None, "", "")


async def test_a_dry_run_says_what_would_change_and_makes_nothing(mesh: Mesh) -> None:
    mesh.projection.put_mapping(ACME, "map_1")
    for path, mapping_id in ((ALL, ""), (f"{ALL}/map_1", "map_1")):
        answer = await mesh.post(path, {**WANTED, "dry_run": True})
        assert answer.status == 200
        assert answer.json == {
            "matched_count": 3,
            "changed_count": 2,
            "months": [{"month": "2026-03", "matched_count": 3, "changed_count": 2}],
            "samples": [
                {
                    "event_id": "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f",
                    "event_time": "2026-11-03T12:00:00Z",
                    "before": {"placement": ""},
                    "after": {"placement": "z-4417"},
                }
            ],
        }
        assert mesh.projection.previewed[-1].mapping_id == mapping_id
    assert len(mesh.projection.mappings[ACME, "map_1"]) == 1
    assert not mesh.projection.operations
    assert (await mesh.post(ALL, {**WANTED, "dry_run": False})).status == 202


async def test_a_new_version_is_the_whole_mapping(mesh: Mesh) -> None:
    mesh.projection.put_mapping(ACME, "map_1", name="before", source="x")
    made = await mesh.post(f"{ALL}/map_1", {"rules": WANTED["rules"]})
    assert made.status == 202
    mapping = made.json["mapping"]
    assert (mapping["version"], mapping["name"], mapping["source"]) == (2, "", "")
    versions = (await mesh.get(f"{ALL}/map_1")).json["versions"]
    assert [(version["version"], version["is_active"]) for version in versions] == [(2, True), (1, False)]


async def test_a_version_is_undone_and_redone(mesh: Mesh) -> None:
    mesh.projection.put_mapping(ACME, "map_1")
    for number, holds in (("0", False), ("1", True)):
        answer = await mesh.post(f"{ALL}/map_1/versions/{number}:activate")
        assert answer.status == 202
        assert answer.json["operation"]["mapping_version"] == int(number)
        assert answer.headers["Location"].endswith(answer.json["operation"]["operation_id"])
        assert (await mesh.get(f"{ALL}/map_1")).json["versions"][0]["is_active"] is holds


@pytest.mark.parametrize("number", ["2", "99999999999", "4294967296", "-1", "x", "1.0", "%20"])
async def test_a_version_that_is_none_is_not_found(mesh: Mesh, number: str) -> None:
    mesh.projection.put_mapping(ACME, "map_1")
    answer = await mesh.post(f"{ALL}/map_1/versions/{number}:activate")
    assert (answer.status, answer.reason) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("changed", "field", "problem"),
    [
        ({"rules": {}}, "rules", "is an object, must be a list of objects with parameter and field"),
        ({"rules": ["zoneid"]}, "rules[0]", "is a text, must be an object with parameter and field"),
        ({"rules": [{"parameter": "a"}]}, "rules[0].field", "is required"),
        ({"rules": [{"parameter": 7, "field": "cost"}]}, "rules[0].parameter", "is a number, must be a text"),
        ({"rules": [{"parameter": "\0", "field": "cost"}]}, "rules[0].parameter", "must not hold the character NUL"),
        (
            {"rules": [{"parameter": "a", "field": "cost", "as": "x"}]},
            "rules[0].as",
            "is not a field of it; there are: parameter, field",
        ),
        ({"rules": []}, "rules", "is empty, must be 1 to 50"),
        ({"name": 1}, "name", "is a number, must be a text"),
        (
            {"start_time": "yesterday"},
            "start_time",
            "is 'yesterday', must be RFC 3339, for example 2026-11-03T10:00:00Z",
        ),
        ({"dry_run": "yes"}, "dry_run", "is 'yes', must be true or false"),
    ],
)
async def test_a_bad_value_is_told_by_its_field(mesh: Mesh, changed: dict[str, Any], field: str, problem: str) -> None:
    answer = await mesh.post(ALL, {**WANTED, **changed})
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT")
    assert answer.violations == {field: problem}


async def test_a_running_operation_is_named_where_another_cannot_begin(mesh: Mesh) -> None:
    mesh.projection.does.error = FailedPreconditionError("operation op_7 changes the reading")
    for path, body in ((ALL, WANTED), (f"{ALL}/map_1", WANTED), (f"{ALL}/map_1/versions/0:activate", None)):
        answer = await mesh.post(path, body)
        assert (answer.status, answer.reason) == (409, "FAILED_PRECONDITION")
        assert "op_7" in answer.json["detail"]


async def test_each_organisation_sees_its_own(mesh: Mesh) -> None:
    mesh.projection.put_mapping(OTHER, "map_theirs")
    mesh.projection.put_operation(OTHER, "op_theirs")
    assert (await mesh.get(ALL)).json["mappings"] == []
    assert (await mesh.get("/api/v1/operations")).json["operations"] == []
    assert [m["mapping_id"] for m in (await mesh.get(ALL, key=OTHER_KEY)).json["mappings"]] == ["map_theirs"]


async def test_lists_come_in_pages(mesh: Mesh) -> None:
    for number in range(3):
        mesh.projection.put_mapping(ACME, f"map_{number}")
        mesh.projection.put_operation(ACME, f"op_{number}")
    for path, name in ((ALL, "mappings"), ("/api/v1/operations", "operations")):
        first = (await mesh.get(f"{path}?page_size=2")).json
        second = (await mesh.get(f"{path}?page_size=2&page_token={first['next_page_token']}")).json
        assert (len(first[name]), len(second[name]), second["next_page_token"]) == (2, 1, "")


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (pb.OPERATION_STATE_SUCCEEDED, "succeeded"),
        (pb.OPERATION_STATE_FAILED, "failed"),
        (pb.OPERATION_STATE_CANCELLED, "cancelled"),
    ],
)
async def test_an_operation_says_where_it_stands(mesh: Mesh, state: pb.OperationState.ValueType, word: str) -> None:
    mesh.projection.put_operation(ACME, "op_1", state=state, error="why", mapping_id="map_1", mapping_version=2)
    found = (await mesh.get("/api/v1/operations/op_1")).json
    assert found["state"] == word
    assert found["end_time"] is None
    assert (found["error"], found["mapping_id"], found["mapping_version"]) == ("why", "map_1", 2)
    assert (found["done_event_count"], found["total_event_count"]) == (5, 7)
    assert (found["done_months"], found["total_months"]) == (["2026-03"], ["2026-03", "2026-04"])


async def test_a_reader_can_look_and_not_change(mesh: Mesh) -> None:
    mesh.projection.put_mapping(ACME, "map_1")
    reader = key_with("analytics:read")
    assert (await mesh.get(ALL, key=reader)).status == 200
    for path in (ALL, f"{ALL}/map_1", f"{ALL}/map_1/versions/0:activate"):
        assert (await mesh.post(path, {**WANTED, "dry_run": True}, key=reader)).status == 403

from typing import Any

import pytest

from svc_runtime.scopes import SCOPES
from tests.contract.gateway_api.fakes import ACME, HOST, OTHER_KEY, PUBLISHABLE_KEY, SECRET_KEY, stamp
from tests.contract.gateway_api.mesh import Mesh
from trellis.auth.v1 import auth_service_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]


async def test_a_new_key_is_shown_in_full_this_once(mesh: Mesh) -> None:
    wanted = {
        "name": "Reports",
        "kind": "secret",
        "environment": "test",
        "scopes": ["traffic:read", "campaigns:read"],
        "role": "analyst",
        "expire_time": "2027-01-01T00:00:00Z",
    }
    made = await mesh.post("/api/v1/keys", wanted)
    assert made.status == 201
    assert made.json["secret"] == "wdn_sk_live_shown_this_once"
    assert {**wanted, "scopes": sorted(wanted["scopes"])}.items() <= made.json.items()
    assert made.headers["Cache-Control"].startswith("no-store")
    (listed,) = (await mesh.get("/api/v1/keys")).json["keys"]
    assert listed == {name: value for name, value in made.json.items() if name != "secret"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["name", "kind"]),
        ({"name": "x", "kind": "admin"}, ["kind"]),
        ({"name": "x", "kind": "secret", "environment": "staging"}, ["environment"]),
        ({"name": "x", "kind": "secret", "scopes": "traffic:read"}, ["scopes"]),
        ({"name": "x", "kind": "secret", "scopes": ["traffic:read", 5]}, ["scopes"]),
        ({"name": "x", "kind": "secret", "scopes": ["traffic:read", "a\0"]}, ["scopes[1]"]),
        ({"name": "x", "kind": "secret", "expire_time": 1_793_700_000}, ["expire_time"]),
        ({"name": "x", "kind": "secret", "fixed_key": "wdn_sk_live_mine"}, ["fixed_key"]),
    ],
)
async def test_a_key_that_cannot_be_is_refused(mesh: Mesh, body: dict[str, Any], fields: list[str]) -> None:
    answer = await mesh.post("/api/v1/keys", body)
    assert answer.status == 400
    assert list(answer.violations) == fields
    assert b"wdn_sk_live_mine" not in answer.body
    assert not mesh.warden.does.callers


async def test_a_role_that_is_not_there_is_told(mesh: Mesh) -> None:
    answer = await mesh.post("/api/v1/keys", {"name": "x", "kind": "secret", "role": "king"})
    assert (answer.status, answer.reason) == (404, "NOT_FOUND")


async def test_a_revoked_key_is_listed_when_asked_for(mesh: Mesh) -> None:
    mesh.warden.put_key(ACME, "key1")
    revoked = await mesh.post("/api/v1/keys/key1:revoke")
    assert revoked.status == 200
    assert revoked.json["revoke_time"] == "2026-11-03T12:00:00Z"
    assert (await mesh.post("/api/v1/keys/key1:revoke")).json == revoked.json, "to do it again changes nothing"
    assert (await mesh.get("/api/v1/keys")).json["keys"] == []
    assert (await mesh.get("/api/v1/keys?include_inactive=true")).json["keys"] == [revoked.json]
    answer = await mesh.get("/api/v1/keys?include_inactive=1")
    assert answer.violations == {"include_inactive": "is '1', must be true or false"}


@pytest.mark.parametrize(
    ("body", "expires"),
    [
        (None, "2026-11-04T12:00:00Z"),
        ({}, "2026-11-04T12:00:00Z"),
        ({"overlap_seconds": 0}, "2026-11-03T12:00:00Z"),
        ({"overlap_seconds": 3600}, "2026-11-03T13:00:00Z"),
    ],
)
async def test_a_rotation_hands_over(mesh: Mesh, body: dict[str, int] | None, expires: str) -> None:
    mesh.warden.put_key(ACME, "key1", name="Reports")
    renewed = await mesh.post("/api/v1/keys/key1:rotate", body)
    assert renewed.status == 200
    assert (renewed.json["name"], renewed.json["rotated_from_key_id"]) == ("Reports", "key1")
    assert renewed.json["secret"] == "wdn_sk_live_shown_this_once"
    assert renewed.json["old_key"]["key_id"] == "key1"
    assert renewed.json["old_key"]["expire_time"] == expires
    again = await mesh.post("/api/v1/keys/key1:rotate", body)
    assert (again.status, again.reason) == (409, "FAILED_PRECONDITION")


@pytest.mark.parametrize("seconds", [-1, 2_592_001, 1.5, "60"])
async def test_an_overlap_has_its_limits(mesh: Mesh, seconds: object) -> None:
    mesh.warden.put_key(ACME, "key1")
    answer = await mesh.post("/api/v1/keys/key1:rotate", {"overlap_seconds": seconds})
    assert list(answer.violations) == ["overlap_seconds"]
    assert "0 to 2592000" in answer.violations["overlap_seconds"]


@pytest.mark.parametrize("verb", ["delete", "", "revoke:rotate"])
async def test_a_verb_that_keys_do_not_have_is_not_found(mesh: Mesh, verb: str) -> None:
    assert (await mesh.post(f"/api/v1/keys/key1:{verb}")).status == 404


async def test_a_domain_comes_and_goes(mesh: Mesh) -> None:
    added = await mesh.post("/api/v1/domains", {"host": "Go.AcmeCorp.com"})
    assert (added.status, added.json["host"]) == (201, "go.acmecorp.com")
    assert [d["host"] for d in (await mesh.get("/api/v1/domains")).json["domains"]] == ["go.acmecorp.com", HOST]
    taken = await mesh.post("/api/v1/domains", {"host": "go.acmecorp.com"}, key=OTHER_KEY)
    assert (taken.status, taken.reason) == (409, "ALREADY_EXISTS")
    removed = await mesh.call("DELETE", "/api/v1/domains/go.acmecorp.com")
    assert (removed.status, removed.body) == (204, b"")
    assert (await mesh.call("DELETE", "/api/v1/domains/go.acmecorp.com")).status == 404


async def test_roles_are_the_built_in_ones_and_ones_own(mesh: Mesh) -> None:
    made = await mesh.post("/api/v1/roles", {"name": "reporter", "scopes": ["traffic:read"]})
    assert made.status == 201
    listed = (await mesh.get("/api/v1/roles")).json
    assert listed == {
        "roles": [
            {"name": "owner", "scopes": sorted(SCOPES), "is_built_in": True},
            {"name": "reporter", "scopes": ["traffic:read"], "is_built_in": False},
        ],
        "next_page_token": "",
    }
    again = await mesh.post("/api/v1/roles", {"name": "reporter", "scopes": ["traffic:read"]})
    assert (again.status, again.reason) == (409, "ALREADY_EXISTS")


async def test_the_audit_log_is_read_in_pages(mesh: Mesh) -> None:
    for number in range(1, 4):
        mesh.warden.entries.append(
            pb.AuditEntry(
                entry_id=number,
                organization_id=ACME,
                actor="operator",
                action="key.create",
                target=f"key{number}",
                details_json='{"scopes":["traffic:read"],"n":null}' if number == 3 else "",
                create_time=stamp(),
                trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
            )
        )
    page = (await mesh.get("/api/v1/audit?page_size=2")).json
    assert [entry["entry_id"] for entry in page["entries"]] == [3, 2]
    assert [entry["details"] for entry in page["entries"]] == [{"scopes": ["traffic:read"], "n": None}, {}]
    rest = (await mesh.get(f"/api/v1/audit?page_size=2&page_token={page['next_page_token']}")).json
    assert ([entry["entry_id"] for entry in rest["entries"]], rest["next_page_token"]) == ([1], "")


async def test_a_call_is_made_in_the_name_of_its_key(mesh: Mesh) -> None:
    await mesh.get("/api/v1/keys")
    (caller,) = mesh.warden.does.callers
    assert caller.organization_id == ACME
    assert caller.actor.startswith("key:")
    assert caller.scopes == SCOPES
    assert SECRET_KEY not in str(mesh.warden.does.metadata)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Write-Key": SECRET_KEY},
        {"Authorization": "Basic d2RuX3NrX2xpdmVfYWNtZWNvcnBfa2V5Og=="},
        {"Authorization": SECRET_KEY},
        {"Authorization": "Bearer"},
        {"Host": HOST},
    ],
)
async def test_only_a_bearer_opens_a_management_call(mesh: Mesh, headers: dict[str, str]) -> None:
    answer = await mesh.get("/api/v1/keys", key=None, headers=headers)
    assert (answer.status, answer.reason) == (401, "CREDENTIAL_MISSING")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="trellis"'


async def test_a_key_in_the_query_opens_no_management_call(mesh: Mesh) -> None:
    answer = await mesh.get(f"/api/v1/keys?k={SECRET_KEY}", key=None)
    assert answer.status == 401
    assert SECRET_KEY.encode() not in answer.body
    assert (await mesh.get("/api/v1/keys", key=PUBLISHABLE_KEY)).status == 403

"""What AuthService promises on the wire, whatever its store."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from auth_svc.role import BUILT_IN_ROLES
from auth_svc.server import warden
from auth_svc.store import WardenStore
from svc_runtime.errors import Code
from svc_runtime.keys import fixed_key_id, hash_key, parse_key
from svc_runtime.scopes import SCOPES
from tests.contract.auth.mesh import (
    MESH,
    PEPPER,
    SERVICE,
    WardenClient,
    auth_settings,
    connected,
    member,
    operator,
    refusal,
    running_warden,
)
from tests.contract.auth.things import NOON, TestClock, with_check_digits
from trellis.auth.v1 import auth_service_pb2 as pb

FIXED = "wdn_sk_live_acmecorp_key"
ADMINISTRATIVE_CALLS: list[tuple[str, Any, str]] = [
    ("CreateKey", pb.CreateKeyRequest(name="k", kind=pb.KEY_KIND_SECRET, role="owner"), "keys:write"),
    ("ListKeys", pb.ListKeysRequest(), "keys:read"),
    ("RotateKey", pb.RotateKeyRequest(key_id="k" * 22), "keys:write"),
    ("RevokeKey", pb.RevokeKeyRequest(key_id="k" * 22), "keys:write"),
    ("AddDomain", pb.AddDomainRequest(host="t.example.com"), "domains:write"),
    ("ListDomains", pb.ListDomainsRequest(), "domains:read"),
    ("RemoveDomain", pb.RemoveDomainRequest(host="t.example.com"), "domains:write"),
    ("CreateRole", pb.CreateRoleRequest(name="r", scopes=["keys:read"]), "keys:write"),
    ("ListRoles", pb.ListRolesRequest(), "keys:read"),
    ("ListAuditEntries", pb.ListAuditEntriesRequest(), "audit:read"),
]


def stamp(instant: datetime) -> Timestamp:
    """Return an instant as protobuf has it."""
    made = Timestamp()
    made.FromDatetime(instant)
    return made


class WardenRpcContract:
    """Subclass it with a fixture ``store`` that is empty."""

    @pytest.fixture
    def clock(self) -> TestClock:
        return TestClock()

    @pytest.fixture
    async def client(self, store: WardenStore, clock: TestClock) -> AsyncIterator[WardenClient]:
        async with running_warden(store, clock) as client:
            for name in ("org_a", "org_b"):
                await client.organization(name)
            yield client

    # Who may call

    @pytest.mark.parametrize(("method", "request_", "scope"), ADMINISTRATIVE_CALLS)
    async def test_a_call_for_an_organisation_needs_its_scope(
        self, client: WardenClient, method: str, request_: Any, scope: str
    ) -> None:
        call = getattr(client.stub, method)
        every_other = sorted(SCOPES - {scope})
        for metadata in (member("org_a", *every_other), SERVICE, operator()):
            error = await refusal(call(request_, metadata=metadata))
            assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")
        assert (await refusal(call(request_))).code is Code.UNAUTHENTICATED

    @pytest.mark.parametrize(
        ("method", "request_"),
        [
            ("CreateOrganization", pb.CreateOrganizationRequest(name="x")),
            ("GetOrganization", pb.GetOrganizationRequest(organization_id="org_a")),
            ("ListOrganizations", pb.ListOrganizationsRequest()),
            ("UpdateOrganization", pb.UpdateOrganizationRequest(organization_id="org_a", name="x")),
        ],
    )
    async def test_only_the_operator_manages_organisations(
        self, client: WardenClient, method: str, request_: Any
    ) -> None:
        for metadata in (member("org_a", *SCOPES), SERVICE):
            error = await refusal(getattr(client.stub, method)(request_, metadata=metadata))
            assert error.code is Code.PERMISSION_DENIED

    @pytest.mark.parametrize(
        ("method", "request_"),
        [("ValidateKey", pb.ValidateKeyRequest(key=FIXED)), ("ReportKeyUse", pb.ReportKeyUseRequest())],
    )
    async def test_only_the_mesh_validates_keys(self, client: WardenClient, method: str, request_: Any) -> None:
        error = await refusal(getattr(client.stub, method)(request_, metadata=member("org_a", *SCOPES)))
        assert error.code is Code.PERMISSION_DENIED

    async def test_a_secret_key_opens_the_calls_of_its_scopes(self, client: WardenClient) -> None:
        made = await client.key("org_a", scopes=["keys:read"])
        bearer = (("authorization", f"Bearer {made.secret}"),)
        listed = await client.stub.ListKeys(pb.ListKeysRequest(), metadata=bearer)
        assert [key.key_id for key in listed.keys] == [made.key.key_id]
        error = await refusal(client.stub.ListDomains(pb.ListDomainsRequest(), metadata=bearer))
        assert error.reason == "SCOPE_MISSING"

    async def test_a_publishable_key_opens_no_call(self, client: WardenClient) -> None:
        made = await client.key("org_a", kind=pb.KEY_KIND_PUBLISHABLE)
        bearer = (("authorization", f"Bearer {made.secret}"),)
        error = await refusal(client.stub.ListKeys(pb.ListKeysRequest(), metadata=bearer))
        assert error.code is Code.PERMISSION_DENIED

    # Organisations

    async def test_an_organisation_without_a_wanted_id_gets_one(self, client: WardenClient) -> None:
        made = await client.stub.CreateOrganization(pb.CreateOrganizationRequest(name="Acme"), metadata=operator())
        request = pb.GetOrganizationRequest(organization_id=made.organization.organization_id)
        got = await client.stub.GetOrganization(request, metadata=operator())
        assert got.organization == made.organization
        assert got.organization.name == "Acme"
        assert got.organization.status == pb.ORGANIZATION_STATUS_ACTIVE
        assert got.organization.create_time.ToDatetime(tzinfo=UTC) == NOON

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"organization_id": "acme", "name": "A"}, {"organization_id"}),
            ({"organization_id": "org_ACME", "name": "A"}, {"organization_id"}),
            ({"organization_id": "org_" + "a" * 61, "name": "A"}, {"organization_id"}),
            ({"organization_id": "org_\x00", "name": ""}, {"organization_id", "name"}),
            ({"name": " "}, {"name"}),
            ({"name": "a" * 201}, {"name"}),
            ({"name": "a\x00b"}, {"name"}),
        ],
    )
    async def test_a_wrong_organisation_is_refused_with_every_reason(
        self, client: WardenClient, fields: dict[str, str], wrong: set[str]
    ) -> None:
        error = await refusal(
            client.stub.CreateOrganization(pb.CreateOrganizationRequest(**fields), metadata=operator())
        )
        assert error.code is Code.INVALID_ARGUMENT
        assert {violation.field for violation in error.violations} == wrong

    async def test_a_taken_organisation_id_is_refused(self, client: WardenClient) -> None:
        request = pb.CreateOrganizationRequest(organization_id="org_a", name="again")
        assert (await refusal(client.stub.CreateOrganization(request, metadata=operator()))).code is Code.ALREADY_EXISTS

    async def test_organisations_are_listed_page_by_page(self, client: WardenClient) -> None:
        for number in range(5):
            await client.organization(f"org_{number}")
        seen: list[str] = []
        token = ""
        while True:
            page = await client.stub.ListOrganizations(
                pb.ListOrganizationsRequest(page_size=3, page_token=token), metadata=operator()
            )
            seen += [organization.organization_id for organization in page.organizations]
            token = page.next_page_token
            if not token:
                break
        assert seen == [*(f"org_{number}" for number in range(5)), "org_a", "org_b"]

    async def test_a_suspended_organisations_keys_open_nothing_until_it_resumes(self, client: WardenClient) -> None:
        made = await client.key("org_a", role="owner")

        async def set_status(status: pb.OrganizationStatus.ValueType) -> None:
            request = pb.UpdateOrganizationRequest(organization_id="org_a", status=status)
            await client.stub.UpdateOrganization(request, metadata=operator())

        await set_status(pb.ORGANIZATION_STATUS_SUSPENDED)
        error = await refusal(client.validate(made.secret))
        assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "ORGANIZATION_SUSPENDED")
        error = await refusal(client.stub.ListKeys(pb.ListKeysRequest(), metadata=member("org_a", "keys:read")))
        assert error.reason == "ORGANIZATION_SUSPENDED"
        await client.stub.ListKeys(pb.ListKeysRequest(), metadata=operator("org_a"))
        await set_status(pb.ORGANIZATION_STATUS_ACTIVE)
        assert (await client.validate(made.secret)).organization_id == "org_a"

    async def test_an_update_without_a_change_is_no_act(self, client: WardenClient) -> None:
        request = pb.UpdateOrganizationRequest(organization_id="org_a", name="org_a")
        answer = await client.stub.UpdateOrganization(request, metadata=operator())
        assert answer.organization.name == "org_a"
        assert [entry.action for entry in await client.audit("org_a")] == ["organization.create"]

    @pytest.mark.parametrize("name", ["org_none", "org_\x00", "nonsense" * 10_000])
    async def test_an_unknown_organisation_is_not_found(self, client: WardenClient, name: str) -> None:
        request = pb.GetOrganizationRequest(organization_id=name)
        assert (await refusal(client.stub.GetOrganization(request, metadata=operator()))).code is Code.NOT_FOUND
        update = pb.UpdateOrganizationRequest(organization_id=name, name="x")
        assert (await refusal(client.stub.UpdateOrganization(update, metadata=operator()))).code is Code.NOT_FOUND

    @pytest.mark.parametrize(
        "request_",
        [
            pb.UpdateOrganizationRequest(organization_id="org_a"),
            pb.UpdateOrganizationRequest(organization_id="org_a", name=""),
            pb.UpdateOrganizationRequest(organization_id="org_a", status=pb.ORGANIZATION_STATUS_UNSPECIFIED),
        ],
    )
    async def test_a_wrong_update_is_refused(self, client: WardenClient, request_: Any) -> None:
        error = await refusal(client.stub.UpdateOrganization(request_, metadata=operator()))
        assert error.code is Code.INVALID_ARGUMENT

    # Keys

    async def test_a_created_key_is_shown_once_and_validates(self, client: WardenClient) -> None:
        made = await client.key("org_a", scopes=["campaigns:read"], role="analyst", name="Dashboards")
        assert parse_key(made.secret).key_id == made.key.key_id
        assert made.key.last_four == made.secret[-4:]
        validated = await client.validate(made.secret)
        assert validated == pb.ValidateKeyResponse(
            organization_id="org_a",
            key_id=made.key.key_id,
            kind=pb.KEY_KIND_SECRET,
            environment=pb.KEY_ENVIRONMENT_LIVE,
            scopes=sorted(BUILT_IN_ROLES["analyst"].scopes),
        )
        listed = await client.stub.ListKeys(pb.ListKeysRequest(), metadata=operator("org_a"))
        assert list(listed.keys) == [made.key]
        assert made.secret not in str(listed)

    async def test_a_publishable_test_key_has_traffic_write_alone(self, client: WardenClient) -> None:
        made = await client.key("org_a", kind=pb.KEY_KIND_PUBLISHABLE, environment=pb.KEY_ENVIRONMENT_TEST)
        assert made.secret.startswith("wdn_pk_test_")
        validated = await client.validate(made.secret)
        assert list(validated.scopes) == ["traffic:write"]
        assert validated.kind == pb.KEY_KIND_PUBLISHABLE
        assert validated.environment == pb.KEY_ENVIRONMENT_TEST

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"scopes": [], "role": ""}, {"scopes"}),
            ({"scopes": ["campaigns:fly"]}, {"scopes"}),
            ({"scopes": ["x" * 100_000] * 50}, {"scopes"}),
            ({"kind": pb.KEY_KIND_UNSPECIFIED, "role": "owner", "name": ""}, {"kind", "name"}),
            ({"kind": 7, "role": "owner"}, {"kind"}),
            ({"environment": 7, "role": "owner"}, {"environment"}),
            ({"kind": pb.KEY_KIND_PUBLISHABLE, "scopes": ["traffic:write"]}, {"scopes"}),
            ({"kind": pb.KEY_KIND_PUBLISHABLE, "role": "sender"}, {"scopes"}),
            ({"role": "nobody"}, {"role"}),
            ({"role": "No\x00body"}, {"role"}),
            ({"role": "owner", "name": "x" * 201}, {"name"}),
            ({"role": "owner", "expire_time": stamp(NOON)}, {"expire_time"}),
            ({"role": "owner", "expire_time": Timestamp(seconds=10**15)}, {"expire_time"}),
            ({"role": "owner", "fixed_key": FIXED}, {"fixed_key"}),
        ],
    )
    async def test_a_wrong_key_is_refused_with_every_reason(
        self, client: WardenClient, fields: dict[str, Any], wrong: set[str]
    ) -> None:
        error = await refusal(client.key("org_a", **fields))
        assert error.code is Code.INVALID_ARGUMENT
        assert {violation.field for violation in error.violations} == wrong

    async def test_the_operator_cannot_create_a_key_for_nobody(self, client: WardenClient) -> None:
        assert (await refusal(client.key("org_none", role="owner"))).code is Code.NOT_FOUND

    async def test_an_expired_key_opens_nothing(self, client: WardenClient, clock: TestClock) -> None:
        made = await client.key("org_a", role="owner", expire_time=stamp(NOON + timedelta(seconds=10)))
        clock.turn(timedelta(seconds=9))
        await client.validate(made.secret)
        clock.turn(timedelta(seconds=1))
        error = await refusal(client.validate(made.secret))
        assert (error.code, error.reason) == (Code.UNAUTHENTICATED, "KEY_EXPIRED")

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("", "KEY_MALFORMED"),
            ("wdn_sk_live_", "KEY_MALFORMED"),
            ("wdn_sk_live_" + "A" * 50, "KEY_MALFORMED"),
            ("wdn_sk_live_\x00", "KEY_MALFORMED"),
            ("x" * 100_000, "KEY_MALFORMED"),
            (FIXED, "KEY_UNKNOWN"),
        ],
    )
    async def test_what_is_no_key_is_refused_with_its_reason(self, client: WardenClient, key: str, reason: str) -> None:
        error = await refusal(client.validate(key))
        assert (error.code, error.reason) == (Code.UNAUTHENTICATED, reason)
        assert not key or key not in str(error)

    async def test_a_well_formed_key_with_a_known_id_and_a_wrong_secret_is_unknown(self, client: WardenClient) -> None:
        made = await client.key("org_a", role="owner")
        forged = with_check_digits(made.secret[:34] + "0" * 22)
        assert parse_key(forged).key_id == made.key.key_id
        error = await refusal(client.validate(forged))
        assert error.reason == "KEY_UNKNOWN"

    async def test_a_revoked_key_is_refused_at_once_and_for_ever(self, client: WardenClient) -> None:
        made = await client.key("org_a", role="owner")
        request = pb.RevokeKeyRequest(key_id=made.key.key_id)
        first = await client.stub.RevokeKey(request, metadata=operator("org_a"))
        assert first.key.revoke_time.ToDatetime(tzinfo=UTC) == NOON
        assert (await refusal(client.validate(made.secret))).reason == "KEY_REVOKED"
        again = await client.stub.RevokeKey(request, metadata=operator("org_a"))
        assert again.key == first.key
        assert [entry.action for entry in await client.audit("org_a")].count("key.revoke") == 1

    async def test_lists_leave_out_dead_keys_unless_they_are_wanted(self, client: WardenClient) -> None:
        live, dead = await client.key("org_a", role="owner"), await client.key("org_a", role="owner")
        await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=dead.key.key_id), metadata=operator("org_a"))
        for include, expected in ((False, {live.key.key_id}), (True, {live.key.key_id, dead.key.key_id})):
            answer = await client.stub.ListKeys(
                pb.ListKeysRequest(include_inactive=include), metadata=operator("org_a")
            )
            assert {key.key_id for key in answer.keys} == expected

    async def test_keys_are_listed_newest_first_page_by_page(self, client: WardenClient, clock: TestClock) -> None:
        made: list[str] = []
        for _ in range(5):
            made.append((await client.key("org_a", role="owner")).key.key_id)
            clock.turn(timedelta(microseconds=1))
        seen: list[str] = []
        token = ""
        while True:
            request = pb.ListKeysRequest(page_size=2, page_token=token)
            page = await client.stub.ListKeys(request, metadata=operator("org_a"))
            seen += [key.key_id for key in page.keys]
            token = page.next_page_token
            if not token:
                break
        assert seen == made[::-1]

    @pytest.mark.parametrize("method", ["ListKeys", "ListDomains", "ListAuditEntries"])
    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"page_size": 1001}, "page_size"),
            ({"page_token": "?"}, "page_token"),
            ({"page_token": "W10"}, "page_token"),
            ({"page_token": "e30"}, "page_token"),
            ({"page_token": "ä"}, "page_token"),
            ({"page_token": "W3RydWVd"}, "page_token"),
        ],
    )
    async def test_a_wrong_page_is_refused(
        self, client: WardenClient, method: str, fields: dict[str, Any], wrong: str
    ) -> None:
        request = getattr(pb, f"{method}Request")(**fields)
        error = await refusal(getattr(client.stub, method)(request, metadata=operator("org_a")))
        assert [violation.field for violation in error.violations] == [wrong]

    @pytest.mark.parametrize(
        ("method", "fields"), [("RevokeKey", {}), ("RotateKey", {}), ("RotateKey", {"overlap_seconds": 0})]
    )
    async def test_another_organisations_key_reads_like_a_missing_one(
        self, client: WardenClient, method: str, fields: dict[str, int]
    ) -> None:
        foreign = (await client.key("org_b", role="owner")).key.key_id
        call, request = getattr(client.stub, method), getattr(pb, f"{method}Request")
        errors = [
            await refusal(call(request(key_id=key_id, **fields), metadata=member("org_a", *SCOPES)))
            for key_id in (foreign, "M" * 22)
        ]
        assert [(error.code, error.reason) for error in errors] == [(Code.NOT_FOUND, "NOT_FOUND")] * 2
        assert errors[0].message.replace(foreign, "") == errors[1].message.replace("M" * 22, "")
        assert (await client.stub.ListKeys(pb.ListKeysRequest(), metadata=operator("org_b"))).keys[0].key_id == foreign

    @pytest.mark.parametrize("key_id", ["", "x", "\x00" * 22, "ä" * 22, "x" * 100_000])
    async def test_what_is_no_key_id_is_not_found(self, client: WardenClient, key_id: str) -> None:
        for call, request in (
            (client.stub.RevokeKey, pb.RevokeKeyRequest(key_id=key_id)),
            (client.stub.RotateKey, pb.RotateKeyRequest(key_id=key_id)),
        ):
            assert (await refusal(call(request, metadata=operator("org_a")))).code is Code.NOT_FOUND

    # Rotation

    async def test_both_keys_of_a_rotation_live_until_the_overlap_ends(
        self, client: WardenClient, clock: TestClock
    ) -> None:
        old = await client.key("org_a", scopes=["keys:read"], role="analyst", name="server")
        request = pb.RotateKeyRequest(key_id=old.key.key_id)
        renewed = await client.stub.RotateKey(request, metadata=operator("org_a"))
        assert renewed.key.rotated_from_key_id == old.key.key_id
        assert (renewed.key.name, renewed.key.role, renewed.key.scopes) == ("server", "analyst", ["keys:read"])
        assert renewed.old_key.expire_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(hours=24)
        clock.turn(timedelta(hours=24) - timedelta(seconds=1))
        assert (await client.validate(old.secret)).scopes == (await client.validate(renewed.secret)).scopes
        clock.turn(timedelta(seconds=1))
        assert (await refusal(client.validate(old.secret))).reason == "KEY_EXPIRED"
        await client.validate(renewed.secret)

    async def test_a_rotation_without_overlap_ends_the_old_key_at_once(self, client: WardenClient) -> None:
        old = await client.key("org_a", role="owner")
        request = pb.RotateKeyRequest(key_id=old.key.key_id, overlap_seconds=0)
        renewed = await client.stub.RotateKey(request, metadata=operator("org_a"))
        assert (await refusal(client.validate(old.secret))).reason == "KEY_EXPIRED"
        await client.validate(renewed.secret)

    async def test_no_third_key_of_a_rotation_comes_alive(self, client: WardenClient, clock: TestClock) -> None:
        first = (await client.key("org_a", role="owner")).key
        second = (await client.stub.RotateKey(pb.RotateKeyRequest(key_id=first.key_id), metadata=operator("org_a"))).key
        for key_id in (first.key_id, second.key_id):
            error = await refusal(client.stub.RotateKey(pb.RotateKeyRequest(key_id=key_id), metadata=operator("org_a")))
            assert error.code is Code.FAILED_PRECONDITION
        clock.turn(timedelta(hours=24))
        assert (
            await refusal(client.stub.RotateKey(pb.RotateKeyRequest(key_id=first.key_id), metadata=operator("org_a")))
        ).code is Code.FAILED_PRECONDITION
        await client.stub.RotateKey(pb.RotateKeyRequest(key_id=second.key_id), metadata=operator("org_a"))

    async def test_rotations_at_once_make_one_key(self, client: WardenClient) -> None:
        first = (await client.key("org_a", role="owner")).key
        calls = [
            client.stub.RotateKey(pb.RotateKeyRequest(key_id=first.key_id), metadata=operator("org_a"))
            for _ in range(6)
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, pb.RotateKeyResponse) for result in results) == 1
        listed = await client.stub.ListKeys(pb.ListKeysRequest(include_inactive=True), metadata=operator("org_a"))
        assert len(listed.keys) == 2

    async def test_an_overlap_of_more_than_30_days_is_refused(self, client: WardenClient) -> None:
        made = await client.key("org_a", role="owner")
        request = pb.RotateKeyRequest(key_id=made.key.key_id, overlap_seconds=30 * 86_400 + 1)
        assert (await refusal(client.stub.RotateKey(request, metadata=operator("org_a")))).code is Code.INVALID_ARGUMENT

    # Nobody hands out more than they hold

    @pytest.mark.parametrize(
        "fields",
        [
            {"scopes": ["keys:write", "campaigns:write"]},
            {"role": "owner"},
            {"role": "admin"},
            {"scopes": ["keys:write"], "role": "analyst"},
            {"role": "everything"},
            {"kind": pb.KEY_KIND_PUBLISHABLE},
        ],
    )
    async def test_a_key_that_could_do_more_than_its_maker_is_refused(
        self, client: WardenClient, fields: dict[str, Any]
    ) -> None:
        role = pb.CreateRoleRequest(name="everything", scopes=sorted(SCOPES))
        await client.stub.CreateRole(role, metadata=operator("org_a"))
        error = await refusal(client.key("org_a", metadata=member("org_a", "keys:write", "keys:read"), **fields))
        assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")
        assert not (await client.stub.ListKeys(pb.ListKeysRequest(), metadata=operator("org_a"))).keys
        await client.key("org_a", **fields)

    async def test_a_key_may_make_one_that_can_do_as_much_as_itself(self, client: WardenClient) -> None:
        made = await client.key(
            "org_a", metadata=member("org_a", "keys:write", "keys:read"), scopes=["keys:read", "keys:write"]
        )
        assert made.key.organization_id == "org_a"

    async def test_nobody_renews_a_key_that_can_do_more_than_they(self, client: WardenClient) -> None:
        owner = await client.key("org_a", role="owner")
        request = pb.RotateKeyRequest(key_id=owner.key.key_id)
        error = await refusal(client.stub.RotateKey(request, metadata=member("org_a", "keys:write")))
        assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")
        await client.stub.RotateKey(request, metadata=member("org_a", *SCOPES))

    async def test_nobody_makes_a_role_that_can_do_more_than_they(self, client: WardenClient) -> None:
        request = pb.CreateRoleRequest(name="everything", scopes=sorted(SCOPES))
        error = await refusal(client.stub.CreateRole(request, metadata=member("org_a", "keys:write")))
        assert error.code is Code.PERMISSION_DENIED

    # Roles

    async def test_the_built_in_roles_come_first_and_ones_own_by_name(self, client: WardenClient) -> None:
        for name in ("z_role", "a_role"):
            request = pb.CreateRoleRequest(name=name, scopes=["keys:read"])
            await client.stub.CreateRole(request, metadata=operator("org_a"))
        roles = (await client.stub.ListRoles(pb.ListRolesRequest(), metadata=operator("org_a"))).roles
        assert [role.name for role in roles] == [*BUILT_IN_ROLES, "a_role", "z_role"]
        assert [role.is_built_in for role in roles] == [True] * 5 + [False] * 2
        assert set(roles[0].scopes) == SCOPES
        others = (await client.stub.ListRoles(pb.ListRolesRequest(), metadata=operator("org_b"))).roles
        assert len(others) == 5

    async def test_a_keys_scopes_are_its_own_and_its_roles(self, client: WardenClient) -> None:
        request = pb.CreateRoleRequest(name="helper", scopes=["keys:read", "domains:read"])
        await client.stub.CreateRole(request, metadata=operator("org_a"))
        made = await client.key("org_a", role="helper", scopes=["audit:read"])
        assert list((await client.validate(made.secret)).scopes) == ["audit:read", "domains:read", "keys:read"]
        error = await refusal(client.key("org_b", role="helper"))
        assert error.code is Code.INVALID_ARGUMENT

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"name": "owner", "scopes": ["keys:read"]}, Code.ALREADY_EXISTS),
            ({"name": "Helper", "scopes": ["keys:read"]}, Code.INVALID_ARGUMENT),
            ({"name": "", "scopes": ["keys:read"]}, Code.INVALID_ARGUMENT),
            ({"name": "helper", "scopes": []}, Code.INVALID_ARGUMENT),
            ({"name": "helper", "scopes": ["keys:fly"]}, Code.INVALID_ARGUMENT),
        ],
    )
    async def test_a_wrong_role_is_refused(self, client: WardenClient, fields: dict[str, Any], code: Code) -> None:
        error = await refusal(client.stub.CreateRole(pb.CreateRoleRequest(**fields), metadata=operator("org_a")))
        assert error.code is code

    # Tracking domains

    async def test_a_host_is_stored_in_lower_case_without_its_dot(self, client: WardenClient) -> None:
        added = await client.stub.AddDomain(pb.AddDomainRequest(host="Track.AcmeCorp.COM."), metadata=operator("org_a"))
        assert added.domain.host == "track.acmecorp.com"
        listed = await client.stub.ListDomains(pb.ListDomainsRequest(), metadata=operator("org_a"))
        assert list(listed.domains) == [added.domain]
        await client.stub.RemoveDomain(pb.RemoveDomainRequest(host="TRACK.acmecorp.com"), metadata=operator("org_a"))
        assert not (await client.stub.ListDomains(pb.ListDomainsRequest(), metadata=operator("org_a"))).domains

    @pytest.mark.parametrize(
        "host",
        [
            "",
            ".",
            "a..b",
            "a b",
            "a:80",
            "-a.b",
            "a-.b",
            "http://a.b",
            "ä.de",
            "a" * 64 + ".b",
            "a." * 127 + "b",
            "\x00",
        ],
    )
    async def test_what_is_no_host_is_refused(self, client: WardenClient, host: str) -> None:
        error = await refusal(client.stub.AddDomain(pb.AddDomainRequest(host=host), metadata=operator("org_a")))
        assert [violation.field for violation in error.violations] == ["host"]
        removal = pb.RemoveDomainRequest(host=host)
        assert (await refusal(client.stub.RemoveDomain(removal, metadata=operator("org_a")))).code is Code.NOT_FOUND

    async def test_a_taken_host_is_refused_without_a_word_about_its_owner(self, client: WardenClient) -> None:
        request = pb.AddDomainRequest(host="t.example.com")
        await client.stub.AddDomain(request, metadata=operator("org_b"))
        error = await refusal(client.stub.AddDomain(request, metadata=operator("org_a")))
        assert error.code is Code.ALREADY_EXISTS
        assert "org_b" not in error.message
        removal = pb.RemoveDomainRequest(host="t.example.com")
        foreign = await refusal(client.stub.RemoveDomain(removal, metadata=operator("org_a")))
        await client.stub.RemoveDomain(removal, metadata=operator("org_b"))
        missing = await refusal(client.stub.RemoveDomain(removal, metadata=operator("org_a")))
        assert (foreign.code, foreign.message) == (missing.code, missing.message)

    async def test_domains_are_listed_page_by_page(self, client: WardenClient) -> None:
        for number in range(3):
            request = pb.AddDomainRequest(host=f"t{number}.example.com")
            await client.stub.AddDomain(request, metadata=operator("org_a"))
        first = await client.stub.ListDomains(pb.ListDomainsRequest(page_size=2), metadata=operator("org_a"))
        second = await client.stub.ListDomains(
            pb.ListDomainsRequest(page_size=2, page_token=first.next_page_token), metadata=operator("org_a")
        )
        hosts = [domain.host for domain in (*first.domains, *second.domains)]
        assert hosts == [f"t{number}.example.com" for number in range(3)]
        assert not second.next_page_token

    async def test_a_page_token_is_good_for_its_own_list_alone(self, client: WardenClient) -> None:
        for number in range(2):
            request = pb.AddDomainRequest(host=f"t{number}.example.com")
            await client.stub.AddDomain(request, metadata=operator("org_a"))
        first = await client.stub.ListDomains(pb.ListDomainsRequest(page_size=1), metadata=operator("org_a"))
        token = first.next_page_token
        for method, organization_id in (
            ("ListDomains", "org_b"),
            ("ListKeys", "org_a"),
            ("ListOrganizations", "org_a"),
        ):
            request = getattr(pb, f"{method}Request")(page_token=token)
            error = await refusal(getattr(client.stub, method)(request, metadata=operator(organization_id)))
            assert [violation.field for violation in error.violations] == ["page_token"], method

    # The audit log

    async def test_every_administrative_act_is_logged_with_its_actor(self, client: WardenClient) -> None:
        who = member("org_a", *SCOPES, actor="key:abc")
        made = await client.key("org_a", metadata=who, role="analyst", name="Reports")
        renewed = await client.stub.RotateKey(pb.RotateKeyRequest(key_id=made.key.key_id), metadata=who)
        await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id), metadata=who)
        await client.stub.AddDomain(pb.AddDomainRequest(host="t.example.com"), metadata=who)
        await client.stub.RemoveDomain(pb.RemoveDomainRequest(host="t.example.com"), metadata=who)
        await client.stub.CreateRole(pb.CreateRoleRequest(name="helper", scopes=["keys:read"]), metadata=who)
        update = pb.UpdateOrganizationRequest(
            organization_id="org_a", name="Acme", status=pb.ORGANIZATION_STATUS_SUSPENDED
        )
        await client.stub.UpdateOrganization(update, metadata=operator())
        entries = (await client.audit("org_a"))[::-1]
        assert [(entry.actor, entry.action, entry.target) for entry in entries] == [
            ("operator", "organization.create", "org_a"),
            ("key:abc", "key.create", made.key.key_id),
            ("key:abc", "key.rotate", made.key.key_id),
            ("key:abc", "key.revoke", made.key.key_id),
            ("key:abc", "domain.add", "t.example.com"),
            ("key:abc", "domain.remove", "t.example.com"),
            ("key:abc", "role.create", "helper"),
            ("operator", "organization.update", "org_a"),
        ]
        assert json.loads(entries[2].details_json)["new_key_id"] == renewed.key.key_id
        assert json.loads(entries[-1].details_json) == {"name": ["org_a", "Acme"], "status": ["active", "suspended"]}
        assert all(entry.create_time.ToDatetime(tzinfo=UTC) == NOON for entry in entries)
        assert [entry.entry_id for entry in entries] == sorted({entry.entry_id for entry in entries})
        text = str(entries)
        for secret in (made.secret, renewed.secret):
            assert secret not in text
            assert secret[34:] not in text
            assert hash_key(PEPPER.encode(), secret).hex() not in text

    async def test_an_act_carries_the_trace_of_its_request(self, client: WardenClient) -> None:
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        traced = (*operator("org_a"), ("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"))
        await client.key("org_a", metadata=traced, role="owner")
        entries = await client.audit("org_a")
        assert [entry.trace_id for entry in entries] == [trace_id, ""]

    async def test_a_refused_act_is_not_logged(self, client: WardenClient) -> None:
        await refusal(client.key("org_a", role="nobody"))
        await refusal(client.stub.RemoveDomain(pb.RemoveDomainRequest(host="t.example"), metadata=operator("org_a")))
        assert [entry.action for entry in await client.audit("org_a")] == ["organization.create"]

    async def test_the_log_is_paged_newest_first_and_ones_own(self, client: WardenClient) -> None:
        for number in range(3):
            request = pb.AddDomainRequest(host=f"t{number}.example.com")
            await client.stub.AddDomain(request, metadata=operator("org_a"))
        who = member("org_a", "audit:read")
        first = await client.stub.ListAuditEntries(pb.ListAuditEntriesRequest(page_size=3), metadata=who)
        second = await client.stub.ListAuditEntries(
            pb.ListAuditEntriesRequest(page_size=3, page_token=first.next_page_token), metadata=who
        )
        targets = [entry.target for entry in (*first.entries, *second.entries)]
        assert targets == ["t2.example.com", "t1.example.com", "t0.example.com", "org_a"]
        assert not second.next_page_token

    # Last use

    async def test_the_last_use_is_kept_to_the_minute_moves_forward_and_never_past_now(
        self, client: WardenClient, clock: TestClock
    ) -> None:
        made = await client.key("org_a", role="owner")
        clock.turn(timedelta(minutes=10, seconds=30))

        async def report(*uses: tuple[str, datetime]) -> None:
            request = pb.ReportKeyUseRequest(uses=[pb.KeyUse(key_id=i, last_use_time=stamp(t)) for i, t in uses])
            await client.stub.ReportKeyUse(request, metadata=SERVICE)

        async def last_use() -> datetime | None:
            key = (await client.stub.ListKeys(pb.ListKeysRequest(), metadata=operator("org_a"))).keys[0]
            return key.last_use_time.ToDatetime(tzinfo=UTC) if key.HasField("last_use_time") else None

        key_id = made.key.key_id
        assert await last_use() is None
        await report(("unknown" * 3 + "x", NOON), ("\x00", NOON), ("", NOON))
        assert await last_use() is None
        await report((key_id, NOON), (key_id, NOON + timedelta(minutes=2, seconds=59)), (key_id, NOON))
        assert await last_use() == NOON + timedelta(minutes=2)
        await report((key_id, NOON))
        assert await last_use() == NOON + timedelta(minutes=2)
        await report((key_id, NOON + timedelta(days=999)))
        assert await last_use() == NOON + timedelta(minutes=10)

    async def test_a_report_of_10_000_uses_is_taken_and_more_are_refused(self, client: WardenClient) -> None:
        uses = [pb.KeyUse(key_id=f"{number:022}", last_use_time=stamp(NOON)) for number in range(10_001)]
        await client.stub.ReportKeyUse(pb.ReportKeyUseRequest(uses=uses[:10_000]), metadata=SERVICE)
        error = await refusal(client.stub.ReportKeyUse(pb.ReportKeyUseRequest(uses=uses), metadata=SERVICE))
        assert error.code is Code.INVALID_ARGUMENT

    # Watching

    async def test_a_watch_begins_with_a_snapshot_and_goes_on_with_every_change(self, client: WardenClient) -> None:
        made = await client.key("org_a", scopes=["campaigns:read"], role="sender")
        await client.stub.AddDomain(pb.AddDomainRequest(host="t.example.com"), metadata=operator("org_a"))
        watch = client.watch()
        snapshot = await asyncio.wait_for(watch.read(), 5)
        assert snapshot.is_snapshot
        assert list(snapshot.keys) == [
            pb.KeyRecord(
                key_id=made.key.key_id,
                organization_id="org_a",
                hash=hash_key(PEPPER.encode(), made.secret),
                kind=pb.KEY_KIND_SECRET,
                environment=pb.KEY_ENVIRONMENT_LIVE,
                scopes=sorted({"campaigns:read"} | BUILT_IN_ROLES["sender"].scopes),
            )
        ]
        assert list(snapshot.domains) == [pb.DomainRecord(host="t.example.com", organization_id="org_a")]
        assert {record.organization_id for record in snapshot.organizations} == {"org_a", "org_b"}

        await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id), metadata=operator("org_a"))
        change = await asyncio.wait_for(watch.read(), 5)
        assert not change.is_snapshot
        assert change.revision > snapshot.revision
        assert change.keys[0].revoke_time.ToDatetime(tzinfo=UTC) == NOON

        await client.stub.RemoveDomain(pb.RemoveDomainRequest(host="t.example.com"), metadata=operator("org_a"))
        change = await asyncio.wait_for(watch.read(), 5)
        assert list(change.removed_hosts) == ["t.example.com"]

        update = pb.UpdateOrganizationRequest(organization_id="org_b", status=pb.ORGANIZATION_STATUS_SUSPENDED)
        await client.stub.UpdateOrganization(update, metadata=operator())
        change = await asyncio.wait_for(watch.read(), 5)
        assert [(record.organization_id, record.status) for record in change.organizations] == [
            ("org_b", pb.ORGANIZATION_STATUS_SUSPENDED)
        ]
        watch.cancel()

    async def test_two_watchers_who_come_at_different_times_know_the_same_in_the_end(
        self, client: WardenClient
    ) -> None:
        early = client.watch()
        known: dict[str, bool] = {}
        first = await asyncio.wait_for(early.read(), 5)
        made = [await client.key("org_a", role="owner") for _ in range(10)]
        for each in made[::2]:
            await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=each.key.key_id), metadata=operator("org_a"))
        late = await asyncio.wait_for(client.watch().read(), 5)
        revision = first.revision
        while revision < late.revision:
            change = await asyncio.wait_for(early.read(), 5)
            assert change.revision > revision
            revision = change.revision
            known.update((key.key_id, key.HasField("revoke_time")) for key in change.keys)
        assert known == {key.key_id: key.HasField("revoke_time") for key in late.keys}
        assert sum(known.values()) == 5

    # Fixed keys

    async def test_a_fixed_key_works_where_fixed_keys_are_allowed_and_nowhere_else(self, store: WardenStore) -> None:
        async with running_warden(store, allow_fixed_keys=True) as client:
            await client.organization("org_acmecorp")
            made = await client.key("org_acmecorp", role="owner", fixed_key=FIXED)
            assert made.secret == FIXED
            assert made.key.key_id == fixed_key_id(hash_key(PEPPER.encode(), FIXED))
            assert made.key.last_four == "_key"
            assert (await client.validate(FIXED)).organization_id == "org_acmecorp"
            assert (
                await refusal(client.key("org_acmecorp", role="owner", fixed_key=FIXED))
            ).code is Code.ALREADY_EXISTS
            snapshot = await asyncio.wait_for(client.watch().read(), 5)
            assert [record.key_id for record in snapshot.keys] == [made.key.key_id]
            renewed = await client.stub.RotateKey(
                pb.RotateKeyRequest(key_id=made.key.key_id), metadata=operator("org_acmecorp")
            )
        async with running_warden(store, allow_fixed_keys=False) as client:
            assert (await refusal(client.validate(FIXED))).reason == "KEY_UNKNOWN"
            snapshot = await asyncio.wait_for(client.watch().read(), 5)
            assert [record.key_id for record in snapshot.keys] == [renewed.key.key_id]

    @pytest.mark.parametrize(
        "fixed_key",
        [
            "wdn_pk_live_acmecorp_key",
            "wdn_sk_test_acmecorp_key",
            "acmecorp_key",
            "wdn_sk_live_" + "a" * 41,
            "wdn_sk_live_" + "a" * 50,
        ],
    )
    async def test_a_fixed_key_of_another_form_is_refused(self, store: WardenStore, fixed_key: str) -> None:
        async with running_warden(store, allow_fixed_keys=True) as client:
            await client.organization("org_a")
            error = await refusal(client.key("org_a", role="owner", fixed_key=fixed_key))
            assert [violation.field for violation in error.violations] == ["fixed_key"]
            assert fixed_key not in str(error)

    async def test_only_the_operator_chooses_a_key(self, store: WardenStore) -> None:
        async with running_warden(store, allow_fixed_keys=True) as client:
            await client.organization("org_a")
            error = await refusal(client.key("org_a", metadata=member("org_a", *SCOPES), role="owner", fixed_key=FIXED))
            assert error.code is Code.PERMISSION_DENIED

    # Leaving

    async def test_an_open_watch_does_not_hold_up_the_end(self, store: WardenStore) -> None:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as clients:
            async with warden(MESH, auth_settings(), store, TestClock()) as port:
                client = await clients.enter_async_context(connected(port))
                watch = client.watch()
                await asyncio.wait_for(watch.read(), 5)
                ending = asyncio.create_task(refusal(watch.read()))
                began = loop.time()
            assert loop.time() - began < 2
            assert (await ending).code is Code.UNAVAILABLE

"""The rules of roles, rotations, hosts and grants, without any store."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_svc.directory_update import KnownKey
from auth_svc.host import normal_host
from auth_svc.issue import latest_uses
from auth_svc.key import FreshKey, KeyWanted, rotate
from auth_svc.organization import is_organization_id
from auth_svc.partner import PartnerWanted, plain_addresses
from auth_svc.principal import Principal
from auth_svc.role import BUILT_IN_ROLES, resolve
from auth_svc.store.postgres import MIGRATIONS
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from svc_runtime.keys import KeyEnvironment, KeyKind
from svc_runtime.migrations import read_migrations
from svc_runtime.scopes import SCOPES
from tests.contract.auth.things import NOON, a_key
from trellis.attribution.v1 import attribution_service_pb2
from trellis.auth.v1 import auth_service_pb2
from trellis.capture.v1 import capture_service_pb2
from trellis.type.v1 import access_pb2

FRESH = FreshKey("wdn_sk_live_whatever1234", "n" * 22, b"n" * 32)
DAY = timedelta(days=1)


def test_every_scope_that_the_contracts_name_exists() -> None:
    named = {
        method.GetOptions().Extensions[access_pb2.access].scope
        for module in (auth_service_pb2, attribution_service_pb2, capture_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    } - {""}
    assert named <= SCOPES


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert read_migrations(MIGRATIONS)


def test_the_built_in_roles_are_what_people_rely_on() -> None:
    assert list(BUILT_IN_ROLES) == ["owner", "admin", "marketer", "analyst", "sender"]
    assert BUILT_IN_ROLES["owner"].scopes == SCOPES
    assert BUILT_IN_ROLES["admin"].scopes == SCOPES - {"keys:write"}
    assert BUILT_IN_ROLES["marketer"].scopes > BUILT_IN_ROLES["analyst"].scopes
    assert not any("write" in scope for scope in BUILT_IN_ROLES["analyst"].scopes)
    assert all("read" not in scope for scope in BUILT_IN_ROLES["sender"].scopes)
    assert all(role.scopes <= SCOPES and role.is_built_in for role in BUILT_IN_ROLES.values())


@pytest.mark.parametrize(
    ("role", "own", "expected"),
    [
        ("", frozenset({"audit:read"}), {"keys:read", "audit:read"}),
        ("helper", frozenset({"audit:read"}), {"keys:read", "audit:read"}),
        ("sender", frozenset({"audit:read"}), {"keys:read", "traffic:write", "conversions:write"}),
    ],
)
def test_a_built_in_role_cannot_be_redefined(role: str, own: frozenset[str], expected: set[str]) -> None:
    assert resolve(frozenset({"keys:read"}), role, own) == expected


@given(st.frozensets(st.sampled_from(sorted(SCOPES))), st.frozensets(st.sampled_from(sorted(SCOPES))))
def test_a_caller_grants_what_it_holds_and_the_operator_everything(held: frozenset[str], asked: frozenset[str]) -> None:
    Principal("operator", "org_a", frozenset(), is_operator=True).check_may_grant(asked)
    caller = Principal("key:a", "org_a", held, is_operator=False)
    if asked <= held:
        caller.check_may_grant(asked)
    else:
        with pytest.raises(PermissionDeniedError):
            caller.check_may_grant(asked)


@pytest.mark.parametrize(
    ("old_expires", "overlap", "old_ends", "new_ends"),
    [
        (None, DAY, NOON + DAY, None),
        (None, timedelta(0), NOON, None),
        (NOON + timedelta(hours=1), DAY, NOON + timedelta(hours=1), NOON + timedelta(hours=1, minutes=59)),
        (NOON + 90 * DAY, DAY, NOON + DAY, NOON + 90 * DAY + timedelta(minutes=59)),
    ],
    ids=["for ever", "at once", "the old one ends first", "a lifetime is handed on"],
)
def test_a_rotation_ends_the_old_key_and_hands_on_its_lifetime(
    old_expires: object, overlap: timedelta, old_ends: object, new_ends: object
) -> None:
    old = a_key(-59, role="analyst", expire_time=old_expires, last_use_time=NOON)
    assert old.create_time == NOON - timedelta(minutes=59)
    rotation = rotate(old, [old], FRESH, now=NOON, overlap=overlap)
    assert rotation.old.expire_time == old_ends
    assert rotation.new.expire_time == new_ends
    assert (rotation.new.role, rotation.new.scopes, rotation.new.kind) == (old.role, old.scopes, old.kind)
    assert (rotation.new.rotated_from, rotation.new.rotation_id) == (old.key_id, old.rotation_id)
    assert (rotation.new.last_four, rotation.new.last_use_time) == ("1234", None)


@pytest.mark.parametrize("changes", [{"revoke_time": NOON}, {"expire_time": NOON}])
def test_a_dead_key_is_not_rotated(changes: dict[str, object]) -> None:
    old = a_key(0, **changes)
    with pytest.raises(FailedPreconditionError):
        rotate(old, [old], FRESH, now=NOON, overlap=DAY)


@pytest.mark.parametrize(
    ("kind", "scopes", "role", "fields"),
    [
        (KeyKind.SECRET, (), "", ["scopes"]),
        (KeyKind.SECRET, ("keys:read",), "", []),
        (KeyKind.SECRET, (), "owner", []),
        (KeyKind.SECRET, ("keys:read",), "owner", []),
        (KeyKind.PUBLISHABLE, (), "", []),
        (KeyKind.PUBLISHABLE, ("traffic:write",), "", ["scopes"]),
        (KeyKind.PUBLISHABLE, (), "sender", ["scopes"]),
    ],
)
def test_a_secret_key_says_what_it_may_do_and_a_publishable_one_may_not(
    kind: KeyKind, scopes: tuple[str, ...], role: str, fields: list[str]
) -> None:
    wanted = KeyWanted("a key", kind, KeyEnvironment.LIVE, scopes, role)
    assert [violation.field for violation in wanted.violations()] == fields


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("track.acmecorp.com", "track.acmecorp.com"),
        ("Track.AcmeCorp.COM.", "track.acmecorp.com"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
        ("a." * 126 + "b", "a." * 126 + "b"),
    ],
)
def test_a_host_is_brought_to_one_form(text: str, host: str) -> None:
    assert normal_host(text) == host
    assert normal_host(host) == host


@given(st.text())
def test_a_host_is_taken_whole_or_refused(text: str) -> None:
    try:
        host = normal_host(text)
    except InvalidArgumentError:
        return
    assert host == normal_host(host)
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@pytest.mark.parametrize("text", ["org_a\n", "org_", "ORG_a", "org_A", "org-a", "org_" + "a" * 61, "org_ä", "a_org_a"])
def test_an_organisation_id_has_one_form(text: str) -> None:
    assert not is_organization_id(text)
    assert is_organization_id("org_" + "a" * 60)


@given(st.lists(st.tuples(st.sampled_from(["a" * 22, "b" * 22, "?"]), st.integers(-100_000, 100_000))))
def test_the_latest_use_of_each_key_remains_to_the_minute_and_not_past_now(uses: list[tuple[str, int]]) -> None:
    latest = latest_uses([(key_id, NOON + timedelta(seconds=offset)) for key_id, offset in uses], NOON)
    for key_id in {key_id for key_id, _ in uses} - {"?"}:
        newest = NOON + timedelta(seconds=min(0, max(offset for each, offset in uses if each == key_id)))
        assert latest[key_id] <= newest < latest[key_id] + timedelta(minutes=1)
        assert latest[key_id].second == 0
    assert "?" not in latest


def test_nothing_that_holds_a_secret_shows_it() -> None:
    key = a_key(1)
    known = KnownKey("k", "org_a", b"HASH" * 8, key.kind, key.environment, key.scopes, False, None, None)
    wanted = KeyWanted("a", KeyKind.SECRET, KeyEnvironment.LIVE, fixed_key="wdn_sk_live_secret")
    text = repr([key, known, wanted, FRESH])
    assert "HASH" not in text
    assert repr(key.hash) not in text
    assert "wdn_sk_live" not in text


@pytest.mark.parametrize(
    ("given_address", "expected"),
    [
        ("::ffff:198.51.100.7", "198.51.100.7/32"),
        ("::ffff:c633:6407", "198.51.100.7/32"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
        ("::ffff:198.51.100.7/120", "198.51.100.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:0:0/90", "::ffc0:0:0/90"),
        (" 198.51.100.7 ", "198.51.100.7/32"),
        ("2001:db8::1/32", "2001:db8::/32"),
    ],
)
def test_addresses_of_a_partner_have_the_form_that_senders_have(given_address: str, expected: str) -> None:
    assert PartnerWanted(addresses=[given_address]).violations() == []
    assert plain_addresses([given_address]) == (expected,)


def test_an_address_with_a_zone_is_nobodys() -> None:
    [violation] = PartnerWanted(addresses=["fe80::1%eth0"]).violations()
    assert (violation.field, violation.description) == ("addresses[0]", "'fe80::1%eth0' is no address or network")

"""Who is it: hosts and keys, from a snapshot."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingress_gateway.organisations import Organisations, normal_host
from svc_runtime.errors import PermissionDeniedError, UnauthenticatedError
from svc_runtime.keys import KeyEnvironment, KeyKind, new_key, present_key
from trellis.auth.v1 import auth_service_pb2 as pb

PEPPER = "p" * 32
KEY = new_key(KeyKind.SECRET, KeyEnvironment.LIVE)


def _record(key: str = KEY, **more: Any) -> pb.KeyRecord:
    presented = present_key(PEPPER.encode(), key)
    is_secret = presented.kind is KeyKind.SECRET
    is_test = presented.environment is KeyEnvironment.TEST
    record = pb.KeyRecord(
        key_id=presented.key_id,
        organization_id=more.pop("organization_id", "org_a"),
        hash=more.pop("hash", presented.hash),
        kind=pb.KEY_KIND_SECRET if is_secret else pb.KEY_KIND_PUBLISHABLE,
        environment=pb.KEY_ENVIRONMENT_TEST if is_test else pb.KEY_ENVIRONMENT_LIVE,
        scopes=more.pop("scopes", ["traffic:write"]),
    )
    for name, value in more.items():
        getattr(record, name).FromDatetime(value)
    return record


def _held(*keys: pb.KeyRecord, revision: int = 1, **hosts: str) -> Organisations:
    organisations = Organisations(PEPPER)
    organisations.apply(_snapshot(*keys, revision=revision, **hosts))
    return organisations


def _snapshot(*keys: pb.KeyRecord, revision: int = 1, **hosts: str) -> pb.WatchKeysResponse:
    return pb.WatchKeysResponse(
        revision=revision,
        is_snapshot=True,
        keys=keys,
        domains=[pb.DomainRecord(host=host.replace("_", "."), organization_id=o) for host, o in hosts.items()],
    )


def _reason(organisations: Organisations, key: str) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        organisations.authenticate(key)
    assert key not in str(refused.value)
    return refused.value.reason


def test_a_key_stands_for_its_organisation_and_scopes() -> None:
    principal = _held(_record(scopes=["a", "b"])).authenticate(KEY)
    assert (principal.organization_id, principal.is_secret, principal.is_test) == ("org_a", True, False)
    assert principal.scopes == frozenset({"a", "b"})
    key = new_key(KeyKind.PUBLISHABLE, KeyEnvironment.TEST)
    other = _held(_record(key)).authenticate(key)
    assert (other.is_secret, other.is_test) == (False, True)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (new_key(KeyKind.SECRET, KeyEnvironment.LIVE), "KEY_UNKNOWN"),
        (KEY[:-1] + ("A" if KEY[-1] != "A" else "B"), "KEY_MALFORMED"),
        (KEY[:30], "KEY_UNKNOWN"),
        (KEY + "A", "KEY_MALFORMED"),
        (KEY.lower().replace("wdn_sk_live_", "wdn_sk_test_"), "KEY_MALFORMED"),
        ("wdn_sk_live_fixed", "KEY_UNKNOWN"),
        ("", "KEY_MALFORMED"),
        ("\ud800", "KEY_MALFORMED"),
        (KEY + "\n", "KEY_MALFORMED"),
        (" " + KEY, "KEY_MALFORMED"),
    ],
)
def test_what_is_wrong_with_a_key_has_a_reason_and_no_echo(key: str, reason: str) -> None:
    organisations = _held(_record())
    with pytest.raises(UnauthenticatedError) as refused:
        organisations.authenticate(key)
    assert refused.value.reason == reason


def test_a_key_of_the_right_id_and_the_wrong_secret_is_unknown() -> None:
    assert _reason(_held(_record(hash=b"\0" * 32)), KEY) == "KEY_UNKNOWN"


def test_a_revoked_key_is_refused_at_once_also_when_it_was_remembered() -> None:
    organisations = _held(_record())
    organisations.authenticate(KEY)
    change = pb.WatchKeysResponse(revision=2, keys=[_record(revoke_time=datetime.now(UTC))])
    assert organisations.apply(change)
    assert _reason(organisations, KEY) == "KEY_REVOKED"
    organisations.apply(pb.WatchKeysResponse(revision=3, removed_key_ids=[_record().key_id]))
    assert _reason(organisations, KEY) in ("KEY_UNKNOWN", "KEY_REVOKED")


def test_a_key_ends_at_its_expiry_also_when_it_was_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    organisations = _held(_record(expire_time=now + timedelta(seconds=10)))
    organisations.authenticate(KEY)

    class _Later:
        @staticmethod
        def now(_zone: object) -> datetime:
            return now + timedelta(seconds=10)

    monkeypatch.setattr("ingress_gateway.organisations.datetime", _Later)
    assert _reason(organisations, KEY) == "KEY_EXPIRED"


def test_the_use_of_keys_is_told_once() -> None:
    organisations = _held(_record())
    assert not organisations.take_uses()
    organisations.authenticate(KEY)
    assert list(organisations.take_uses()) == [_record().key_id]
    assert not organisations.take_uses()


def test_wrong_keys_are_not_remembered_without_bound() -> None:
    organisations = _held(_record())
    for number in range(200):
        _reason(organisations, f"wdn_pk_live_x{number}")
    assert len(organisations._principals) == 0


def test_hosts_are_not_remembered_without_bound() -> None:
    organisations = _held(a_example="org_a")
    for number in range(25_000):
        organisations.of_host(f"h{number}.example")
    assert len(organisations._host_headers) <= 10_000
    assert organisations.of_host("a.example") == "org_a"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("a.example", "a.example"),
        ("A.Example:8080", "a.example"),
        (" a.example. ", "a.example"),
        ("a.example.:80", "a.example"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("", ""),
        (":", ""),
        ("a.example:b:c", "a.example"),
        ("\udcff", "\udcff"),
    ],
)
def test_a_host_header_names_a_host(header: str, expected: str) -> None:
    assert normal_host(header) == expected


def test_hosts_come_and_go() -> None:
    organisations = _held(a_example="org_a")
    assert organisations.of_host("A.example:80") == "org_a"
    organisations.apply(
        pb.WatchKeysResponse(
            revision=2,
            removed_hosts=["a.example"],
            domains=[pb.DomainRecord(host="b.example", organization_id="org_b")],
        )
    )
    assert (organisations.of_host("A.example:80"), organisations.of_host("b.example")) == ("", "org_b")
    assert organisations.is_own_host("B.EXAMPLE:1")
    assert not organisations.is_own_host("a.example")


@pytest.mark.parametrize(("revision", "is_taken"), [(5, True), (6, True), (4, False), (0, False)])
def test_a_snapshot_older_than_what_is_held_is_refused(revision: int, is_taken: bool) -> None:
    organisations = _held(revision=5, a_example="org_a")
    assert organisations.apply(_snapshot(revision=revision, a_example="org_b")) is is_taken
    assert organisations.of_host("a.example") == ("org_b" if is_taken else "org_a")


@pytest.mark.parametrize("is_snapshot", [True, False])
def test_a_database_restored_from_a_backup_brings_no_revoked_key_back(is_snapshot: bool) -> None:
    organisations = _held(_record(revoke_time=datetime.now(UTC)), revision=5)
    organisations.apply(pb.WatchKeysResponse(revision=6, is_snapshot=is_snapshot, keys=[_record()]))
    assert _reason(organisations, KEY) == "KEY_REVOKED"
    again = _held()
    again.apply(organisations.snapshot())
    assert _reason(again, KEY) == "KEY_REVOKED"


def test_a_suspended_organisation_may_not_manage() -> None:
    organisations = _held()
    organisations.require_active("org_a")
    organisations.apply(
        pb.WatchKeysResponse(
            revision=2,
            organizations=[
                pb.OrganizationRecord(organization_id="org_a", status=pb.ORGANIZATION_STATUS_SUSPENDED),
            ],
        )
    )
    with pytest.raises(PermissionDeniedError) as refused:
        organisations.require_active("org_a")
    assert refused.value.reason == "ORGANIZATION_SUSPENDED"


def test_what_is_saved_is_what_was_held() -> None:
    organisations = _held(_record(), revision=7, a_example="org_a")
    again = Organisations(PEPPER)
    assert not again.is_ready
    again.apply(pb.WatchKeysResponse.FromString(organisations.snapshot().SerializeToString()))
    assert (again.revision, again.is_ready, again.of_host("a.example")) == (7, True, "org_a")
    assert again.authenticate(KEY).organization_id == "org_a"

"""Organisations, keys and acts as tests need them."""

import hashlib
import string
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from auth_svc.audit import Act
from auth_svc.host import Domain
from auth_svc.key import Key
from auth_svc.organization import Organization, OrganizationStatus
from auth_svc.partner import Partner, PartnerToken
from svc_runtime.keys import KeyEnvironment, KeyKind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TestClock:
    """A clock that stands still until it is turned."""

    __test__ = False

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def turn(self, by: timedelta) -> None:
        self._now += by


def an_act(action: str = "key.create", organization_id: str = "org_a", target: str = "it", **details: Any) -> Act:
    return Act(organization_id, "operator", action, target, NOON, "0" * 31 + "1", details)


def an_organization(organization_id: str = "org_a") -> Organization:
    return Organization(organization_id, "A", OrganizationStatus.ACTIVE, NOON)


def a_domain(host: str, organization_id: str = "org_a") -> Domain:
    return Domain(host, organization_id, NOON)


def a_key(number: int, organization_id: str = "org_a", **changes: Any) -> Key:
    """Return the key of a number: its id sorts by it."""
    key_id = f"{number:022}"
    key = Key(
        key_id=key_id,
        organization_id=organization_id,
        name=f"key {number}",
        kind=KeyKind.SECRET,
        environment=KeyEnvironment.LIVE,
        scopes=frozenset({"campaigns:read"}),
        role="",
        hash=hashlib.sha256(key_id.encode()).digest(),
        last_four="1234",
        is_fixed=False,
        create_time=NOON + timedelta(minutes=number),
        rotation_id=key_id,
    )
    return replace(key, **changes)


def a_token(number: int, **changes: Any) -> PartnerToken:
    token_id = f"{number:022}"
    return replace(PartnerToken(token_id, hashlib.sha256(token_id.encode()).digest(), "abcd", NOON), **changes)


def a_partner(number: int, organization_id: str = "org_a", **changes: Any) -> Partner:
    """Return the partner of a number: its id sorts by it."""
    partner = Partner(
        partner_id=f"ptr_{number:016x}",
        organization_id=organization_id,
        name=f"partner {number}",
        network="cj",
        token=a_token(number),
        create_time=NOON + timedelta(minutes=number),
    )
    return replace(partner, **changes)


def with_check_digits(start: str) -> str:
    """Return a key whose check digits fit: what anybody can compute."""
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    rest, found = zlib.crc32(start.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        found = digits[digit] + found
    return start + found

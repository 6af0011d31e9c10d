"""What it takes to recognise keys and hosts, and how it changes: the part of the store that gateways hold a copy of."""

from dataclasses import dataclass, field
from datetime import datetime

from auth_svc.organization import OrganizationStatus
from auth_svc.partner import Partner
from svc_runtime.keys import KeyEnvironment, KeyKind


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as it is recognised."""

    key_id: str
    organization_id: str
    hash: bytes = field(repr=False)
    kind: KeyKind
    environment: KeyEnvironment
    scopes: frozenset[str]
    """What it may do, its role resolved."""
    is_fixed: bool
    expire_time: datetime | None
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True)
class DirectoryUpdate:
    """A snapshot, or what changed up to ``revision``."""

    revision: int
    is_snapshot: bool = False
    keys: tuple[KnownKey, ...] = ()
    domains: tuple[tuple[str, str], ...] = ()
    """(host, organization_id), new or changed."""
    removed_hosts: tuple[str, ...] = ()
    organizations: tuple[tuple[str, OrganizationStatus], ...] = ()
    """(organization_id, status), new or changed."""
    partners: tuple[Partner, ...] = ()
    """New or changed; revoked ones stay."""

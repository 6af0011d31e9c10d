"""Rows of PostgreSQL to what they mean, and back."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from auth_svc.audit import Act, AuditEntry
from auth_svc.directory_update import KnownKey
from auth_svc.host import Domain
from auth_svc.key import Key
from auth_svc.organization import Organization, OrganizationStatus
from auth_svc.role import Role, resolve
from svc_runtime.keys import KeyEnvironment, KeyKind

Row: TypeAlias = Mapping[str, Any]

KEY_COLUMNS = (
    "key_id, organization_id, name, kind, environment, scopes, role, hash, last_four, is_fixed, create_time, "
    "rotation_id, rotated_from, expire_time, revoke_time, last_use_time"
)


def organization_from(row: Row) -> Organization:
    """Read a row of ``organizations``."""
    return Organization(row["organization_id"], row["name"], OrganizationStatus(row["status"]), row["create_time"])


def key_from(row: Row) -> Key:
    """Read a row of ``KEY_COLUMNS``."""
    return Key(
        key_id=row["key_id"],
        organization_id=row["organization_id"],
        name=row["name"],
        kind=KeyKind(row["kind"]),
        environment=KeyEnvironment(row["environment"]),
        scopes=frozenset(row["scopes"]),
        role=row["role"],
        hash=row["hash"],
        last_four=row["last_four"],
        is_fixed=row["is_fixed"],
        create_time=row["create_time"],
        rotation_id=row["rotation_id"],
        rotated_from=row["rotated_from"],
        expire_time=row["expire_time"],
        revoke_time=row["revoke_time"],
        last_use_time=row["last_use_time"],
    )


def key_values(key: Key) -> tuple[Any, ...]:
    """Return what to write for ``KEY_COLUMNS``."""
    return (
        key.key_id,
        key.organization_id,
        key.name,
        key.kind.value,
        key.environment.value,
        sorted(key.scopes),
        key.role,
        key.hash,
        key.last_four,
        key.is_fixed,
        key.create_time,
        key.rotation_id,
        key.rotated_from,
        key.expire_time,
        key.revoke_time,
        key.last_use_time,
    )


def known_key_from(row: Row) -> KnownKey:
    """Read a row of ``keys`` with ``role_scopes``, the scopes of its organisation's own role (or NULL)."""
    return KnownKey(
        key_id=row["key_id"],
        organization_id=row["organization_id"],
        hash=row["hash"],
        kind=KeyKind(row["kind"]),
        environment=KeyEnvironment(row["environment"]),
        scopes=resolve(frozenset(row["scopes"]), row["role"], frozenset(row["role_scopes"] or ())),
        is_fixed=row["is_fixed"],
        expire_time=row["expire_time"],
        revoke_time=row["revoke_time"],
    )


def domain_from(row: Row) -> Domain:
    """Read a row of ``domains``."""
    return Domain(row["host"], row["organization_id"], row["create_time"])


def role_from(row: Row) -> Role:
    """Read a row of ``roles``."""
    return Role(row["name"], frozenset(row["scopes"]))


def audit_entry_from(row: Row) -> AuditEntry:
    """Read a row of ``audit_entries``."""
    return AuditEntry(
        row["entry_id"],
        Act(
            organization_id=row["organization_id"],
            actor=row["actor"],
            action=row["action"],
            target=row["target"],
            time=row["create_time"],
            trace_id=row["trace_id"],
            details=json.loads(row["details"]),
        ),
    )


def act_values(act: Act) -> tuple[Any, ...]:
    """Return what to write for an act, in the order of ``audit_entries``' columns."""
    return (
        act.organization_id,
        act.actor,
        act.action,
        act.target,
        json.dumps(dict(act.details), sort_keys=True),
        act.time,
        act.trace_id,
    )

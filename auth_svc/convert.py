"""Protobuf to what Warden means by it, and back. All that is wrong with a request is collected."""

import json
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from auth_svc.audit import AuditEntry
from auth_svc.convert_partners import partner_record
from auth_svc.directory_update import DirectoryUpdate, KnownKey
from auth_svc.host import Domain
from auth_svc.issue import MOST_USES_PER_REPORT
from auth_svc.key import DEFAULT_OVERLAP, LARGEST_OVERLAP, Key, KeyWanted
from auth_svc.organization import Organization, OrganizationStatus
from auth_svc.principal import Principal
from auth_svc.role import Role
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.keys import KeyEnvironment, KeyKind
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.timestamps import timestamp_of
from trellis.auth.v1 import auth_service_pb2 as pb

_KINDS = {pb.KEY_KIND_PUBLISHABLE: KeyKind.PUBLISHABLE, pb.KEY_KIND_SECRET: KeyKind.SECRET}
_ENVIRONMENTS = {
    pb.KEY_ENVIRONMENT_UNSPECIFIED: KeyEnvironment.LIVE,
    pb.KEY_ENVIRONMENT_LIVE: KeyEnvironment.LIVE,
    pb.KEY_ENVIRONMENT_TEST: KeyEnvironment.TEST,
}
_STATUSES = {
    pb.ORGANIZATION_STATUS_ACTIVE: OrganizationStatus.ACTIVE,
    pb.ORGANIZATION_STATUS_SUSPENDED: OrganizationStatus.SUSPENDED,
}
_KINDS_TO_PB = {kind: number for number, kind in _KINDS.items()}
_ENVIRONMENTS_TO_PB = {
    KeyEnvironment.LIVE: pb.KEY_ENVIRONMENT_LIVE,
    KeyEnvironment.TEST: pb.KEY_ENVIRONMENT_TEST,
}
_STATUSES_TO_PB = {status: number for number, status in _STATUSES.items()}


def principal_from(caller: Caller, trace_id: str) -> Principal:
    """Return who acts."""
    return Principal(
        actor=caller.actor,
        organization_id=caller.organization_id,
        scopes=caller.scopes,
        is_operator=caller.kind is CallerKind.OPERATOR,
        trace_id=trace_id,
    )


def key_wanted_from_pb(request: pb.CreateKeyRequest) -> KeyWanted:
    """Read the wish for a key. Raise InvalidArgumentError."""
    violations: list[Violation] = []
    kind = _KINDS.get(request.kind)
    if kind is None:
        violations.append(Violation("kind", "must be publishable or secret"))
    environment = _ENVIRONMENTS.get(request.environment)
    if environment is None:
        violations.append(Violation("environment", "must be live or test"))
    expire_time = _instant(request.expire_time) if request.HasField("expire_time") else None
    if request.HasField("expire_time") and expire_time is None:
        violations.append(Violation("expire_time", "is not an instant of the years 1 to 9999"))
    wanted = KeyWanted(
        name=request.name,
        kind=kind or KeyKind.SECRET,
        environment=environment or KeyEnvironment.LIVE,
        scopes=tuple(request.scopes),
        role=request.role,
        expire_time=expire_time,
        fixed_key=request.fixed_key,
    )
    violations += wanted.violations()
    if violations:
        raise InvalidArgumentError.of(violations)
    return wanted


def overlap_from_pb(request: pb.RotateKeyRequest) -> timedelta:
    """Read how long the old key lives on. Raise InvalidArgumentError."""
    if not request.HasField("overlap_seconds"):
        return DEFAULT_OVERLAP
    overlap = timedelta(seconds=request.overlap_seconds)
    if overlap > LARGEST_OVERLAP:
        limit = round(LARGEST_OVERLAP.total_seconds())
        raise InvalidArgumentError.of(
            [Violation("overlap_seconds", f"is {request.overlap_seconds}, at most {limit} (30 days)")]
        )
    return overlap


def status_from_pb(request: pb.UpdateOrganizationRequest) -> OrganizationStatus | None:
    """Read the wanted state; None when it is not set. Raise InvalidArgumentError."""
    if not request.HasField("status"):
        return None
    status = _STATUSES.get(request.status)
    if status is None:
        raise InvalidArgumentError.of([Violation("status", "must be active or suspended")])
    return status


def key_uses_from_pb(request: pb.ReportKeyUseRequest) -> list[tuple[str, datetime]]:
    """Read a report of (key id, last use). Raise InvalidArgumentError; an instant that is none drops its entry."""
    if len(request.uses) > MOST_USES_PER_REPORT:
        raise InvalidArgumentError.of([Violation("uses", f"are {len(request.uses)}, at most {MOST_USES_PER_REPORT}")])
    uses = ((use.key_id, _instant(use.last_use_time)) for use in request.uses if use.HasField("last_use_time"))
    return [(key_id, instant) for key_id, instant in uses if instant is not None]


def key_to_pb(key: Key) -> pb.Key:
    """Write a key without its hash."""
    return pb.Key(
        key_id=key.key_id,
        organization_id=key.organization_id,
        name=key.name,
        kind=_KINDS_TO_PB[key.kind],
        environment=_ENVIRONMENTS_TO_PB[key.environment],
        scopes=sorted(key.scopes),
        role=key.role,
        last_four=key.last_four,
        create_time=timestamp_of(key.create_time),
        expire_time=timestamp_of(key.expire_time),
        revoke_time=timestamp_of(key.revoke_time),
        last_use_time=timestamp_of(key.last_use_time),
        rotated_from_key_id=key.rotated_from,
    )


def validated_key_to_pb(key: KnownKey) -> pb.ValidateKeyResponse:
    """Write whose key it is."""
    return pb.ValidateKeyResponse(
        organization_id=key.organization_id,
        key_id=key.key_id,
        kind=_KINDS_TO_PB[key.kind],
        environment=_ENVIRONMENTS_TO_PB[key.environment],
        scopes=sorted(key.scopes),
    )


def directory_update_to_pb(update: DirectoryUpdate) -> pb.WatchKeysResponse:
    """Write what watchers get."""
    return pb.WatchKeysResponse(
        revision=update.revision,
        is_snapshot=update.is_snapshot,
        keys=(_key_record(key) for key in update.keys),
        domains=(pb.DomainRecord(host=host, organization_id=owner) for host, owner in update.domains),
        removed_hosts=update.removed_hosts,
        organizations=(
            pb.OrganizationRecord(organization_id=organization_id, status=_STATUSES_TO_PB[status])
            for organization_id, status in update.organizations
        ),
        partners=map(partner_record, update.partners),
    )


def organization_to_pb(organization: Organization) -> pb.Organization:
    """Write an organisation."""
    return pb.Organization(
        organization_id=organization.organization_id,
        name=organization.name,
        status=_STATUSES_TO_PB[organization.status],
        create_time=timestamp_of(organization.create_time),
    )


def domain_to_pb(domain: Domain) -> pb.Domain:
    """Write a tracking domain."""
    return pb.Domain(
        host=domain.host, organization_id=domain.organization_id, create_time=timestamp_of(domain.create_time)
    )


def role_to_pb(role: Role) -> pb.Role:
    """Write a role."""
    return pb.Role(name=role.name, scopes=sorted(role.scopes), is_built_in=role.is_built_in)


def audit_entry_to_pb(entry: AuditEntry) -> pb.AuditEntry:
    """Write an entry of the audit log."""
    act = entry.act
    return pb.AuditEntry(
        entry_id=entry.entry_id,
        organization_id=act.organization_id,
        actor=act.actor,
        action=act.action,
        target=act.target,
        details_json=json.dumps(dict(act.details), sort_keys=True, ensure_ascii=False),
        create_time=timestamp_of(act.time),
        trace_id=act.trace_id,
    )


def _key_record(key: KnownKey) -> pb.KeyRecord:
    return pb.KeyRecord(
        key_id=key.key_id,
        organization_id=key.organization_id,
        hash=key.hash,
        kind=_KINDS_TO_PB[key.kind],
        environment=_ENVIRONMENTS_TO_PB[key.environment],
        scopes=sorted(key.scopes),
        expire_time=timestamp_of(key.expire_time),
        revoke_time=timestamp_of(key.revoke_time),
    )


def _instant(stamp: Timestamp) -> datetime | None:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None

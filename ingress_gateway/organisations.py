"""Who is it? Hosts and keys to organisations, from a snapshot that Warden pushes."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ingress_gateway.partners import Partners
from svc_runtime.errors import PermissionDeniedError, UnauthenticatedError, UnavailableError
from svc_runtime.keys import present_key, same_hash
from svc_runtime.logs import get_logger
from svc_runtime.sealing import PARTNER_SECRETS, Sealer
from trellis.auth.v1 import auth_service_pb2 as pb

_REMEMBERED_KEYS = 10_000
_REMEMBERED_HOSTS = 10_000
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a key stands for."""

    organization_id: str
    key_id: str
    is_secret: bool
    is_test: bool
    scopes: frozenset[str]


class Organisations:
    """The snapshot, and the two questions that it answers without a call. Used on the event loop only."""

    def __init__(self, pepper: str, *, mesh_secret: str = "") -> None:
        """Without the mesh's secret, which opens theirs, partners that sign are answered 503."""
        self._pepper = pepper.encode()
        self.partners = Partners(self._pepper, Sealer(mesh_secret, PARTNER_SECRETS))
        self.revision = 0
        self.is_ready = False
        """True once a snapshot, of Warden or of the disk, is there."""
        self._keys: dict[str, pb.KeyRecord] = {}
        self._hosts: dict[str, str] = {}
        self._statuses: dict[str, int] = {}
        self._principals: dict[str, tuple[Principal, pb.KeyRecord]] = {}
        self._host_headers: dict[str, str] = {}
        self._hosts_of: dict[str, list[str]] | None = None
        self._uses: dict[str, float] = {}

    # -- the snapshot ---------------------------------------------------------------------------------------------

    def apply(self, change: pb.WatchKeysResponse) -> bool:
        """Take a snapshot or a change in; return whether anything changed.

        A snapshot older than what is held is refused: a database restored from a backup must not bring revoked keys
        back. The operator who wants that removes the snapshot files.
        """
        if change.is_snapshot:
            if change.revision < self.revision:
                _log.error(
                    "a snapshot of keys older than the one held is refused", held=self.revision, got=change.revision
                )
                return False
            revoked = {key_id: key for key_id, key in self._keys.items() if key.HasField("revoke_time")}
            self._keys, self._hosts, self._statuses = {}, {}, {}
        else:
            revoked = self._keys
        for key in change.keys:
            held = revoked.get(key.key_id)
            if held is not None and held.HasField("revoke_time"):
                # For ever: a restored database that has gone on since must not bring it back either.
                key.revoke_time.CopyFrom(held.revoke_time)
            self._keys[key.key_id] = key
        for key_id in change.removed_key_ids:
            self._keys.pop(key_id, None)
        for domain in change.domains:
            self._hosts[domain.host] = domain.organization_id
        for host in change.removed_hosts:
            self._hosts.pop(host, None)
        self.partners.apply(change.partners, is_snapshot=change.is_snapshot)
        for organization in change.organizations:
            self._statuses[organization.organization_id] = organization.status
        self._principals.clear()
        self._host_headers.clear()
        self._hosts_of = None
        self.revision = change.revision
        self.is_ready = True
        return True

    def snapshot(self) -> pb.WatchKeysResponse:
        """Return everything held, as one snapshot, for the disk."""
        return pb.WatchKeysResponse(
            revision=self.revision,
            is_snapshot=True,
            keys=self._keys.values(),
            domains=[pb.DomainRecord(host=h, organization_id=o) for h, o in self._hosts.items()],
            organizations=[
                pb.OrganizationRecord(organization_id=o, status=pb.OrganizationStatus.ValueType(s))
                for o, s in self._statuses.items()
            ],
            partners=self.partners.records,
        )

    # -- the questions --------------------------------------------------------------------------------------------

    def of_host(self, host_header: str) -> str:
        """Return the organisation whose tracking domain this Host header names, or the empty text."""
        known = self._host_headers.get(host_header)
        if known is None:
            known = self._hosts.get(normal_host(host_header), "")
            if len(self._host_headers) >= _REMEMBERED_HOSTS:
                self._host_headers.clear()
            self._host_headers[host_header] = known
        return known

    def hosts_of(self, organization_id: str) -> list[str]:
        """Return an organisation's tracking hosts, sorted."""
        if self._hosts_of is None:
            self._hosts_of = {}
            for host, owner in sorted(self._hosts.items()):
                self._hosts_of.setdefault(owner, []).append(host)
        return self._hosts_of.get(organization_id, [])

    def is_own_host(self, host: str) -> bool:
        """True when any organisation tracks under this host."""
        return normal_host(host) in self._hosts

    def authenticate(self, key: str) -> Principal:
        """Return whom a key stands for; raise UnauthenticatedError with KEY_MALFORMED, _UNKNOWN, _REVOKED, _EXPIRED."""
        held = self._principals.get(key)
        if held is None:
            held = self._look_up(key)
        principal, record = held
        if record.HasField("expire_time") and record.expire_time.ToDatetime(UTC) <= datetime.now(UTC):
            raise UnauthenticatedError("the key is past its expiry", reason="KEY_EXPIRED")
        self._uses[principal.key_id] = time.time()
        return principal

    def _look_up(self, key: str) -> tuple[Principal, pb.KeyRecord]:
        presented = present_key(self._pepper, key)
        record = self._keys.get(presented.key_id)
        if record is None or not same_hash(record.hash, presented.hash):
            raise UnauthenticatedError("no such key", reason="KEY_UNKNOWN")
        if record.HasField("revoke_time"):
            raise UnauthenticatedError("the key was revoked", reason="KEY_REVOKED")
        principal = Principal(
            organization_id=record.organization_id,
            key_id=record.key_id,
            is_secret=record.kind == pb.KEY_KIND_SECRET,
            is_test=record.environment == pb.KEY_ENVIRONMENT_TEST,
            scopes=frozenset(record.scopes),
        )
        if len(self._principals) >= _REMEMBERED_KEYS:
            self._principals.clear()
        self._principals[key] = (principal, record)
        return principal, record

    def require_ready(self) -> None:
        """Raise UnavailableError before the first snapshot: nobody is wrong yet, and who tries again loses nothing."""
        if not self.is_ready:
            raise UnavailableError("no key is known yet: this gateway has not reached Warden so far")

    def require_active(self, organization_id: str) -> None:
        """Raise PermissionDeniedError when the organisation is suspended."""
        if self._statuses.get(organization_id) == pb.ORGANIZATION_STATUS_SUSPENDED:
            raise PermissionDeniedError("the organisation is suspended", reason="ORGANIZATION_SUSPENDED")

    def take_uses(self) -> dict[str, float]:
        """Return the keys used since the last call, with Unix times, and forget them."""
        uses, self._uses = self._uses, {}
        return uses


def normal_host(host_header: str) -> str:
    """Return a Host header's name in lower case, without port and trailing dot."""
    name = host_header.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].rstrip(".")

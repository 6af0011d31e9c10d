"""A ``WardenStore`` in memory, under the same contract as PostgreSQL's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime

from auth_svc.audit import Act, AuditEntry
from auth_svc.directory_update import DirectoryUpdate, KnownKey
from auth_svc.host import Domain
from auth_svc.key import Key
from auth_svc.organization import Organization
from auth_svc.partner import Partner
from auth_svc.role import Role, resolve
from auth_svc.store import (
    DecideKey,
    DecideOrganization,
    DecidePartner,
    KeyChange,
    KeyPosition,
    Notifications,
    PartnerPosition,
    errors,
)
from svc_runtime.clock import unix_ms
from svc_runtime.errors import UnavailableError


class MemoryNotifications:
    """Wakes when the store changes or goes away."""

    def __init__(self, store: "MemoryWardenStore") -> None:
        self._store = store
        self.event = asyncio.Event()

    async def wait(self, longest_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.event.wait(), longest_seconds)
        self.event.clear()
        self._store.check_reachable()


class MemoryWardenStore:
    """Everything in dictionaries; a coroutine that does not await is a transaction."""

    def __init__(self) -> None:
        self.organizations: dict[str, Organization] = {}
        self.keys: dict[str, Key] = {}
        self.domains: dict[str, Domain] = {}
        self.roles: dict[tuple[str, str], Role] = {}
        self.partners: dict[str, Partner] = {}
        self.audit: list[AuditEntry] = []
        self.revision = 0
        self.changed_at: dict[tuple[str, str], int] = {}
        self.removed_hosts: dict[str, int] = {}
        self.is_reachable = True
        self.is_silent = False
        """True loses every notification."""
        self.read_count = 0
        """How often the directory was read."""
        self._listening: set[MemoryNotifications] = set()

    def go_away(self) -> None:
        """Be unreachable from now on, as a database that is down."""
        self.is_reachable = False
        self._wake()

    def come_back(self) -> None:
        """Be reachable again."""
        self.is_reachable = True

    def check_reachable(self) -> None:
        if not self.is_reachable:
            raise UnavailableError("the store is not reachable now; try again")

    async def create_organization(self, organization: Organization, act: Act) -> None:
        self.check_reachable()
        if organization.organization_id in self.organizations:
            raise errors.organization_exists(organization.organization_id)
        self.organizations[organization.organization_id] = organization
        self._take_effect(act, ("organization", organization.organization_id))

    async def get_organization(self, organization_id: str) -> Organization:
        self.check_reachable()
        if organization_id not in self.organizations:
            raise errors.no_organization(organization_id)
        return self.organizations[organization_id]

    async def list_organizations(self, *, after: str, limit: int) -> list[Organization]:
        self.check_reachable()
        return [self.organizations[name] for name in sorted(self.organizations) if name > after][:limit]

    async def change_organization(self, organization_id: str, decide: DecideOrganization) -> Organization:
        organization = await self.get_organization(organization_id)
        change = decide(organization)
        if change is None:
            return organization
        self.organizations[organization_id] = change.organization
        self._take_effect(change.act, ("organization", organization_id))
        return change.organization

    async def create_key(self, key: Key, act: Act) -> None:
        await self._check_organization(key.organization_id)
        if key.key_id in self.keys:
            raise errors.key_exists(key.key_id)
        self.keys[key.key_id] = key
        self._take_effect(act, ("key", key.key_id))

    async def get_key(self, organization_id: str, key_id: str) -> Key:
        self.check_reachable()
        key = self.keys.get(key_id)
        if key is None or key.organization_id != organization_id:
            raise errors.no_key(key_id)
        return key

    async def list_keys(
        self, organization_id: str, *, live_at: datetime | None, after: KeyPosition | None, limit: int
    ) -> list[Key]:
        self.check_reachable()
        mine = [
            key
            for key in self.keys.values()
            if key.organization_id == organization_id
            and (live_at is None or key.is_live(live_at))
            and (after is None or (key.create_time, key.key_id) < after)
        ]
        return sorted(mine, key=lambda key: (key.create_time, key.key_id), reverse=True)[:limit]

    async def change_key(self, organization_id: str, key_id: str, decide: DecideKey) -> KeyChange | None:
        key = await self.get_key(organization_id, key_id)
        change = decide(key, [other for other in self.keys.values() if other.rotation_id == key.rotation_id])
        if change is None:
            return None
        if any(added.key_id in self.keys for added in change.added):
            raise errors.key_exists(change.added[0].key_id)
        touched = (*change.changed, *change.added)
        self.keys.update((each.key_id, each) for each in touched)
        self._take_effect(change.act, *(("key", each.key_id) for each in touched))
        return change

    async def mark_key_uses(self, uses: Mapping[str, datetime]) -> None:
        self.check_reachable()
        for key_id, used in uses.items():
            key = self.keys.get(key_id)
            if key is not None and (key.last_use_time is None or key.last_use_time < used):
                self.keys[key_id] = replace(key, last_use_time=used)

    async def add_domain(self, domain: Domain, act: Act) -> None:
        await self._check_organization(domain.organization_id)
        if domain.host in self.domains:
            raise errors.domain_exists(domain.host)
        self.domains[domain.host] = domain
        self.removed_hosts.pop(domain.host, None)
        self._take_effect(act, ("domain", domain.host))

    async def list_domains(self, organization_id: str, *, after: str, limit: int) -> list[Domain]:
        self.check_reachable()
        mine = (domain for domain in self.domains.values() if domain.organization_id == organization_id)
        return sorted((domain for domain in mine if domain.host > after), key=lambda domain: domain.host)[:limit]

    async def remove_domain(self, organization_id: str, host: str, act: Act) -> None:
        self.check_reachable()
        domain = self.domains.get(host)
        if domain is None or domain.organization_id != organization_id:
            raise errors.no_domain(host)
        del self.domains[host]
        self._take_effect(act)
        self.removed_hosts[host] = self.revision

    async def create_role(self, organization_id: str, role: Role, act: Act) -> None:
        await self._check_organization(organization_id)
        if (organization_id, role.name) in self.roles:
            raise errors.role_exists(role.name)
        self.roles[organization_id, role.name] = role
        self._take_effect(act)

    async def find_role(self, organization_id: str, name: str) -> Role | None:
        self.check_reachable()
        return self.roles.get((organization_id, name))

    async def list_roles(self, organization_id: str) -> list[Role]:
        self.check_reachable()
        return [role for (owner, _), role in sorted(self.roles.items()) if owner == organization_id]

    async def create_partner(self, partner: Partner, act: Act, *, most: int) -> None:
        await self._check_organization(partner.organization_id)
        mine = [each for each in self.partners.values() if each.organization_id == partner.organization_id]
        if sum(each.revoke_time is None for each in mine) >= most:
            raise errors.too_many_partners(most)
        taken = {each.token.token_id for each in self.partners.values()}
        if partner.partner_id in self.partners or partner.token.token_id in taken:
            raise errors.partner_exists(partner.partner_id)
        self.partners[partner.partner_id] = partner
        self._take_effect(act, ("partner", partner.partner_id))

    async def get_partner(self, organization_id: str, partner_id: str) -> Partner:
        self.check_reachable()
        partner = self.partners.get(partner_id)
        if partner is None or partner.organization_id != organization_id:
            raise errors.no_partner(partner_id)
        return partner

    async def list_partners(
        self, organization_id: str, *, includes_revoked: bool, after: PartnerPosition | None, limit: int
    ) -> list[Partner]:
        self.check_reachable()
        mine = [
            partner
            for partner in self.partners.values()
            if partner.organization_id == organization_id
            and (includes_revoked or partner.revoke_time is None)
            and (after is None or (partner.create_time, partner.partner_id) < after)
        ]
        return sorted(mine, key=lambda partner: (partner.create_time, partner.partner_id), reverse=True)[:limit]

    async def change_partner(self, organization_id: str, partner_id: str, decide: DecidePartner) -> Partner:
        partner = await self.get_partner(organization_id, partner_id)
        change = decide(partner)
        if change is None:
            return partner
        self.partners[partner_id] = change.partner
        self._take_effect(change.act, ("partner", partner_id))
        return change.partner

    async def list_audit_entries(self, organization_id: str, *, before: int | None, limit: int) -> list[AuditEntry]:
        self.check_reachable()
        return [
            entry
            for entry in reversed(self.audit)
            if entry.act.organization_id == organization_id and (before is None or entry.entry_id < before)
        ][:limit]

    async def read_directory(self) -> DirectoryUpdate:
        return await self._read(since=-1, is_snapshot=True)

    async def read_directory_changes(self, since: int) -> DirectoryUpdate:
        return await self._read(since=since, is_snapshot=False)

    @contextlib.asynccontextmanager
    async def notifications(self) -> AsyncIterator[Notifications]:
        self.check_reachable()
        notified = MemoryNotifications(self)
        self._listening.add(notified)
        try:
            yield notified
        finally:
            self._listening.discard(notified)

    async def _check_organization(self, organization_id: str) -> None:
        await self.get_organization(organization_id)

    def _take_effect(self, act: Act, *touched: tuple[str, str]) -> None:
        self.revision = max(self.revision + 1, unix_ms())
        self.changed_at.update((thing, self.revision) for thing in touched)
        self.audit.append(AuditEntry(len(self.audit) + 1, act))
        self._wake()

    def _wake(self) -> None:
        for notified in () if self.is_silent else self._listening:
            notified.event.set()

    async def _read(self, since: int, *, is_snapshot: bool) -> DirectoryUpdate:
        self.read_count += 1
        await asyncio.sleep(0.001)  # as long as a short way to a database
        self.check_reachable()
        return DirectoryUpdate(
            self.revision,
            is_snapshot=is_snapshot,
            keys=tuple(self._known(key) for key in self.keys.values() if self.changed_at["key", key.key_id] > since),
            domains=tuple(
                (domain.host, domain.organization_id)
                for domain in self.domains.values()
                if self.changed_at["domain", domain.host] > since
            ),
            removed_hosts=()
            if is_snapshot
            else tuple(host for host, revision in self.removed_hosts.items() if revision > since),
            organizations=tuple(
                (organization.organization_id, organization.status)
                for organization in self.organizations.values()
                if self.changed_at["organization", organization.organization_id] > since
            ),
            partners=tuple(
                partner for partner in self.partners.values() if self.changed_at["partner", partner.partner_id] > since
            ),
        )

    def _known(self, key: Key) -> KnownKey:
        own = self.roles.get((key.organization_id, key.role))
        return KnownKey(
            key_id=key.key_id,
            organization_id=key.organization_id,
            hash=key.hash,
            kind=key.kind,
            environment=key.environment,
            scopes=resolve(key.scopes, key.role, frozenset() if own is None else own.scopes),
            is_fixed=key.is_fixed,
            expire_time=key.expire_time,
            revoke_time=key.revoke_time,
        )

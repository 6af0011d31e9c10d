"""Warden's store on PostgreSQL."""

import contextlib
import importlib.resources
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from auth_svc.audit import Act, AuditEntry
from auth_svc.directory_update import DirectoryUpdate
from auth_svc.host import Domain
from auth_svc.key import Key
from auth_svc.organization import Organization, OrganizationStatus
from auth_svc.role import Role
from auth_svc.store import DecideKey, DecideOrganization, KeyChange, KeyPosition, Notifications, errors, rows, sql
from auth_svc.store.acting import CHANNEL, acting, refusing, take_effect
from auth_svc.store.partners import CHANGED_PARTNERS, PostgresPartnerStore, partner_from
from svc_runtime.postgres import Connection

MIGRATIONS = importlib.resources.files("auth_svc.store").joinpath("migrations")
LOCK_ID = int.from_bytes(b"warden")


class PostgresWardenStore(PostgresPartnerStore):
    """A ``WardenStore`` in one PostgreSQL database, which any number of replicas may share."""

    # Organisations

    async def create_organization(self, organization: Organization, act: Act) -> None:
        """Add an organisation. Raise AlreadyExistsError when its id is taken."""
        async with acting(self._database) as connection:
            revision = await take_effect(connection, act)
            with refusing(unique=errors.organization_exists(organization.organization_id)):
                await connection.execute(
                    sql.INSERT_ORGANIZATION,
                    organization.organization_id,
                    organization.name,
                    organization.status.value,
                    organization.create_time,
                    revision,
                )

    async def get_organization(self, organization_id: str) -> Organization:
        """Return an organisation or raise NotFoundError."""
        async with self._database.connection() as connection:
            return await _organization(connection, organization_id)

    async def list_organizations(self, *, after: str, limit: int) -> list[Organization]:
        """Return up to ``limit`` organisations whose ids follow ``after``."""
        async with self._database.connection() as connection:
            return [rows.organization_from(row) for row in await connection.fetch(sql.LIST_ORGANIZATIONS, after, limit)]

    async def change_organization(self, organization_id: str, decide: DecideOrganization) -> Organization:
        """Change an organisation as ``decide`` says; return it after that, or raise NotFoundError."""
        async with acting(self._database) as connection:
            organization = await _organization(connection, organization_id)
            change = decide(organization)
            if change is None:
                return organization
            revision = await take_effect(connection, change.act)
            await connection.execute(
                sql.UPDATE_ORGANIZATION,
                organization_id,
                change.organization.name,
                change.organization.status.value,
                revision,
            )
            return change.organization

    # Keys

    async def create_key(self, key: Key, act: Act) -> None:
        """Add a key. Raise NotFoundError for an unknown organisation, AlreadyExistsError when the key exists."""
        async with acting(self._database) as connection:
            revision = await take_effect(connection, act)
            await _insert_key(connection, key, revision)

    async def get_key(self, organization_id: str, key_id: str) -> Key:
        """Return a key or raise NotFoundError."""
        async with self._database.connection() as connection:
            return await _key(connection, organization_id, key_id)

    async def list_keys(
        self, organization_id: str, *, live_at: datetime | None, after: KeyPosition | None, limit: int
    ) -> list[Key]:
        """Return up to ``limit`` keys after a position, newest first."""
        create_time, key_id = after or (None, None)
        async with self._database.connection() as connection:
            found = await connection.fetch(sql.LIST_KEYS, organization_id, live_at, create_time, key_id, limit)
            return [rows.key_from(row) for row in found]

    async def change_key(self, organization_id: str, key_id: str, decide: DecideKey) -> KeyChange | None:
        """Change a key as ``decide`` says; return what it decided, or raise NotFoundError."""
        async with acting(self._database) as connection:
            key = await _key(connection, organization_id, key_id)
            chain = await connection.fetch(sql.LIST_ROTATION, organization_id, key.rotation_id)
            change = decide(key, [rows.key_from(row) for row in chain])
            if change is None:
                return None
            revision = await take_effect(connection, change.act)
            for changed in change.changed:
                await connection.execute(
                    sql.UPDATE_KEY, changed.key_id, changed.expire_time, changed.revoke_time, revision
                )
            for added in change.added:
                await _insert_key(connection, added, revision)
            return change

    async def mark_key_uses(self, uses: Mapping[str, datetime]) -> None:
        """Move the last use of keys forward, never back."""
        async with self._database.connection() as connection:
            await connection.execute(sql.MARK_KEY_USES, list(uses.keys()), list(uses.values()))

    # Tracking domains

    async def add_domain(self, domain: Domain, act: Act) -> None:
        """Add a host. Raise AlreadyExistsError when anybody has it, NotFoundError for an unknown organisation."""
        async with acting(self._database) as connection:
            revision = await take_effect(connection, act)
            with refusing(
                unique=errors.domain_exists(domain.host), foreign=errors.no_organization(domain.organization_id)
            ):
                await connection.execute(
                    sql.INSERT_DOMAIN, domain.host, domain.organization_id, domain.create_time, revision
                )
            await connection.execute(sql.FORGET_REMOVED_HOST, domain.host)

    async def list_domains(self, organization_id: str, *, after: str, limit: int) -> list[Domain]:
        """Return up to ``limit`` domains whose hosts follow ``after``."""
        async with self._database.connection() as connection:
            return [
                rows.domain_from(row) for row in await connection.fetch(sql.LIST_DOMAINS, organization_id, after, limit)
            ]

    async def remove_domain(self, organization_id: str, host: str, act: Act) -> None:
        """Take a host away or raise NotFoundError."""
        async with acting(self._database) as connection:
            if await connection.fetchval(sql.DELETE_DOMAIN, organization_id, host) is None:
                raise errors.no_domain(host)
            revision = await take_effect(connection, act)
            await connection.execute(sql.REMEMBER_REMOVED_HOST, host, revision)

    # Roles

    async def create_role(self, organization_id: str, role: Role, act: Act) -> None:
        """Add a role. Raise AlreadyExistsError when the name is taken, NotFoundError for an unknown organisation."""
        async with acting(self._database) as connection:
            await take_effect(connection, act)
            with refusing(unique=errors.role_exists(role.name), foreign=errors.no_organization(organization_id)):
                await connection.execute(sql.INSERT_ROLE, organization_id, role.name, sorted(role.scopes), act.time)

    async def find_role(self, organization_id: str, name: str) -> Role | None:
        """Return an organisation's own role."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(sql.FIND_ROLE, organization_id, name)
            return None if row is None else rows.role_from(row)

    async def list_roles(self, organization_id: str) -> list[Role]:
        """Return an organisation's own roles by name."""
        async with self._database.connection() as connection:
            return [rows.role_from(row) for row in await connection.fetch(sql.LIST_ROLES, organization_id)]

    # The audit log

    async def list_audit_entries(self, organization_id: str, *, before: int | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` entries older than the entry ``before``, newest first."""
        async with self._database.connection() as connection:
            found = await connection.fetch(sql.LIST_AUDIT_ENTRIES, organization_id, before, limit)
            return [rows.audit_entry_from(row) for row in found]

    # The directory

    async def read_directory(self) -> DirectoryUpdate:
        """Return everything, as of one revision, as a snapshot."""
        return await self._read_directory(since=None)

    async def read_directory_changes(self, since: int) -> DirectoryUpdate:
        """Return what changed after the revision ``since``, as of one revision."""
        return await self._read_directory(since=since)

    @contextlib.asynccontextmanager
    async def notifications(self) -> AsyncIterator[Notifications]:
        """Begin to be told of changes."""
        async with self._database.listen(CHANNEL) as listener:
            yield listener

    async def _read_directory(self, since: int | None) -> DirectoryUpdate:
        # One snapshot of the database for all the statements.
        async with self._database.transaction(isolation="repeatable_read", is_read_only=True) as connection:
            revision: int = await connection.fetchval(sql.REVISION)
            if since is not None and revision <= since:
                return DirectoryUpdate(revision)
            floor = -1 if since is None else since
            keys = await connection.fetch(sql.CHANGED_KEYS, floor)
            domains = await connection.fetch(sql.CHANGED_DOMAINS, floor)
            removed = [] if since is None else await connection.fetch(sql.REMOVED_HOSTS, floor)
            organizations = await connection.fetch(sql.CHANGED_ORGANIZATIONS, floor)
            partners = await connection.fetch(CHANGED_PARTNERS, floor)
        return DirectoryUpdate(
            revision,
            is_snapshot=since is None,
            keys=tuple(rows.known_key_from(row) for row in keys),
            domains=tuple((row["host"], row["organization_id"]) for row in domains),
            removed_hosts=tuple(row["host"] for row in removed),
            organizations=tuple((row["organization_id"], OrganizationStatus(row["status"])) for row in organizations),
            partners=tuple(map(partner_from, partners)),
        )


async def _organization(connection: Connection, organization_id: str) -> Organization:
    row = await connection.fetchrow(sql.GET_ORGANIZATION, organization_id)
    if row is None:
        raise errors.no_organization(organization_id)
    return rows.organization_from(row)


async def _key(connection: Connection, organization_id: str, key_id: str) -> Key:
    row = await connection.fetchrow(sql.GET_KEY, organization_id, key_id)
    if row is None:
        raise errors.no_key(key_id)
    return rows.key_from(row)


async def _insert_key(connection: Connection, key: Key, revision: int) -> None:
    with refusing(unique=errors.key_exists(key.key_id), foreign=errors.no_organization(key.organization_id)):
        await connection.execute(sql.INSERT_KEY, *rows.key_values(key), revision)

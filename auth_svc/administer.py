"""Administers organisations, tracking domains and custom roles."""

import secrets

from auth_svc.audit import AuditEntry, Detail
from auth_svc.host import Domain, normal_host
from auth_svc.organization import Organization, OrganizationStatus, id_violations, is_organization_id, name_violations
from auth_svc.principal import Principal
from auth_svc.role import BUILT_IN_ROLES, Role, role_violations
from auth_svc.store import OrganizationChange, WardenStore
from auth_svc.store.errors import no_domain, no_organization, role_exists
from svc_runtime.clock import Clock
from svc_runtime.errors import InvalidArgumentError, Violation


class Administration:
    """The acts of an operator, and of an organisation on its own things."""

    def __init__(self, store: WardenStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create_organization(self, principal: Principal, organization_id: str, name: str) -> Organization:
        """Create an organisation, with a minted id for an empty one. Raise InvalidArgumentError, AlreadyExistsError."""
        wanted = organization_id or f"org_{secrets.token_hex(8)}"
        violations = [*id_violations(wanted), *name_violations(name)]
        if violations:
            raise InvalidArgumentError.of(violations)
        organization = Organization(wanted, name, OrganizationStatus.ACTIVE, self._clock.now())
        act = principal.act(
            "organization.create", wanted, time=organization.create_time, organization_id=wanted, name=name
        )
        await self._store.create_organization(organization, act)
        return organization

    async def get_organization(self, organization_id: str) -> Organization:
        """Return an organisation or raise NotFoundError."""
        return await self._store.get_organization(_checked(organization_id))

    async def update_organization(
        self, principal: Principal, organization_id: str, name: str | None, status: OrganizationStatus | None
    ) -> Organization:
        """Change what is given; what is so already is no act. Raise NotFoundError, InvalidArgumentError."""
        if name is None and status is None:
            raise InvalidArgumentError.of([Violation("name", "set it, the status or both")])
        if name is not None and (violations := name_violations(name)):
            raise InvalidArgumentError.of(violations)
        now = self._clock.now()

        def decide(before: Organization) -> OrganizationChange | None:
            after = before.changed(name=name, status=status)
            if after == before:
                return None
            details: dict[str, Detail] = {
                what: [old, new]
                for what, old, new in (
                    ("name", before.name, after.name),
                    ("status", before.status.value, after.status.value),
                )
                if old != new
            }
            act = principal.act(
                "organization.update", organization_id, time=now, organization_id=organization_id, **details
            )
            return OrganizationChange(after, act)

        return await self._store.change_organization(_checked(organization_id), decide)

    async def add_domain(self, principal: Principal, host: str) -> Domain:
        """Give a host to the organisation. Raise InvalidArgumentError, AlreadyExistsError, NotFoundError."""
        domain = Domain(normal_host(host), principal.organization_id, self._clock.now())
        await self._store.add_domain(domain, principal.act("domain.add", domain.host, time=domain.create_time))
        return domain

    async def remove_domain(self, principal: Principal, host: str) -> str:
        """Take a host away and return it as it was stored. Raise NotFoundError."""
        try:
            known = normal_host(host)
        except InvalidArgumentError:
            raise no_domain(host) from None
        act = principal.act("domain.remove", known, time=self._clock.now())
        await self._store.remove_domain(principal.organization_id, known, act)
        return known

    async def create_role(self, principal: Principal, name: str, scopes: tuple[str, ...]) -> Role:
        """Create a role. Raise InvalidArgumentError, AlreadyExistsError, PermissionDeniedError, NotFoundError."""
        violations = role_violations(name, scopes)
        if violations:
            raise InvalidArgumentError.of(violations)
        if name in BUILT_IN_ROLES:
            raise role_exists(name)
        role = Role(name, frozenset(scopes))
        principal.check_may_grant(role.scopes)
        act = principal.act("role.create", name, time=self._clock.now(), scopes=sorted(role.scopes))
        await self._store.create_role(principal.organization_id, role, act)
        return role

    async def list_roles(self, principal: Principal) -> list[Role]:
        """Return the built-in roles, then the organisation's own by name."""
        return [*BUILT_IN_ROLES.values(), *await self._store.list_roles(principal.organization_id)]

    async def list_audit_entries(self, principal: Principal, *, before: int | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` acts on the principal's organisation older than ``before``, newest first."""
        return await self._store.list_audit_entries(principal.organization_id, before=before, limit=limit)


def _checked(organization_id: str) -> str:
    """Return an id that the store can look for; whatever has not its form exists nowhere."""
    if not is_organization_id(organization_id):
        raise no_organization(organization_id)
    return organization_id

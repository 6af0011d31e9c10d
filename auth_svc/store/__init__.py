"""What Warden needs of a store, and what it may rely on."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from auth_svc.audit import Act, AuditEntry
from auth_svc.directory_update import DirectoryUpdate
from auth_svc.host import Domain
from auth_svc.key import Key
from auth_svc.organization import Organization
from auth_svc.partner import Partner
from auth_svc.role import Role


@dataclass(frozen=True, slots=True)
class OrganizationChange:
    """An organisation after a change, and what the audit log says of it."""

    organization: Organization
    act: Act


@dataclass(frozen=True, slots=True)
class KeyChange:
    """Keys that were changed or added by one act, and what the audit log says of it."""

    changed: tuple[Key, ...]
    added: tuple[Key, ...]
    act: Act


@dataclass(frozen=True, slots=True)
class PartnerChange:
    """A partner after a change, and what the audit log says of it."""

    partner: Partner
    act: Act


DecideOrganization: TypeAlias = Callable[[Organization], OrganizationChange | None]
DecideKey: TypeAlias = Callable[[Key, Sequence[Key]], KeyChange | None]
"""Given a key and every key of its rotation (itself included), says what to change; None: nothing."""
KeyPosition: TypeAlias = tuple[datetime, str]
"""Creation time and id of the last key of a page."""
DecidePartner: TypeAlias = Callable[[Partner], PartnerChange | None]
PartnerPosition: TypeAlias = tuple[datetime, str]
"""Creation time and id of the last partner of a page."""


class Notifications(Protocol):
    """Tells that the directory may have changed."""

    async def wait(self, longest_seconds: float) -> None:
        """Return when something changed since the last call, and after ``longest_seconds`` at the latest.

        Raise UnavailableError when the store has gone and nothing would be told any more.
        """
        ...


class PartnerStore(Protocol):
    """Partners, and the log of every act on them; what ``WardenStore`` promises holds for them too."""

    async def create_partner(self, partner: Partner, act: Act, *, most: int) -> None:
        """Add a partner.

        Raise NotFoundError for an unknown organisation, FailedPreconditionError where it has ``most`` live ones,
        AlreadyExistsError when the partner or its token exists.
        """
        ...

    async def get_partner(self, organization_id: str, partner_id: str) -> Partner:
        """Return a partner or raise NotFoundError."""
        ...

    async def list_partners(
        self, organization_id: str, *, includes_revoked: bool, after: PartnerPosition | None, limit: int
    ) -> list[Partner]:
        """Return up to ``limit`` partners after a position, newest first."""
        ...

    async def change_partner(self, organization_id: str, partner_id: str, decide: DecidePartner) -> Partner:
        """Change a partner as ``decide`` says, alone with it; return it after that, or raise NotFoundError."""
        ...


class WardenStore(PartnerStore, Protocol):
    """Organisations, keys, tracking domains, roles, partners, and the log of every act on them.

    - *Atomicity.* A method that takes or decides an act writes the change, the next revision and the audit entry in one
      transaction: all of them or none.
    - *Order.* Acts take effect one after the other. Revisions and audit ids rise in that order, so who has seen a
      revision has seen every earlier one. A revision is at least the Unix time of its act in milliseconds.
    - *Isolation.* A method that takes an organisation's id sees nothing of any other's; what is another's raises the
      same NotFoundError, word for word, as what does not exist.
    - *Errors.* UnavailableError when the store cannot be reached or does not answer in time; the act may then have
      happened or not.
    """

    async def create_organization(self, organization: Organization, act: Act) -> None:
        """Add an organisation. Raise AlreadyExistsError when its id is taken."""
        ...

    async def get_organization(self, organization_id: str) -> Organization:
        """Return an organisation or raise NotFoundError."""
        ...

    async def list_organizations(self, *, after: str, limit: int) -> list[Organization]:
        """Return up to ``limit`` organisations whose ids follow ``after``, by id in the order of its bytes."""
        ...

    async def change_organization(self, organization_id: str, decide: DecideOrganization) -> Organization:
        """Change an organisation as ``decide`` says, alone with it; return it after that, or raise NotFoundError."""
        ...

    async def create_key(self, key: Key, act: Act) -> None:
        """Add a key. Raise NotFoundError for an unknown organisation, AlreadyExistsError when the key exists."""
        ...

    async def get_key(self, organization_id: str, key_id: str) -> Key:
        """Return a key or raise NotFoundError."""
        ...

    async def list_keys(
        self, organization_id: str, *, live_at: datetime | None, after: KeyPosition | None, limit: int
    ) -> list[Key]:
        """Return up to ``limit`` keys after a position, newest first; with ``live_at`` only those live then."""
        ...

    async def change_key(self, organization_id: str, key_id: str, decide: DecideKey) -> KeyChange | None:
        """Change a key as ``decide`` says, alone with its rotation; return what it decided, or raise NotFoundError."""
        ...

    async def mark_key_uses(self, uses: Mapping[str, datetime]) -> None:
        """Move the last use of keys (by id) forward, never back. Passes over unknown ids. Not an act. Idempotent."""
        ...

    async def add_domain(self, domain: Domain, act: Act) -> None:
        """Add a host. Raise AlreadyExistsError when anybody has it, NotFoundError for an unknown organisation."""
        ...

    async def list_domains(self, organization_id: str, *, after: str, limit: int) -> list[Domain]:
        """Return up to ``limit`` domains whose hosts follow ``after``, by host in the order of its bytes."""
        ...

    async def remove_domain(self, organization_id: str, host: str, act: Act) -> None:
        """Take a host away or raise NotFoundError."""
        ...

    async def create_role(self, organization_id: str, role: Role, act: Act) -> None:
        """Add a role. Raise AlreadyExistsError when the name is taken, NotFoundError for an unknown organisation.

        Roles never change and never go.
        """
        ...

    async def find_role(self, organization_id: str, name: str) -> Role | None:
        """Return an organisation's own role."""
        ...

    async def list_roles(self, organization_id: str) -> list[Role]:
        """Return an organisation's own roles by name."""
        ...

    async def list_audit_entries(self, organization_id: str, *, before: int | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` entries older than the entry ``before``, newest first."""
        ...

    async def read_directory(self) -> DirectoryUpdate:
        """Return everything, as of one revision, as a snapshot. A store without any act is at revision 0."""
        ...

    async def read_directory_changes(self, since: int) -> DirectoryUpdate:
        """Return what changed after the revision ``since``, as of one revision.

        A revision below ``since`` in the answer means that the store went back in time.
        """
        ...

    def notifications(self) -> AbstractAsyncContextManager[Notifications]:
        """Begin to be told of changes: all of those that commit from here on."""
        ...

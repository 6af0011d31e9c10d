"""The parameter mappings of an organisation: listing, previewing, applying, undoing."""

import asyncio
import secrets
import string
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from analytics_svc.mappings.mapping import (
    MOST_MAPPINGS,
    ActiveMapping,
    ActiveMappings,
    MappingVersion,
    Span,
    WantedMapping,
    checked,
    no_such_mapping,
    no_such_version,
    span_of,
    version_of,
)
from analytics_svc.mappings.preview import MappingPreview
from analytics_svc.store import ListedMapping, MappingPosition, MappingStore
from svc_runtime.clock import Clock
from svc_runtime.errors import FailedPreconditionError
from svc_runtime.logs import get_logger
from svc_runtime.paging import PageTokens, check_page_size

OperationT = TypeVar("OperationT")
OperationT_co = TypeVar("OperationT_co", covariant=True)
_BASE62 = string.digits + string.ascii_letters
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MappingChange:
    """Another version of a mapping is to hold, over history too."""

    organization_id: str
    mapping_id: str
    version: int
    """0: none."""
    actor: str
    span: Span
    """What either the version before or this one may match."""


class History(Protocol[OperationT_co]):
    """What is in the reading already, as a change of a mapping needs it."""

    async def check_free(self, organization_id: str) -> None:
        """Raise FailedPreconditionError, naming it, while another operation changes the reading."""
        ...

    async def change(self, change: MappingChange, activate: Callable[[], Awaitable[None]]) -> OperationT_co:
        """Write down that the change is to be made, ``activate`` it, and begin to make its events again.

        Return the operation. Raise FailedPreconditionError as ``check_free`` does, before anything is written.
        """
        ...


class Previewer(Protocol):
    """Says what another set of mappings would change."""

    async def preview(
        self, organization_id: str, before: Sequence[ActiveMapping], after: Sequence[ActiveMapping]
    ) -> MappingPreview:
        """Compare what holds with what would. Raise QueryLimitError, UnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class MappingPage:
    """A piece of a list."""

    mappings: tuple[MappingVersion, ...]
    next_page_token: str
    """Empty on the last page."""


def mint_mapping_id() -> str:
    """Return a new id: `map_` and 22 base62 characters, 131 random bits."""
    return "map_" + "".join(secrets.choice(_BASE62) for _ in range(22))


class MappingsInForce:
    """The versions that hold, for who reads events: in memory, and renewed at every change."""

    def __init__(self, store: MappingStore) -> None:
        self._store = store
        self._active: ActiveMappings = {}
        self._is_read = False

    def active_mappings(self) -> ActiveMappings:
        """Return every version that holds, by organisation, the oldest mapping first."""
        return self._active

    async def current(self) -> ActiveMappings:
        """Return them, read from the store where they never were. Raise UnavailableError."""
        if not self._is_read:
            await self.refresh()
        return self._active

    async def refresh(self) -> None:
        """Read them from the store. Raise UnavailableError."""
        self._active = await self._store.active()
        self._is_read = True

    async def activate(self, change: MappingChange, *, now: datetime) -> None:
        """Let a version hold from this moment on. To do it again changes nothing. Raise UnavailableError.

        Comes before the operation on history, and once more at the start of a process for an operation that is open:
        a process that is killed may have written the one and not the other.
        """
        await self._store.activate(
            change.organization_id, change.mapping_id, change.version, actor=change.actor, now=now
        )
        await self.refresh()


class MappingRegistry(Generic[OperationT]):
    """What a caller of one organisation may do with its mappings."""

    def __init__(
        self,
        store: MappingStore,
        in_force: MappingsInForce,
        previewer: Previewer,
        history: History[OperationT],
        page_tokens: PageTokens,
        *,
        clock: Clock,
        mint_id: Callable[[], str] = mint_mapping_id,
    ) -> None:
        self._store = store
        self._in_force = in_force
        self._previewer = previewer
        self._history = history
        self._page_tokens = page_tokens
        self._clock = clock
        self._mint_id = mint_id
        self._one_at_a_time = asyncio.Lock()

    async def list_page(self, *, organization_id: str, page_size: int, page_token: str) -> MappingPage:
        """Return a page, newest first; ``page_size`` 0 means 100.

        Raise InvalidArgumentError for a page size above 1,000 or a page token of another list, UnavailableError.
        """
        scope = ("mappings", organization_id)
        size = check_page_size(page_size)
        place = self._page_tokens.open(page_token, *scope)
        after = MappingPosition(datetime.fromisoformat(place[0]), place[1]) if place else None
        # One more than wanted says whether there is another page.
        found = await self._store.list_page(organization_id, after=after, limit=size + 1)
        mappings = tuple(listed.current for listed in found[:size])
        if len(found) <= size:
            return MappingPage(mappings, "")
        last = found[size - 1].position
        return MappingPage(mappings, self._page_tokens.seal([last.create_time.isoformat(), last.mapping_id], *scope))

    async def get(self, mapping_id: str, *, organization_id: str) -> list[MappingVersion]:
        """Return the versions of a mapping, newest first. Raise NotFoundError, UnavailableError."""
        versions = await self._store.versions(organization_id, mapping_id)
        if not versions:
            raise no_such_mapping(mapping_id)
        return versions

    async def preview(self, wanted: WantedMapping, *, organization_id: str) -> MappingPreview:
        """Say what ``wanted`` would change, and change nothing.

        Raise NotFoundError, InvalidArgumentError, FailedPreconditionError, QueryLimitError, UnavailableError.
        """
        _, version = await self._next_version(wanted, organization_id=organization_id, actor="")
        listed = await self._store.list_page(organization_id, after=None, limit=MOST_MAPPINGS)
        return await self._previewer.preview(
            organization_id,
            [found.current.as_active() for found in reversed(listed) if found.current.is_active],
            with_version(listed, version),
        )

    async def apply(
        self, wanted: WantedMapping, *, organization_id: str, actor: str
    ) -> tuple[MappingVersion, OperationT]:
        """Make a mapping, or another version of one, and let it hold; return it and the work on history.

        Raise NotFoundError, InvalidArgumentError, FailedPreconditionError, UnavailableError.
        """
        async with self._one_at_a_time:
            versions, version = await self._next_version(wanted, organization_id=organization_id, actor=actor)
            await self._history.check_free(organization_id)
            await self._store.add(version)
            operation = await self._change(versions, version, actor=actor)
        return replace(version, is_active=True), operation

    async def activate(self, mapping_id: str, version: int, *, organization_id: str, actor: str) -> OperationT:
        """Let a version of a mapping hold, 0 for none; return the work on history.

        Raise NotFoundError, FailedPreconditionError, UnavailableError.
        """
        async with self._one_at_a_time:
            versions = await self.get(mapping_id, organization_id=organization_id)
            chosen = next((found for found in versions if found.version == version), None)
            if chosen is None and version:
                raise no_such_version(mapping_id, version)
            return await self._change(versions, chosen, actor=actor)

    async def _change(
        self, versions: Sequence[MappingVersion], chosen: MappingVersion | None, *, actor: str
    ) -> OperationT:
        """Let ``chosen`` hold in the place of whichever of ``versions`` does."""
        holding = [found for found in versions if found.is_active]
        if chosen in holding or not (chosen or holding):
            # What holds already is to hold: an operation may have failed, so everything is made again.
            holding = list(versions)
        some = chosen or versions[0]
        change = MappingChange(
            organization_id=some.organization_id,
            mapping_id=some.mapping_id,
            version=chosen.version if chosen else 0,
            actor=actor,
            span=span_of([found.as_active() for found in [*holding, *([chosen] if chosen else [])]]),
        )
        now = self._clock.now()
        operation = await self._history.change(change, lambda: self._in_force.activate(change, now=now))
        _log.info("a mapping changes", mapping_id=change.mapping_id, version=change.version)
        return operation

    async def _next_version(
        self, wanted: WantedMapping, *, organization_id: str, actor: str
    ) -> tuple[list[MappingVersion], MappingVersion]:
        """Return the versions that there are, and what is wanted as the next one."""
        versions: list[MappingVersion] = []
        if wanted.mapping_id:
            versions = await self.get(wanted.mapping_id, organization_id=organization_id)
        normal = checked(wanted)
        if not versions and await self._store.count(organization_id) >= MOST_MAPPINGS:
            raise FailedPreconditionError(
                f"the organisation has {MOST_MAPPINGS} mappings, as many as it may; make another version of one"
            )
        now = self._clock.now()
        version = version_of(
            normal,
            organization_id=organization_id,
            mapping_id=wanted.mapping_id or self._mint_id(),
            version=versions[0].version + 1 if versions else 1,
            actor=actor,
            now=now.replace(microsecond=now.microsecond // 1000 * 1000),
        )
        return versions, version


def with_version(listed: Sequence[ListedMapping], version: MappingVersion) -> list[ActiveMapping]:
    """Return the mappings that hold once ``version`` does; ``listed`` are those of its organisation, newest first."""
    is_new = all(found.current.mapping_id != version.mapping_id for found in listed)
    chosen = [
        version if found.current.mapping_id == version.mapping_id else found.current for found in reversed(listed)
    ]
    return [
        found.as_active()
        for found in [*chosen, *([version] if is_new else [])]
        if found.is_active or found.mapping_id == version.mapping_id
    ]

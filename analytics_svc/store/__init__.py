"""What the store of the reading promises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from analytics_svc.claims.claim import ActiveClaims, Claim, MadeClaim
from analytics_svc.mappings.mapping import ActiveMappings, MappingVersion
from analytics_svc.operation import Kind, Operation
from analytics_svc.statement import Rows, Statement
from analytics_svc.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far the feed has been read."""

    cursor: bytes
    """Where to go on; empty: from the beginning. Opaque, at most 64 KiB."""
    watermark_time: datetime | None
    """Everything received before this instant is in the reading; None before the first page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the feed."""

    events: tuple[bytes, ...]
    """Encoded ``EventBatch`` messages; their concatenation is one too."""
    event_count: int
    """Number of events in all of them."""
    bookmark: Bookmark
    """Where the reading stands once it has this page."""

    @property
    def byte_count(self) -> int:
        """Size of the events."""
        return sum(map(len, self.events))


class ReadingStore(Protocol):
    """The reading. One process at a time writes to it.

    Every method raises UnavailableError while the store does not do its work, and works again by itself once it can.
    """

    async def bookmark(self) -> Bookmark:
        """Return the bookmark of the last page that was written as a whole."""
        ...

    async def write(self, page: Page) -> int:
        """Add the page's events that are not there yet, then its bookmark; return how many were added.

        A process that is killed in the middle leaves some events without the bookmark. Whoever goes on from the
        bookmark that is there gets them again, cut into pages in any way, and each is in the reading once: what was
        added is told by its event id.
        """
        ...


class ReadingReader(Protocol):
    """Questions to the reading. Any number at a time; each sees whole pages only."""

    async def rows(self, statement: Statement) -> Rows:
        """Return the answer, in memory: at most 100,000 rows.

        It waits for its turn among the queries of the organisation that the parameter ``organization`` names. Raise
        QueryLimitError, with how to narrow the question, where it would use more than it may; RateLimitedError where
        the organisation has too many waiting; UnavailableError. A cancelled call ends the query.
        """
        ...


@dataclass(frozen=True, slots=True)
class MappingPosition:
    """A place in the list of an organisation's mappings: just after this one."""

    create_time: datetime
    """Of the mapping's first version."""
    mapping_id: str


@dataclass(frozen=True, slots=True)
class ListedMapping:
    """A mapping as a list shows it."""

    current: MappingVersion
    """The version that holds; where none does, the newest."""
    position: MappingPosition


class MappingStore(Protocol):
    """Parameter mappings of all organisations. One process at a time writes to it.

    Every method raises UnavailableError while the store does not do its work, and works again by itself once it can.
    What was written is never changed.
    """

    async def add(self, version: MappingVersion) -> None:
        """Add a version, which does not hold yet."""
        ...

    async def activate(self, organization_id: str, mapping_id: str, version: int, *, actor: str, now: datetime) -> None:
        """Let a version of a mapping be the one that holds; 0: none. Nothing happens where it holds already."""
        ...

    async def versions(self, organization_id: str, mapping_id: str) -> list[MappingVersion]:
        """Return every version of a mapping, the newest first; none for another organisation's."""
        ...

    async def list_page(
        self, organization_id: str, *, after: MappingPosition | None, limit: int
    ) -> list[ListedMapping]:
        """Return up to ``limit`` mappings, the newest first, ids falling where the times are equal."""
        ...

    async def count(self, organization_id: str) -> int:
        """Return how many mappings an organisation has."""
        ...

    async def active(self) -> ActiveMappings:
        """Return every version that holds, each organisation's in the order in which its mappings were made."""
        ...


class ClaimStore(Protocol):
    """Claims of all organisations. One process at a time writes to it.

    Every method raises UnavailableError while the store does not do its work, and works again by itself once it can.
    """

    async def add(self, made: MadeClaim, definition: bytes) -> None:
        """Keep a claim and its definition, in the place of what was kept of the same version; it does not hold yet."""
        ...

    async def get(self, organization_id: str, campaign_id: str, version: int) -> MadeClaim | None:
        """Return a version as it was added last; None where there is none."""
        ...

    async def activate(
        self, organization_id: str, campaign_id: str, made: MadeClaim | None, *, actor: str, now: datetime
    ) -> None:
        """Let a version be the one that holds; None: none. Nothing happens where it holds already."""
        ...

    async def active_version(self, organization_id: str, campaign_id: str) -> int:
        """Return the version that holds; 0: none."""
        ...

    async def was_activated(self, organization_id: str, campaign_id: str, version: int | None) -> bool:
        """Tell whether a version, or (None) any, held at any time."""
        ...

    async def active(self) -> ActiveClaims:
        """Return every version that holds, each organisation's in the order in which they were made."""
        ...


class ClaimHistory(Protocol):
    """What is in the reading already, as claims need it. Every method raises UnavailableError while it does not work.

    Events of an organisation alone. What ``assign`` and ``forget`` write is seen by nobody until the version holds.
    """

    async def mark(self) -> int:
        """Return a mark: what comes into the reading later is after it."""
        ...

    async def assign(
        self,
        organization_id: str,
        claim: Claim,
        holding: Sequence[MadeClaim],
        *,
        month: date | None = None,
        after_mark: int = 0,
    ) -> int:
        """Keep which events of the reading a version may have; return how many there are by now.

        ``holding`` are the organisation's claims that hold.
        Of a month alone, or of what is after a mark, where they are given. Can be done again.
        """
        ...

    async def forget(self, organization_id: str, campaign_id: str, version: int) -> None:
        """Keep nothing of a version any more."""
        ...

    async def spans(self, organization_id: str, campaign_id: str, versions: Sequence[int]) -> Sequence[tuple[int, int]]:
        """Return the spans of time in which these versions may have events, each with not too many for ``move``."""
        ...

    async def move(self, organization_id: str, campaign_id: str, versions: Sequence[int], span: tuple[int, int]) -> int:
        """Give the events of a span that these versions may have to whoever has them now; return how many change.

        And the conversions that follow them, with all that counts them. Can be done again after a crash. Nobody else
        writes meanwhile; readers see every event once at any moment.
        """
        ...


class VerdictStore(Protocol):
    """What events count for. Raises UnavailableError while the store does not do its work."""

    async def put(self, verdicts: Sequence[Verdict]) -> int:
        """Keep verdicts and let the reading follow; return how many say something new.

        Of each event the one of the highest revision holds. Can be done again. Nobody else writes meanwhile.
        """
        ...


@dataclass(frozen=True, slots=True)
class OperationPosition:
    """A place in a list of operations: just after this one."""

    create_time: datetime
    operation_id: str


class OperationStore(Protocol):
    """Operations of all organisations and of the operator. One process at a time writes to it.

    Every method raises UnavailableError while the store does not do its work, and works again by itself once it can.
    """

    async def put(self, operation: Operation) -> None:
        """Keep an operation, in the place of what was kept of the same id; durable once this returns."""
        ...

    async def get(self, operation_id: str) -> Operation | None:
        """Return an operation as it was put last; None where there is none."""
        ...

    async def open(self) -> list[Operation]:
        """Return the operations that are not over, the oldest first."""
        ...

    async def last_of_claim(self, organization_id: str, campaign_id: str, version: int) -> Operation | None:
        """Return the last operation by which a version of a campaign's claim was to hold; None where there is none."""
        ...

    async def list_page(
        self, organization_id: str | None, kind: Kind | None, *, after: OperationPosition | None, limit: int
    ) -> list[Operation]:
        """Return up to ``limit`` operations, the newest first, ids falling where the times are equal.

        Of this organisation alone, and of this kind, where they are given.
        """
        ...


class ReadingFacts(Protocol):
    """What there is to say about the reading as a whole."""

    async def counts_by_enrichment_version(self) -> Mapping[int, int]:
        """Count the events by the enrichment that made them. Raise UnavailableError."""
        ...


class RetentionStore(Protocol):
    """For how many days events are kept. Every method raises UnavailableError while the store does not work."""

    async def put_retention(self, organization_id: str, days: int) -> None:
        """Keep a number of days for an organisation (empty: for everybody else), 0: nothing of its own."""
        ...

    async def retention_days(self) -> Mapping[str, int]:
        """Return the days by organisation, those of 0 left out."""
        ...


class ExpiryStore(Protocol):
    """What leaves the reading by age. Every method raises UnavailableError while the store does not work."""

    async def expire(self, cuts: Mapping[str, datetime]) -> int:
        """Drop the events, and what counts them, of UTC days before each organisation's cut; return how many events.

        ``''`` is the cut of everybody without one. Nobody else writes meanwhile. Can be done again after a crash.
        """
        ...

    async def tier(self, volume: str, after_days: int) -> None:
        """Let events older than that go to another volume of the store; '': leave them where they are."""
        ...


@dataclass(frozen=True, slots=True)
class DecisionTarget:
    """What a decision is about: an edge, or an end, which stands for all of its edges."""

    side: str
    other: str = ""
    """Empty: an end."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody said about edges."""

    target: DecisionTarget
    revision: int
    """Rises with each decision on the target, from 1; 0: nobody decided anything."""
    is_revoked: bool
    actor: str = ""
    decide_time: datetime | None = None
    """None: nobody decided anything."""


class DecisionStore(Protocol):
    """Decisions about edges of all organisations. One process at a time writes to it; what was written never changes.

    Every method raises UnavailableError while the store does not do its work, and works again by itself once it can.
    """

    async def decide(
        self, organization_id: str, target: DecisionTarget, *, is_revoked: bool, actor: str, now: datetime
    ) -> Decision:
        """Revoke or restore, and return what holds; what is so already stays as it was decided. Durable."""
        ...

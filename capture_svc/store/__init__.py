"""What capture_svc needs of its store, by role. The promises here hold for every implementation.

Every method raises UnavailableError while the store cannot do its work: nothing is lost by trying again. What has
returned is durable. Tokens: a second write under a token adds nothing, whatever became of the first one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from capture_svc.batch import QuarantinedEvent, Settlement
from capture_svc.scan import Scan, ScanKey, ScanPage


class ContentRefusedError(Exception):
    """The store refuses rows for what is in them, and will again. None of them was stored."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """Name of the store's error code; holds nothing of the rows."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish to store the event of an idempotency key."""

    event_id: str
    journal_id: str
    sequence: int
    is_direct: bool
    """The claimant keeps no journal: nobody repeats its batch after a crash."""
    claim_time: datetime


@dataclass(frozen=True, slots=True)
class Orphans:
    """One organisation's events of a journal that no receipt covers."""

    organization_id: str
    event_count: int
    first_sequence: int
    last_sequence: int
    first_event_time: datetime
    last_event_time: datetime


@dataclass(frozen=True, slots=True)
class EventRange:
    """Events of one journal: ``after < sequence <= upto``."""

    journal_id: str
    after: int
    upto: int
    times: tuple[datetime, datetime] | None = None
    """Event times near which to look: within half a minute. None: look everywhere, which is slower."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of an organisation. Conditions are combined with AND; an empty one does not filter."""

    start_time: datetime | None = None
    end_time: datetime | None = None
    """Not included."""
    event_type: bytes = b""
    click_id: bytes = b""
    """Ours or the source's."""
    campaign_id: str = ""
    user_id: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class EventKey:
    """Place of an event in a list of events: newest first, then by id."""

    event_time_ms: int
    event_id: str


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of a list of events."""

    events: bytes
    """An encoded EventBatch, newest first."""
    next_key: EventKey | None
    """Place of the last event when more follow; None on the last page."""


class EventStore(Protocol):
    """Keeps the events of organisations for ever."""

    async def insert(self, events: bytes, *, token: str) -> None:
        """Store the events of an encoded EventBatch: all or none of those of one month, under ``token``.

        Errors: ContentRefusedError (an event breaks a rule of the store).
        """
        ...

    async def stored_sequences(self, span: EventRange) -> set[int]:
        """Return which sequences of ``span`` are stored, with or without a receipt."""
        ...

    async def claim(self, claims: Sequence[Claim], *, token: str) -> None:
        """Record claims. They stand in the order of the calls, for all replicas together."""
        ...

    async def claims_of(self, event_ids: Sequence[str]) -> Mapping[str, Sequence[Claim]]:
        """Return the claims of each event id, the first one first. Ids without a claim are left out."""
        ...

    async def existing(self, organization_id: str, event_ids: Sequence[str]) -> set[tuple[str, str, int]]:
        """Return (event id, journal id, sequence) of the organisation's stored events of these ids. For few ids."""
        ...

    async def orphans(self, journal_id: str, after: int, *, since: datetime) -> Sequence[Orphans]:
        """Return what is stored of a journal above sequence ``after``, by organisation; of events since ``since``."""
        ...

    async def get(self, organization_id: str, event_id: str) -> tuple[bytes, datetime] | None:
        """Return the EventBatch of one event, and when it was stored; None when the organisation has no such event."""
        ...

    async def page(
        self, organization_id: str, wanted: EventFilter, *, before: EventKey | None, limit: int, max_bytes: int
    ) -> EventPage:
        """Return the organisation's events after ``before`` in the list, at most ``limit`` and about ``max_bytes``.

        A page that is not the last holds at least one event. Errors: DeadlineExceededError.
        """
        ...

    async def read(self, ranges: Sequence[EventRange], *, limit: int) -> bytes:
        """Return the EventBatch of the first ``limit`` events of the ranges, range by range, in rising sequence."""
        ...

    async def scan(self, wanted: Scan, *, after: ScanKey | None, limit: int, max_bytes: int) -> ScanPage:
        """Return the events of ``wanted`` after ``after``, by organisation, time and id; ids in an order of our own.

        At most ``limit`` and about ``max_bytes``, at least one of those there are. What is stored meanwhile may be
        missing. Errors: DeadlineExceededError.
        """
        ...

    async def counts_by_month(self, organization_id: str | None) -> Mapping[datetime, int]:
        """Count the stored events by month (its first instant, UTC), in rising order; None: of every organisation.

        Errors: DeadlineExceededError.
        """
        ...

    async def stored_counts(self, heads: Mapping[str, int], organization_id: str | None) -> Mapping[str, int]:
        """Count the stored events by organisation; of each journal in ``heads`` those up to the sequence given there.

        ``organization_id`` None means every organisation.
        """
        ...


@dataclass(frozen=True, slots=True)
class JournalHead:
    """How far a journal is settled."""

    sequence: int
    """Of the last settled batch."""
    last_sequence: int
    """Of its last event."""
    settle_time: datetime


@dataclass(frozen=True, slots=True)
class SettledBatch:
    """A settled batch, as the feed needs it."""

    journal_id: str
    sequence: int
    last_sequence: int
    stored_count: int
    byte_count: int
    first_event_time: datetime
    last_event_time: datetime
    settle_time: datetime


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of the receipts of one organisation and journal."""

    organization_id: str
    journal_id: str
    received: int
    stored: int
    duplicates: int
    quarantined: int
    last_sequence: int
    """Highest sequence that the sums cover."""

    def __add__(self, other: "Totals") -> "Totals":
        """Return the sums over both; of the same organisation and journal."""
        return Totals(
            self.organization_id,
            self.journal_id,
            self.received + other.received,
            self.stored + other.stored,
            self.duplicates + other.duplicates,
            self.quarantined + other.quarantined,
            max(self.last_sequence, other.last_sequence),
        )


class ReceiptStore(Protocol):
    """Keeps the receipts of settled batches for ever."""

    async def insert(self, settlements: Sequence[Settlement]) -> None:
        """Store the receipts of settlements, all or none, once.

        On a store that others share, one settlement a time: else a batch may get a second receipt in another group.
        """
        ...

    async def head(self, journal_id: str) -> JournalHead | None:
        """Return how far a journal is settled; None when it is not known."""
        ...

    async def heads(self, since: datetime | None = None) -> Mapping[str, JournalHead]:
        """Return how far every journal is settled; with ``since`` only those with a batch settled at or after it."""
        ...

    async def positions_at(self, journal_ids: Sequence[str], instant: datetime) -> Mapping[str, int]:
        """Return the last event sequence of each journal that was settled at or before ``instant``; 0 where none."""
        ...

    async def batches_after(self, positions: Mapping[str, int], *, limit: int) -> Sequence[SettledBatch]:
        """Return, by journal and sequence, the settled batches with events above a journal's position.

        At most ``limit`` of each journal, the next ones.
        """
        ...

    async def totals(self, organization_id: str | None) -> Sequence[Totals]:
        """Sum the receipts by organisation and journal, as of one instant. None means every organisation."""
        ...

    async def received_between(
        self, spans: Mapping[str, tuple[int, int]], organization_id: str | None
    ) -> Mapping[tuple[str, str], int]:
        """Sum ``received`` by (journal, organisation) over batches with ``after < sequence`` and events up to ``upto``.

        ``spans`` gives (after, upto) by journal.
        """
        ...


@dataclass(frozen=True, slots=True)
class QuarantineKey:
    """Place of an item in the quarantine's list: newest first, then by id."""

    quarantine_time_ms: int
    quarantine_id: str


@dataclass(frozen=True, slots=True)
class QuarantineItem:
    """An item of the quarantine and when a replay stored it."""

    event: QuarantinedEvent
    replay_time: datetime | None


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    """A page of the quarantine."""

    items: Sequence[QuarantineItem]
    next_key: QuarantineKey | None
    """Place of the last item when more follow; None on the last page."""


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """A step in the replay of one item."""

    quarantine_id: str
    journal_id: str
    sequence: int
    organization_id: str
    """Whose event it is now."""
    step: str
    """``intent``, then ``stored``, ``duplicate`` or ``refused``."""
    replay_time: datetime


class QuarantineStore(Protocol):
    """Keeps what the event store refused, and what nobody claims (for 30 days)."""

    async def insert(self, events: Sequence[QuarantinedEvent], *, token: str) -> None:
        """Keep events aside, all or none."""
        ...

    async def unclaimed_since(self, instant: datetime) -> tuple[int, int]:
        """Return how many unclaimed events were kept at or after ``instant``, and their bytes."""
        ...

    async def page(
        self,
        *,
        organization_id: str,
        is_waiting: bool,
        ids: Sequence[str],
        before: QuarantineKey | None,
        limit: int,
        max_bytes: int,
    ) -> QuarantinePage:
        """Return items, newest first, at most ``limit`` and about ``max_bytes``, at least one.

        ``organization_id`` empty means every one; ``is_waiting`` leaves out what a replay stored; ``ids`` that are not
        empty leave out all others.
        """
        ...

    async def record_steps(self, steps: Sequence[ReplayStep], *, token: str) -> None:
        """Record steps of a replay, all or none."""
        ...

    async def steps_after(self, journal_id: str, sequence: int) -> Sequence[ReplayStep]:
        """Return the steps of a replay's journal above ``sequence``, by sequence."""
        ...


@dataclass(frozen=True, slots=True)
class JournalWord:
    """What a journal said last about what it holds."""

    journal_id: str
    sender: str
    settled_sequence: int
    """The highest acknowledgement that the journal had when it counted."""
    pending: Mapping[str, int]
    """Events by organisation in the batches above ``settled_sequence``."""
    report_time: datetime


class JournalWordStore(Protocol):
    """Keeps the last word of every journal."""

    async def save(self, words: Sequence[JournalWord]) -> None:
        """Keep words; of one journal the latest counts."""
        ...

    async def read(self) -> Sequence[JournalWord]:
        """Return the last word of every journal."""
        ...


class StoreProbe(Protocol):
    """Tells whether the store works."""

    async def ping(self) -> None:
        """Return when the store answers."""
        ...

    async def write(self) -> None:
        """Return when the store has taken a row."""
        ...

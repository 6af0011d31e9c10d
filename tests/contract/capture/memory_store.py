"""The stores of capture_svc in memory, which keep the promises of the protocols and can be made to break."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.message import DecodeError

from capture_svc.assembly import Stores
from capture_svc.batch import UNCLAIMED, QuarantinedEvent, Receipt, Settlement
from capture_svc.scan import Scan, ScanKey, ScanPage
from capture_svc.store import (
    Claim,
    ContentRefusedError,
    EventFilter,
    EventKey,
    EventPage,
    EventRange,
    JournalHead,
    JournalWord,
    Orphans,
    QuarantineItem,
    QuarantineKey,
    QuarantinePage,
    ReplayStep,
    SettledBatch,
    Totals,
)
from svc_runtime.errors import UnavailableError
from tests.contract.capture.things import join
from trellis.capture.v1 import event_pb2

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CrashedError(Exception):
    """The process has ended here."""


class Faults:
    """Makes calls fail: before they do anything, or after they did it and nobody knows; or ends the process there."""

    def __init__(self) -> None:
        self.decide: Callable[[str], str] = lambda _name: ""
        """Says of a call, by its name: ``before``, ``after``, ``crash before``, ``crash after`` or nothing."""
        self.called: Counter[str] = Counter()

    def before(self, name: str) -> str:
        """Note a call; return what is to happen after its work. Raise UnavailableError where it fails before."""
        self.called[name] += 1
        verdict = self.decide(name)
        if verdict == "before":
            raise UnavailableError(f"{name} is made to fail")
        if verdict == "crash before":
            raise CrashedError
        return verdict

    def after(self, verdict: str) -> None:
        """Fail where it was decided."""
        if verdict == "after":
            raise UnavailableError("made to fail afterwards")
        if verdict == "crash after":
            raise CrashedError


@dataclass(slots=True)
class Row:
    """A stored event."""

    event: event_pb2.Event
    ingest_time: datetime

    @property
    def key(self) -> tuple[int, int]:
        """Place in a list."""
        return self.event.event_time_ms, UUID(self.event.event_id).int

    @property
    def event_time(self) -> datetime:
        """Its time."""
        return EPOCH + timedelta(milliseconds=self.event.event_time_ms)


@dataclass(slots=True)
class MemoryEventStore:
    """``EventStore`` in memory."""

    faults: Faults = field(default_factory=Faults)
    rows: list[Row] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    claims: list[Claim] = field(default_factory=list)
    refused: set[bytes] = field(default_factory=set)
    """Bodies that it refuses, until it has learned better."""

    async def insert(self, events: bytes, *, token: str) -> None:
        """See EventStore."""
        fails = self.faults.before("events.insert")
        try:
            batch = event_pb2.EventBatch.FromString(events)
        except DecodeError:
            raise ContentRefusedError("UNKNOWN_PROTOBUF_FORMAT") from None
        for event in batch.events:
            try:
                UUID(event.event_id)
            except ValueError:
                raise ContentRefusedError("CANNOT_PARSE_UUID") from None
            if not event.organization_id or not event.sequence or event.body in self.refused:
                raise ContentRefusedError("VIOLATED_CONSTRAINT")
        if token not in self.tokens:
            self.tokens.add(token)
            self.rows += [Row(event, datetime.now(UTC)) for event in batch.events]
        self.faults.after(fails)

    async def stored_sequences(self, span: EventRange) -> set[int]:
        """See EventStore."""
        return {row.event.sequence for row in self._in(span)}

    def _in(self, span: EventRange) -> list[Row]:
        return [
            row
            for row in self.rows
            if row.event.journal_id == span.journal_id and span.after < row.event.sequence <= span.upto
        ]

    async def claim(self, claims: Sequence[Claim], *, token: str) -> None:
        """See EventStore."""
        fails = self.faults.before("events.claim")
        if f"claim {token}" not in self.tokens:
            self.tokens.add(f"claim {token}")
            self.claims += claims
        self.faults.after(fails)

    async def claims_of(self, event_ids: Sequence[str]) -> Mapping[str, Sequence[Claim]]:
        """See EventStore."""
        found: dict[str, list[Claim]] = {}
        for claim in self.claims:
            if claim.event_id in event_ids:
                found.setdefault(claim.event_id, []).append(claim)
        return found

    async def existing(self, organization_id: str, event_ids: Sequence[str]) -> set[tuple[str, str, int]]:
        """See EventStore."""
        return {
            (row.event.event_id, row.event.journal_id, row.event.sequence)
            for row in self._of(organization_id)
            if row.event.event_id in event_ids
        }

    def _of(self, organization_id: str) -> list[Row]:
        return [row for row in self.rows if row.event.organization_id == organization_id]

    async def orphans(self, journal_id: str, after: int, *, since: datetime) -> Sequence[Orphans]:
        """See EventStore."""
        found: dict[str, list[Row]] = {}
        for row in self._in(EventRange(journal_id, after, 2**63)):
            if row.event_time >= since:
                found.setdefault(row.event.organization_id, []).append(row)
        return [
            Orphans(
                name,
                len(rows),
                min(row.event.sequence for row in rows),
                max(row.event.sequence for row in rows),
                min(row.event_time for row in rows),
                max(row.event_time for row in rows),
            )
            for name, rows in sorted(found.items())
        ]

    async def get(self, organization_id: str, event_id: str) -> tuple[bytes, datetime] | None:
        """See EventStore."""
        for row in self._of(organization_id):
            if row.event.event_id == event_id:
                return join([row.event.SerializeToString()]), row.ingest_time
        return None

    async def page(
        self, organization_id: str, wanted: EventFilter, *, before: EventKey | None, limit: int, max_bytes: int
    ) -> EventPage:
        """See EventStore."""
        rows = sorted((row for row in self._of(organization_id) if _fits(row, wanted)), key=lambda row: row.key)
        rows.reverse()
        if before is not None:
            place = before.event_time_ms, UUID(before.event_id).int
            rows = [row for row in rows if row.key < place]
        taken: list[Row] = []
        size = 0
        for row in rows[:limit]:
            size += row.event.ByteSize()
            if taken and size > max_bytes:
                break
            taken.append(row)
        last = taken[-1].event if taken else None
        more = last is not None and len(rows) > len(taken)
        return EventPage(
            join([row.event.SerializeToString() for row in taken]),
            EventKey(last.event_time_ms, last.event_id) if last is not None and more else None,
        )

    async def read(self, ranges: Sequence[EventRange], *, limit: int) -> bytes:
        """See EventStore."""
        self.faults.before("events.read")
        found = [row for span in ranges for row in sorted(self._in(span), key=lambda row: row.event.sequence)]
        return join([row.event.SerializeToString() for row in found[:limit]])

    async def scan(self, wanted: Scan, *, after: ScanKey | None, limit: int, max_bytes: int) -> ScanPage:
        """See EventStore."""
        self.faults.before("events.scan")
        rows = sorted(
            (
                row
                for row in self.rows
                if wanted.organization_id in ("", row.event.organization_id)
                and (wanted.start_time is None or row.event_time >= wanted.start_time)
                and (wanted.end_time is None or row.event_time < wanted.end_time)
                and (after is None or _scan_place(_scan_key(row)) > _scan_place(after))
            ),
            key=lambda row: _scan_place(_scan_key(row)),
        )
        taken: list[Row] = []
        size = 0
        for row in rows[:limit]:
            size += row.event.ByteSize()
            if taken and size > max_bytes:
                break
            taken.append(row)
        last = _scan_key(taken[-1]) if taken else None
        events = join([row.event.SerializeToString() for row in taken])
        return ScanPage(events, len(taken), last, is_last=len(taken) == len(rows))

    async def counts_by_month(self, organization_id: str | None) -> Mapping[datetime, int]:
        """See EventStore."""
        self.faults.before("events.counts_by_month")
        counts = Counter(
            row.event_time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            for row in self.rows
            if organization_id in (None, row.event.organization_id)
        )
        return dict(sorted(counts.items()))

    async def stored_counts(self, heads: Mapping[str, int], organization_id: str | None) -> Mapping[str, int]:
        """See EventStore."""
        return Counter(
            row.event.organization_id
            for row in self.rows
            if row.event.sequence <= heads.get(row.event.journal_id, 0)
            and organization_id in (None, row.event.organization_id)
        )


def _scan_key(row: Row) -> ScanKey:
    return ScanKey(row.event.organization_id, row.event.event_time_ms, row.event.event_id)


def _scan_place(key: ScanKey) -> tuple[bytes, int, int]:
    return key.organization_id.encode(), key.event_time_ms, UUID(key.event_id).int


def _fits(row: Row, wanted: EventFilter) -> bool:
    event = row.event
    return (
        (wanted.start_time is None or row.event_time >= wanted.start_time)
        and (wanted.end_time is None or row.event_time < wanted.end_time)
        and wanted.event_type in (b"", event.event_type)
        and wanted.click_id in (b"", event.click_id.encode(), event.external_click_id)
        and wanted.campaign_id in ("", event.campaign_id)
        and wanted.user_id in ("", event.user_id)
        and (not wanted.mark or wanted.mark in event.marks)
    )


@dataclass(slots=True)
class MemoryReceiptStore:
    """``ReceiptStore`` in memory."""

    faults: Faults = field(default_factory=Faults)
    settlements: list[Settlement] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    async def insert(self, settlements: Sequence[Settlement]) -> None:
        """See ReceiptStore."""
        fails = self.faults.before("receipts.insert")
        token = f"{settlements[0].token}+{len(settlements)}"
        if token not in self.tokens:
            self.tokens.add(token)
            self.settlements += settlements
        self.faults.after(fails)

    def receipts(self) -> list[Receipt]:
        """Return all receipts."""
        return [receipt for settlement in self.settlements for receipt in settlement.receipts]

    async def head(self, journal_id: str) -> JournalHead | None:
        """See ReceiptStore."""
        self.faults.before("receipts.head")
        return (await self.heads()).get(journal_id)

    async def heads(self, since: datetime | None = None) -> Mapping[str, JournalHead]:
        """See ReceiptStore."""
        found: dict[str, JournalHead] = {}
        for s in sorted(self.settlements, key=lambda s: s.sequence):
            if since is None or s.settle_time >= since:
                found[s.journal_id] = JournalHead(s.sequence, s.last_sequence, s.settle_time)
        return found

    async def positions_at(self, journal_ids: Sequence[str], instant: datetime) -> Mapping[str, int]:
        """See ReceiptStore."""
        found = dict.fromkeys(journal_ids, 0)
        for s in self.settlements:
            if s.journal_id in found and s.settle_time <= instant:
                found[s.journal_id] = max(found[s.journal_id], s.last_sequence)
        return found

    async def batches_after(self, positions: Mapping[str, int], *, limit: int) -> Sequence[SettledBatch]:
        """See ReceiptStore."""
        found: list[SettledBatch] = []
        for journal_id, position in sorted(positions.items()):
            batches = [
                SettledBatch(
                    journal_id,
                    s.sequence,
                    s.last_sequence,
                    s.stored_count,
                    s.byte_count,
                    s.first_event_time,
                    s.last_event_time,
                    s.settle_time,
                )
                for s in sorted(self.settlements, key=lambda s: s.sequence)
                if s.journal_id == journal_id and s.last_sequence > position
            ]
            found += batches[:limit]
        return found

    async def totals(self, organization_id: str | None) -> Sequence[Totals]:
        """See ReceiptStore."""
        found: dict[tuple[str, str], Totals] = {}
        for r in self.receipts():
            if organization_id not in (None, r.organization_id):
                continue
            key = r.organization_id, r.journal_id
            one = Totals(*key, r.received, r.stored, r.duplicates, r.quarantined, r.last_sequence)
            found[key] = found[key] + one if key in found else one
        return list(found.values())

    async def received_between(
        self, spans: Mapping[str, tuple[int, int]], organization_id: str | None
    ) -> Mapping[tuple[str, str], int]:
        """See ReceiptStore."""
        found: Counter[tuple[str, str]] = Counter()
        for r in self.receipts():
            if r.journal_id in spans and organization_id in (None, r.organization_id):
                after, upto = spans[r.journal_id]
                if r.sequence > after and r.last_sequence <= upto:
                    found[r.journal_id, r.organization_id] += r.received
        return found


@dataclass(slots=True)
class MemoryQuarantineStore:
    """``QuarantineStore`` in memory."""

    faults: Faults = field(default_factory=Faults)
    events: list[QuarantinedEvent] = field(default_factory=list)
    steps: list[ReplayStep] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    async def insert(self, events: Sequence[QuarantinedEvent], *, token: str) -> None:
        """See QuarantineStore."""
        fails = self.faults.before("quarantine.insert")
        if token not in self.tokens:
            self.tokens.add(token)
            self.events += events
        self.faults.after(fails)

    async def unclaimed_since(self, instant: datetime) -> tuple[int, int]:
        """See QuarantineStore."""
        found = [e for e in self.events if e.organization_id == UNCLAIMED and e.quarantine_time >= instant]
        return len(found), sum(len(event.event) for event in found)

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
        """See QuarantineStore."""
        done = {s.quarantine_id: s.replay_time for s in self.steps if s.step in ("stored", "duplicate")}
        found = sorted(
            (
                event
                for event in self.events
                if organization_id in ("", event.organization_id)
                and not (is_waiting and event.quarantine_id in done)
                and (not ids or event.quarantine_id in ids)
                and (before is None or _quarantine_place(event) < _place(before))
            ),
            key=_quarantine_place,
            reverse=True,
        )
        taken: list[QuarantinedEvent] = []
        size = 0
        for event in found[:limit]:
            size += len(event.event)
            if taken and size > max_bytes:
                break
            taken.append(event)
        key = QuarantineKey(_quarantine_place(taken[-1])[0], taken[-1].quarantine_id) if taken else None
        return QuarantinePage(
            [QuarantineItem(event, done.get(event.quarantine_id)) for event in taken],
            key if len(found) > len(taken) else None,
        )

    async def record_steps(self, steps: Sequence[ReplayStep], *, token: str) -> None:
        """See QuarantineStore."""
        fails = self.faults.before(f"quarantine.{steps[0].step if steps[0].step == 'intent' else 'outcome'}")
        if token not in self.tokens:
            self.tokens.add(token)
            self.steps += steps
        self.faults.after(fails)

    async def steps_after(self, journal_id: str, sequence: int) -> Sequence[ReplayStep]:
        """See QuarantineStore."""
        order = ("intent", "stored", "duplicate", "refused")
        return sorted(
            (step for step in self.steps if step.journal_id == journal_id and step.sequence > sequence),
            key=lambda step: (step.sequence, order.index(step.step)),
        )


def _quarantine_place(event: QuarantinedEvent) -> tuple[int, int]:
    return (event.quarantine_time - EPOCH) // timedelta(milliseconds=1), UUID(event.quarantine_id).int


def _place(key: QuarantineKey) -> tuple[int, int]:
    return key.quarantine_time_ms, UUID(key.quarantine_id).int


@dataclass(slots=True)
class MemoryJournalWordStore:
    """``JournalWordStore`` in memory."""

    faults: Faults = field(default_factory=Faults)
    words: dict[str, JournalWord] = field(default_factory=dict)

    async def save(self, words: Sequence[JournalWord]) -> None:
        """See JournalWordStore."""
        self.faults.before("words.save")
        for word in words:
            held = self.words.get(word.journal_id)
            if held is None or held.report_time <= word.report_time:
                self.words[word.journal_id] = word

    async def read(self) -> Sequence[JournalWord]:
        """See JournalWordStore."""
        return list(self.words.values())


@dataclass(slots=True)
class Memory:
    """All stores of a capture_svc, which outlive it."""

    faults: Faults = field(default_factory=Faults)
    events: MemoryEventStore = field(init=False)
    receipts: MemoryReceiptStore = field(init=False)
    quarantine: MemoryQuarantineStore = field(init=False)
    words: MemoryJournalWordStore = field(init=False)

    def __post_init__(self) -> None:
        """Give them the same faults."""
        self.events = MemoryEventStore(self.faults)
        self.receipts = MemoryReceiptStore(self.faults)
        self.quarantine = MemoryQuarantineStore(self.faults)
        self.words = MemoryJournalWordStore(self.faults)

    def of_another_replica(self) -> "Memory":
        """Return stores with the same things in them, and faults of their own."""
        found = Memory()
        found.events.rows, found.events.tokens, found.events.claims = (
            self.events.rows,
            self.events.tokens,
            self.events.claims,
        )
        found.events.refused = self.events.refused
        found.receipts.settlements, found.receipts.tokens = self.receipts.settlements, self.receipts.tokens
        found.quarantine.events, found.quarantine.steps = self.quarantine.events, self.quarantine.steps
        found.quarantine.tokens, found.words.words = self.quarantine.tokens, self.words.words
        return found

    def stores(self, *, is_shared: bool = False) -> Stores:
        """Return them as a replica takes them."""
        return Stores(self.events, self.receipts, self.quarantine, self.words, is_shared=is_shared)

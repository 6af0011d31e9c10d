"""Between protobuf and our own types. Nothing below has seen a ``_pb2``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf import timestamp_pb2

from capture_svc.batch import Batch, Fate
from capture_svc.feed import FeedPage
from capture_svc.ledger import Account
from capture_svc.quarantine import ReplayCounts
from capture_svc.scan import Scan, ScanPage
from capture_svc.store import EventFilter, JournalWord, QuarantineItem
from svc_runtime.errors import InvalidArgumentError, TooLargeError, Violation
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2

LARGEST_PAGE = 1_000
DEFAULT_PAGE = 50
MOST_DIRECT_EVENTS = 1_000
MOST_DIRECT_BYTES = 4 * 1024 * 1024
DEFAULT_FEED_EVENTS = 10_000
MOST_FEED_EVENTS = 100_000
_LARGEST_EVENT_TYPE = 128
_HEX_DIGITS = frozenset("0123456789abcdef")


def journal_from_pb(hello: pb.JournalHello) -> tuple[str, str]:
    """Return the id and the sender of a journal; raise InvalidArgumentError for another shape of id."""
    journal_id = hello.journal_id
    if len(journal_id) != 32 or not _HEX_DIGITS.issuperset(journal_id):
        raise InvalidArgumentError.of([Violation("hello.journal_id", "must be 32 hexadecimal digits in lower case")])
    return journal_id, hello.sender[:128]


def batch_from_pb(journal_id: str, batch: pb.JournalBatch) -> Batch:
    """Return a batch; its events stay encoded."""
    if not 0 < batch.sequence <= batch.last_sequence:
        text = f"{batch.sequence} to {batch.last_sequence}: sequences begin with 1 and rise"
        raise InvalidArgumentError.of([Violation("batch.sequence", text)])
    return Batch(
        journal_id=journal_id,
        sequence=batch.sequence,
        last_sequence=batch.last_sequence,
        events=batch.events,
        counts=_counts(batch.counts),
        is_keyed=batch.is_keyed,
        traceparents=tuple(batch.traceparents),
    )


def word_from_pb(journal_id: str, sender: str, status: pb.JournalStatus, *, now: datetime) -> JournalWord:
    """Return what a journal says about itself."""
    return JournalWord(journal_id, sender, status.settled_sequence, _counts(status.pending), now)


def _counts(counts: Sequence[pb.OrganizationCount]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for count in counts:
        found[count.organization_id] += count.event_count
    return dict(+found)


def direct_events_from_pb(request: pb.CaptureEventsRequest) -> list[event_pb2.Event]:
    """Return the events of a direct call; raise InvalidArgumentError, naming each, or TooLargeError."""
    count = len(request.events)
    if not 1 <= count <= MOST_DIRECT_EVENTS:
        raise InvalidArgumentError.of([Violation("events", f"{count} events, must be 1 to {MOST_DIRECT_EVENTS}")])
    size = request.ByteSize()
    if size > MOST_DIRECT_BYTES:
        raise TooLargeError(f"the events have {size} bytes, the limit is {MOST_DIRECT_BYTES}")
    violations = [
        Violation(f"events[{index}].event_type", f"{len(event.event_type)} bytes, the limit is {_LARGEST_EVENT_TYPE}")
        for index, event in enumerate(request.events)
        if len(event.event_type) > _LARGEST_EVENT_TYPE
    ]
    if violations:
        raise InvalidArgumentError.of(violations)
    return list(request.events)


def outcome_to_pb(event_id: str, fate: Fate | None) -> pb.EventOutcome:
    """Return what became of an event of a direct call."""
    if fate is None:
        return pb.EventOutcome(event_id=event_id, outcome=pb.OUTCOME_STORED)
    if fate.is_duplicate:
        return pb.EventOutcome(event_id=event_id, outcome=pb.OUTCOME_DUPLICATE)
    return pb.EventOutcome(event_id=event_id, outcome=pb.OUTCOME_QUARANTINED, reason=fate.reason)


def page_size_from_pb(wanted: int) -> int:
    """Return how many items a page has: 50 for 0. Raise InvalidArgumentError above 1,000."""
    if wanted > LARGEST_PAGE:
        raise InvalidArgumentError.of([Violation("page_size", f"is {wanted}, must be 1 to {LARGEST_PAGE}")])
    return wanted or DEFAULT_PAGE


def feed_size_from_pb(wanted: int) -> int:
    """Return how many events an answer of the feed has at most: 10,000 for 0."""
    if wanted > MOST_FEED_EVENTS:
        raise InvalidArgumentError.of([Violation("max_event_count", f"is {wanted}, must be 1 to {MOST_FEED_EVENTS}")])
    return wanted or DEFAULT_FEED_EVENTS


def feed_page_to_pb(page: FeedPage) -> pb.SubscribeResponse:
    """Return a piece of the feed; its events stay encoded."""
    answer = pb.SubscribeResponse(events=page.events, event_count=page.event_count, cursor=page.cursor)
    answer.watermark_time.FromDatetime(page.watermark_time)
    return answer


def filter_from_pb(request: pb.ListEventsRequest) -> EventFilter:
    """Return the filter of a list; raise InvalidArgumentError, naming each field."""
    violations: list[Violation] = []
    wanted = EventFilter(
        start_time=_time_from_pb(request, "start_time", violations),
        end_time=_time_from_pb(request, "end_time", violations),
        event_type=request.event_type,
        click_id=request.click_id,
        campaign_id=request.campaign_id,
        user_id=request.user_id,
        mark=request.mark,
    )
    if wanted.start_time and wanted.end_time and wanted.start_time >= wanted.end_time:
        violations.append(Violation("end_time", "must be after start_time"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return wanted


def scan_from_pb(request: pb.ReadEventsRequest) -> Scan:
    """Return which events to read; raise InvalidArgumentError, naming each field."""
    violations: list[Violation] = []
    wanted = Scan(
        organization_id=request.organization_id,
        start_time=_time_from_pb(request, "start_time", violations),
        end_time=_time_from_pb(request, "end_time", violations),
    )
    if wanted.start_time and wanted.end_time and wanted.start_time >= wanted.end_time:
        violations.append(Violation("end_time", "must be after start_time"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return wanted


def scan_page_to_pb(page: ScanPage) -> pb.ReadEventsResponse:
    """Return a piece of a scan; its events stay encoded."""
    cursor = page.last_key.encode() if page.last_key is not None else b""
    return pb.ReadEventsResponse(events=page.events, event_count=page.event_count, cursor=cursor)


def month_counts_to_pb(counts: Mapping[datetime, int]) -> pb.CountEventsByMonthResponse:
    """Return counts by month."""
    answer = pb.CountEventsByMonthResponse()
    for start_time, event_count in counts.items():
        answer.months.add(event_count=event_count).start_time.FromDatetime(start_time)
    return answer


def _time_from_pb(
    request: pb.ListEventsRequest | pb.ReadEventsRequest, name: str, violations: list[Violation]
) -> datetime | None:
    if not request.HasField(name):  # type: ignore[arg-type]  # the stub wants a literal
        return None
    stamp: timestamp_pb2.Timestamp = getattr(request, name)
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        violations.append(Violation(name, "is not an instant between the years 1 and 9999"))
        return None


def event_id_from_pb(text: str, field: str = "event_id") -> str:
    """Return a UUID in its canonical text; raise InvalidArgumentError for anything else."""
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidArgumentError.of([Violation(field, "is not a UUID")]) from None


def event_to_pb(batch: bytes, ingest_time: datetime) -> pb.GetEventResponse:
    """Return the whole event; ``batch`` is an EventBatch of it alone."""
    answer = pb.GetEventResponse(event=event_pb2.EventBatch.FromString(batch).events[0])
    answer.ingest_time.FromDatetime(ingest_time)
    return answer


def events_to_pb(batch: bytes, next_page_token: str) -> pb.ListEventsResponse:
    """Return a page of events: an EventBatch and the list of an answer are the same bytes."""
    answer = pb.ListEventsResponse.FromString(batch)
    answer.next_page_token = next_page_token
    return answer


def quarantine_item_to_pb(item: QuarantineItem) -> pb.QuarantinedEvent:
    """Return an item of the quarantine."""
    event = item.event
    answer = pb.QuarantinedEvent(
        quarantine_id=event.quarantine_id,
        organization_id=event.organization_id,
        reason=event.reason,
        event=event.event,
    )
    answer.quarantine_time.FromDatetime(event.quarantine_time)
    if item.replay_time is not None:
        answer.replay_time.FromDatetime(item.replay_time)
    return answer


def replay_to_pb(counts: ReplayCounts) -> pb.ReplayQuarantineResponse:
    """Return what became of a replay."""
    return pb.ReplayQuarantineResponse(
        stored_count=counts.stored, duplicate_count=counts.duplicate, failed_count=counts.failed
    )


def account_to_pb(account: Account) -> pb.GetLedgerResponse:
    """Return the account of an organisation."""
    answer = pb.GetLedgerResponse(
        organization_id=account.organization_id,
        received_count=account.received,
        stored_count=account.stored,
        duplicate_count=account.duplicates,
        quarantined_count=account.quarantined,
        journal_count=account.journal,
        unaccounted_count=account.unaccounted,
    )
    answer.as_of_time.FromDatetime(account.as_of_time)
    return answer

"""Sorts the events of a batch by what is to become of them. Pure: who asks has looked everything up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from capture_svc.batch import UNCLAIMED, Batch, EventHead, Fate, Receipt, Settlement
from capture_svc.quarantine import MISPLACED, UNDECODABLE


@dataclass(slots=True)
class Sorting:
    """The events of one batch and their fates so far; indexes are places in the batch."""

    batch: Batch
    events: Sequence[bytes]
    """Encoded, one by one."""
    heads: Sequence[EventHead | None]
    """None where an event does not decode."""
    owners: Sequence[str]
    """Whose account each event is on."""
    fates: dict[int, Fate] = field(default_factory=dict)
    """Events that are not to be stored."""
    dropped: set[int] = field(default_factory=set)
    """Those of them that are not kept at all."""

    @property
    def rest(self) -> list[int]:
        """Events to be stored, as far as is known."""
        return [index for index in range(len(self.events)) if index not in self.fates]

    def head(self, index: int) -> EventHead:
        """Return the head of an event that decodes."""
        head = self.heads[index]
        if head is None:
            raise LookupError(f"event {index} does not decode")
        return head

    def times(self) -> tuple[datetime, datetime] | None:
        """Return the earliest and the latest event time; None when nothing decodes."""
        times = [head.event_time for head in self.heads if head is not None]
        return (min(times), max(times)) if times else None


def sort(batch: Batch, events: Sequence[bytes], heads: Sequence[EventHead | None]) -> Sorting:
    """Sort out what the bytes alone decide: events that do not decode, and those that belong elsewhere."""
    sorting = Sorting(batch, events, heads, _owners(batch.counts, heads))
    for index, head in enumerate(heads):
        if head is None:
            sorting.fates[index] = Fate(is_duplicate=False, reason=UNDECODABLE)
        elif head.journal_id != batch.journal_id or not batch.sequence <= head.sequence <= batch.last_sequence:
            sorting.fates[index] = Fate(is_duplicate=False, reason=MISPLACED)
    return sorting


def _owners(counts: Mapping[str, int], heads: Sequence[EventHead | None]) -> list[str]:
    """Say whose each event is. One that does not decode is of who is short of events by the sender's count."""
    decoded = Counter(head.organization_id for head in heads if head is not None)
    short = Counter(counts)
    short.subtract(decoded)
    missing = [organization_id for organization_id, count in sorted(short.items()) for _ in range(count)]
    missing.reverse()
    return [head.organization_id if head is not None else (missing.pop() if missing else UNCLAIMED) for head in heads]


def settle(sorting: Sorting, *, settle_time: datetime) -> Settlement:
    """Write the receipts of a sorted batch."""
    batch, tallies = sorting.batch, {owner: Counter[str]() for owner in sorting.owners}
    for index, owner in enumerate(sorting.owners):
        tallies[owner][_column(sorting, index)] += 1
    receipts = tuple(
        Receipt(
            batch.journal_id,
            batch.sequence,
            batch.last_sequence,
            owner,
            received=tally.total(),
            stored=tally["stored"],
            duplicates=tally["duplicates"],
            quarantined=tally["quarantined"],
            dropped=tally["dropped"],
        )
        for owner, tally in sorted(tallies.items())
    )
    times = sorting.times() or (settle_time, settle_time)
    return settlement_of(batch, receipts, times, settle_time=settle_time, fates=sorting.fates)


def _column(sorting: Sorting, index: int) -> str:
    fate = sorting.fates.get(index)
    if fate is None:
        return "stored"
    if fate.is_duplicate:
        return "duplicates"
    return "dropped" if index in sorting.dropped else "quarantined"


def settle_whole(batch: Batch, times: tuple[datetime, datetime], *, settle_time: datetime) -> Settlement:
    """Write the receipts of a batch that was stored as it came, by the sender's counts."""
    receipts = tuple(
        Receipt(batch.journal_id, batch.sequence, batch.last_sequence, owner, received=count, stored=count)
        for owner, count in sorted(batch.counts.items())
    )
    return settlement_of(batch, receipts, times, settle_time=settle_time)


def settle_undecodable(batch: Batch, *, settle_time: datetime) -> Settlement:
    """Write the receipts of a payload that is in quarantine as a whole."""
    receipts = tuple(
        Receipt(batch.journal_id, batch.sequence, batch.last_sequence, owner, received=count, quarantined=count)
        for owner, count in sorted(batch.counts.items())
    )
    return settlement_of(batch, receipts, (settle_time, settle_time), settle_time=settle_time)


def settlement_of(
    batch: Batch,
    receipts: tuple[Receipt, ...],
    times: tuple[datetime, datetime],
    *,
    settle_time: datetime,
    fates: Mapping[int, Fate] | None = None,
) -> Settlement:
    """Put a settlement together; ``times`` are those of the batch's events."""
    return Settlement(
        journal_id=batch.journal_id,
        sequence=batch.sequence,
        last_sequence=batch.last_sequence,
        token=batch.token,
        # A batch with nothing in it is settled too, and has a receipt that says so.
        receipts=receipts or (Receipt(batch.journal_id, batch.sequence, batch.last_sequence, UNCLAIMED),),
        first_event_time=min(times),
        last_event_time=max(times),
        byte_count=len(batch.events),
        settle_time=settle_time,
        fates=fates or {},
    )

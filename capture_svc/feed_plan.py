"""Decides what a page of the feed holds. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from capture_svc.store import EventRange, SettledBatch

MOST_BYTES = 32 * 1024 * 1024
"""A page is about this large at most, unless one batch is larger. A large page costs the store little more than a small
one where many organisations share a part of the table: who reads all of history should ask for large ones."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read."""

    ranges: Sequence[EventRange]
    """One per journal that has events, in the order of the page."""
    positions: dict[str, int]
    """Position of each journal after the page, when it is read to its end."""
    event_count: int
    """Events of the batches of which nothing was read before."""
    batches: Sequence[SettledBatch]
    """The batches that the ranges cover."""
    begun: SettledBatch | None
    """The one of them that was read in part before."""
    is_partial: bool
    """True when the page may end inside its only batch."""


def plan_page(
    batches: Sequence[SettledBatch], positions: Mapping[str, int], *, order: Sequence[str], max_event_count: int
) -> Plan:
    """Take batches from the journals in turn until the page is full; whole ones, unless the first alone is too large.

    ``batches`` are the next ones of each journal, in their order; ``order`` says whose turn is first.
    """
    queues = {journal_id: deque[SettledBatch]() for journal_id in order}
    for batch in batches:
        queues[batch.journal_id].append(batch)
    taken: list[SettledBatch] = []
    count = size = 0
    has_begun = False
    turns = deque(journal_id for journal_id in order if queues[journal_id])
    while turns:
        batch = queues[turns[0]].popleft()
        is_begun = bool(batch.stored_count) and positions[batch.journal_id] >= batch.sequence
        is_over = count + batch.stored_count > max_event_count or size + batch.byte_count > MOST_BYTES
        # Of a begun batch the receipt does not say how much is left: one in a page, whose rest is counted.
        if taken and (is_over or (is_begun and has_begun)):
            break
        has_begun = has_begun or is_begun
        taken.append(batch)
        count, size = count + batch.stored_count, size + batch.byte_count
        if count >= max_event_count:
            break
        if queues[turns[0]]:
            turns.rotate(-1)
        else:
            turns.popleft()
    return _plan(taken, positions, count, max_event_count)


def _plan(taken: Sequence[SettledBatch], positions: Mapping[str, int], count: int, max_event_count: int) -> Plan:
    ranges: dict[str, EventRange] = {}
    after: dict[str, int] = {}
    begun: SettledBatch | None = None
    for batch in taken:
        position = positions[batch.journal_id]
        after[batch.journal_id] = batch.last_sequence
        if not batch.stored_count:
            continue
        if position >= batch.sequence:
            begun = batch
        held = ranges.get(batch.journal_id)
        first, last = batch.first_event_time, batch.last_event_time
        if held is None or held.times is None:
            ranges[batch.journal_id] = EventRange(batch.journal_id, position, batch.last_sequence, (first, last))
        else:
            times = (min(held.times[0], first), max(held.times[1], last))
            ranges[batch.journal_id] = replace(held, upto=batch.last_sequence, times=times)
    return Plan(
        ranges=tuple(ranges.values()),
        positions=after,
        event_count=count - (begun.stored_count if begun is not None else 0),
        batches=taken,
        begun=begun,
        is_partial=len(taken) == 1 and count > max_event_count,
    )

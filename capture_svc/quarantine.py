"""What is kept aside: rows that the store refuses, found by halving, and a bounded part of what nobody claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from capture_svc.store import ContentRefusedError, EventStore, QuarantineStore
from capture_svc.wire import join

UNDECODABLE = "undecodable"
"""Reason: the bytes are not an Event, or not a sequence of events."""
MISPLACED = "misplaced"
"""Reason: the event says another journal or sequence than its batch."""
UNCLAIMED_HOST = "unclaimed_host"
"""Reason, and the gateway's mark: no organisation has the host."""
UNCLAIMED_KEY = "unclaimed_key"
"""Reason, and the gateway's mark: nobody has the key."""


@dataclass(slots=True)
class ReplayCounts:
    """What became of a replay."""

    stored: int = 0
    duplicate: int = 0
    """Stored before already."""
    failed: int = 0
    """Refused again, or still nobody's: they stay."""


async def insert_halving(events: EventStore, encoded: Sequence[bytes], *, token: str) -> dict[int, str]:
    """Store events; halve what is refused until the refused ones stand alone. Return their reasons by index.

    The same events under the same token make the same halves with the same tokens, so it may be repeated after any
    failure. Errors: UnavailableError.
    """
    refused: dict[int, str] = {}
    waiting = [(0, len(encoded), token)]
    while waiting:
        start, end, name = waiting.pop()
        if start == end:
            continue
        try:
            await events.insert(join(encoded[start:end]), token=name)
        except ContentRefusedError as error:
            if end - start == 1:
                refused[start] = f"store_refused: {error.reason}"
                continue
            middle = (start + end) // 2
            waiting += [(middle, end, f"{name}/1"), (start, middle, f"{name}/0")]
    return refused


def unclaimed_reason(marks: Sequence[str]) -> str:
    """Say why nobody claims an event."""
    return UNCLAIMED_KEY if UNCLAIMED_KEY in marks else UNCLAIMED_HOST


class UnclaimedQuota:
    """Bounds what this replica keeps of the unclaimed in a UTC day: the first ones stay, later ones are dropped."""

    def __init__(self, store: QuarantineStore, *, count_per_day: int, bytes_per_day: int) -> None:
        self._store = store
        self._count_per_day = count_per_day
        self._bytes_per_day = bytes_per_day
        self._day: date | None = None
        self._count_left = 0
        self._bytes_left = 0

    async def admit(self, sizes: Sequence[int], now: datetime) -> int:
        """Return how many of the events may be kept, the first ones, and count them. Errors: UnavailableError."""
        if self._day != now.date():
            kept, kept_bytes = await self._store.unclaimed_since(datetime.combine(now.date(), time(), UTC))
            self._count_left, self._bytes_left = self._count_per_day - kept, self._bytes_per_day - kept_bytes
            self._day = now.date()
        admitted = 0
        for size in sizes:
            if self._count_left < 1 or self._bytes_left < size:
                break
            self._count_left, self._bytes_left = self._count_left - 1, self._bytes_left - size
            admitted += 1
        return admitted

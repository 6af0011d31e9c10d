"""A journal that this replica numbers itself: for direct calls, and for replays."""

import secrets
from datetime import datetime, timedelta

from capture_svc.batch import Batch, Receipt
from capture_svc.intake import Intake
from capture_svc.sorting import settlement_of
from capture_svc.store import EventStore, ReceiptStore
from svc_runtime.clock import Clock
from svc_runtime.logs import get_logger

_GAP = 1_000_000
"""Numbers left out after a restart: a statement of the life before may still reach a server."""
_LOOK_BACK = timedelta(days=7)
_log = get_logger(__name__)


class OwnJournal:
    """Numbers events; after a restart it goes on above everything that was ever stored under its id."""

    def __init__(
        self, journal_id: str, events: EventStore, receipts: ReceiptStore, intake: Intake, clock: Clock
    ) -> None:
        self.journal_id = journal_id
        self.life = f":{secrets.token_hex(4)}"
        """Part of the tokens of this life."""
        self._events = events
        self._receipts = receipts
        self._intake = intake
        self._clock = clock
        self._next: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is known where to go on."""
        return self._next is not None

    def close(self) -> None:
        """Forget where to go on: something may be stored that has no receipt."""
        self._next = None

    def take(self, count: int) -> int:
        """Return the first of ``count`` new sequences."""
        if self._next is None:
            raise RuntimeError("the journal is not open")
        first = self._next
        self._next += count
        return first

    async def open(self, *, adopt: bool) -> int:
        """Find where to go on; return the last sequence that has a receipt.

        ``adopt``: give a receipt to what the life before stored without one. Nobody was told that those events are
        stored, and they are: from now on they count. Errors: UnavailableError.
        """
        head = await self._receipts.head(self.journal_id)
        settled = head.last_sequence if head is not None else 0
        since = (head.settle_time if head is not None else self._clock.now()) - _LOOK_BACK
        last = await self._adopt(settled, since) if adopt else settled
        self.go_on_after(last)
        return settled

    def go_on_after(self, sequence: int) -> None:
        """Number what comes above ``sequence``."""
        self._next = sequence + _GAP if sequence else 1

    async def _adopt(self, settled: int, since: datetime) -> int:
        orphans = await self._events.orphans(self.journal_id, settled, since=since)
        if not orphans:
            return settled
        first = min(found.first_sequence for found in orphans)
        last = max(found.last_sequence for found in orphans)
        suffix = ":adopted"
        batch = Batch(self.journal_id, first, last, b"", {}, is_direct=True, token_suffix=suffix)
        receipts = tuple(
            Receipt(self.journal_id, first, last, found.organization_id, found.event_count, found.event_count)
            for found in orphans
        )
        times = (min(found.first_event_time for found in orphans), max(found.last_event_time for found in orphans))
        await self._intake.confirm([settlement_of(batch, receipts, times, settle_time=self._clock.now())])
        _log.info("events without a receipt have one now", journal=self.journal_id, organizations=len(orphans))
        return last

"""Telling the reading what events count for, where it would say something else by itself.

What is to be told is kept with the conversions, in the same transaction, until the reading has taken it. A verdict
carries a revision that rises, so that one that is sent twice, or overtaken, does no harm.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from attribution_svc import metrics
from attribution_svc.conversions.conversion import Share
from attribution_svc.conversions.pieces import in_pieces
from svc_runtime.tasks import keep_running

MOST_AT_ONCE = 5_000
_IDLE_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an event counts for."""

    organization_id: str
    event_id: str
    event_time: datetime
    revision: int
    share: Share


class VerdictOutbox(Protocol):
    """Verdicts that the reading has not taken yet. Raises UnavailableError as all stores do."""

    async def unsent_verdicts(self, *, limit: int) -> list[Verdict]:
        """Return some of them, the oldest first; of an event the last one alone."""
        ...

    async def verdicts_sent(self, verdicts: Sequence[Verdict]) -> None:
        """Note that the reading has these; a newer one of the same event stays to be sent."""
        ...


class Reading(Protocol):
    """Who counts by verdicts."""

    async def put_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Take verdicts, which is idempotent; raise TrellisError when they were not taken."""
        ...


class VerdictSender:
    """Sends what is in the outbox, for ever."""

    def __init__(self, outbox: VerdictOutbox, reading: Reading) -> None:
        self._outbox = outbox
        self._reading = reading

    async def run(self) -> None:
        """Send until cancelled; what is not taken is sent again."""
        await keep_running("verdicts", self._work, longest_delay_seconds=_LONGEST_DELAY_SECONDS)

    async def _work(self) -> None:
        while True:
            if not await self.send_some():
                await asyncio.sleep(_IDLE_SECONDS)

    async def send_some(self) -> int:
        """Send a batch and return how many there were; raise TrellisError when the reading is away."""
        verdicts = await self._outbox.unsent_verdicts(limit=MOST_AT_ONCE)
        if not verdicts:
            return 0
        outcomes = await in_pieces(self._taken, verdicts, refused=lambda _: "refused")
        for outcome in ("taken", "refused"):
            metrics.verdicts.add(outcomes.count(outcome), {"outcome": outcome})
        await self._outbox.verdicts_sent(verdicts)
        return len(verdicts)

    async def _taken(self, verdicts: Sequence[Verdict]) -> list[str]:
        await self._reading.put_verdicts(verdicts)
        return ["taken"] * len(verdicts)

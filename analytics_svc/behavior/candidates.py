"""Finds a conversion and the events around it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from analytics_svc.behavior.candidate import (
    MOST_BEFORE,
    CandidateEvent,
    compile_adjustments,
    compile_after,
    compile_before,
    compile_event,
    events_of,
)
from analytics_svc.dimension import Dimension
from analytics_svc.store import ReadingReader
from svc_runtime.errors import NotFoundError

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Candidates:
    """What there is around a conversion."""

    conversion: CandidateEvent
    events: Sequence[CandidateEvent]
    """In the order of time, then of their ids."""
    has_earlier: bool
    """There are more before it."""
    adjustment_count: int
    """Of what was added or taken back later."""
    adjustment_micros: int
    watermark_time: datetime | None


class ConversionCandidates:
    """Asks the reading. Errors are those of ``ReadingReader.rows``."""

    def __init__(self, reader: ReadingReader, *, watermark_time: Callable[[], datetime | None] = lambda: None) -> None:
        self._reader = reader
        self._watermark_time = watermark_time

    async def of(self, organization_id: str, event_id: str, dimension: Dimension) -> Candidates:
        """Return a conversion of the organisation. Raise NotFoundError for an event that is none."""
        # Read before the rows are: they may have more than it says, never less.
        watermark_time = self._watermark_time()
        conversion = await self._event(organization_id, event_id, dimension)
        if conversion is None or not (conversion.is_conversion or conversion.conversion_type):
            raise NotFoundError(f"no conversion {event_id[:64]!r}")
        before: list[CandidateEvent] = []
        after: list[CandidateEvent] = []
        if conversion.user_id:
            before = events_of(await self._reader.rows(compile_before(organization_id, conversion, dimension)))
            after = events_of(await self._reader.rows(compile_after(organization_id, conversion, dimension)))
        events = [*reversed(before[:MOST_BEFORE]), *after]
        linked_id = conversion.touch_event_id
        if linked_id and all(event.event_id != linked_id for event in events):
            linked = await self._event(organization_id, linked_id, dimension)
            events = sorted([*events, *([linked] if linked else [])], key=lambda each: (each.event_time, each.event_id))
        count, micros = await self._adjustments(organization_id, conversion)
        return Candidates(conversion, events, len(before) > MOST_BEFORE, count, micros, watermark_time)

    async def _adjustments(self, organization_id: str, conversion: CandidateEvent) -> tuple[int, int]:
        """Return what changed the conversion's value; of several with one order, the first has it."""
        if not (conversion.is_conversion and conversion.user_id and conversion.order_id):
            return 0, 0
        found = await self._reader.rows(compile_adjustments(organization_id, conversion))
        micros, count, first_id = found.rows[0]
        return (count, micros) if first_id == conversion.event_id else (0, 0)

    async def _event(self, organization_id: str, event_id: str, dimension: Dimension) -> CandidateEvent | None:
        if not _UUID.fullmatch(event_id):
            return None
        found = events_of(await self._reader.rows(compile_event(organization_id, event_id, dimension)))
        return found[0] if found else None

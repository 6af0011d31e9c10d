"""Answers of which click an event goes back to, and which clicks references may mean."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics_svc.linking.reference import (
    MOST_MATCHES,
    Found,
    Match,
    MatchKind,
    Reference,
    compile_alike,
    compile_clicks,
    encodings_of,
    kind_of,
)
from analytics_svc.linking.touch import EventKey, ReadEvent, compile_keys, read_event
from analytics_svc.store import ReadingReader
from svc_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class LinkedEvent:
    """An event, and the click that it goes back to."""

    event: ReadEvent
    touch: ReadEvent | None


@dataclass(frozen=True, slots=True)
class Touches:
    """What the reading has of some events."""

    events: Mapping[EventKey, LinkedEvent]
    """Those that are in it."""
    watermark_time: datetime | None
    """Everything received before this instant is in the reading; None: nothing is certain."""


class LinkQuestions:
    """Errors are those of ``ReadingReader.rows``."""

    def __init__(
        self,
        reader: ReadingReader,
        *,
        clock: Clock,
        watermark_time: Callable[[], datetime | None],
        window: timedelta,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._watermark_time = watermark_time
        self._window = window

    async def touches(self, keys: Sequence[EventKey]) -> Touches:
        """Return what the reading has of these events."""
        # Before the question: what it says must be true of the answer.
        watermark = self._watermark_time()
        events = await self._events(keys)
        clicks = await self._events({event.touch for event in events.values() if event.touch is not None})
        linked = {
            key: LinkedEvent(event, clicks.get(event.touch) if event.touch is not None else None)
            for key, event in events.items()
        }
        return Touches(linked, watermark)

    async def find(self, references: Sequence[Reference]) -> list[Found]:
        """Return what each of these may mean."""
        texts: dict[str, list[str]] = {}
        for reference in dict.fromkeys(references):
            texts.setdefault(reference.organization_id, []).append(reference.text)
        found = {owner: await self._find(owner, own) for owner, own in texts.items()}
        return [found[reference.organization_id].get(reference.text, Found()) for reference in references]

    async def _events(self, keys: Iterable[EventKey]) -> dict[EventKey, ReadEvent]:
        wanted = list(keys)
        if not wanted:
            return {}
        rows = (await self._reader.rows(compile_keys(wanted))).rows
        return {event.key: event for event in map(read_event, rows)}

    async def _find(self, organization_id: str, texts: Sequence[str]) -> dict[str, Found]:
        ids = {text: ((text, MatchKind.EXACT), *_encoded(text)) for text in texts}
        clicks = await self._clicks(organization_id, {one for some in ids.values() for one, _ in some})
        found = {text: _found(some, clicks) for text, some in ids.items()}
        if missing := [text for text in texts if not found[text].matches]:
            found |= await self._find_alike(organization_id, missing)
        return found

    async def _find_alike(self, organization_id: str, texts: Sequence[str]) -> dict[str, Found]:
        statement = compile_alike(organization_id, texts, start_time=self._clock.now() - self._window)
        rows = (await self._reader.rows(statement)).rows
        alike = {text: sorted((kind_of(text, one), one) for one in some) for text, some in rows}
        clicks = await self._clicks(organization_id, {one for some in alike.values() for _, one in some})
        return {text: _found([(one, kind) for kind, one in some], clicks) for text, some in alike.items()}

    async def _clicks(self, organization_id: str, ids: Iterable[str]) -> dict[str, ReadEvent]:
        wanted = sorted(ids)
        if not wanted:
            return {}
        rows = (await self._reader.rows(compile_clicks(organization_id, wanted))).rows
        return {row[0]: read_event(row[1:]) for row in rows}


def _encoded(text: str) -> tuple[tuple[str, MatchKind], ...]:
    return tuple((form, MatchKind.ENCODED) for form in encodings_of(text))


def _found(candidates: Iterable[tuple[str, MatchKind]], clicks: Mapping[str, ReadEvent]) -> Found:
    """Return the clicks of the candidates, which come in the order of belief."""
    matches = [Match(kind, one, clicks[one]) for one, kind in candidates if one in clicks]
    return Found(tuple(matches[:MOST_MATCHES]), has_more=len(matches) > MOST_MATCHES)

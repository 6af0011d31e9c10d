"""Which click a conversion goes back to: asked of the reading, soon after it came and again until it is known.

The reading's answer is the answer. Where it knows none, the conversion is an orphan, and the clicks that may have been
meant are suggested, never taken. What somebody accepted is never taken away.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from attribution_svc import metrics
from attribution_svc.conversions.decide import (
    PERSON,
    Due,
    EventKey,
    FoundClick,
    Linked,
    PersonAsked,
    is_orphan,
    is_worth_asking,
    look_back,
    match_of,
    orphan_of,
    pause_of,
)
from attribution_svc.conversions.kept import Match, Touch
from attribution_svc.conversions.pieces import in_pieces
from attribution_svc.conversions.rules import Rules
from svc_runtime.clock import Clock
from svc_runtime.errors import TrellisError
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running

MOST_AT_ONCE = 500
MOST_EVENTS_ASKED = 20
"""Of one conversion: what its click is, its first events say."""
MOST_PERSONS_ASKED = 100
"""At a time."""
MOST_REFERENCES_ASKED = 3
"""Of one orphan, those that are believed most."""
_IDLE_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 10.0
_PAUSE_OF_REFUSED = timedelta(hours=1)
_log = get_logger(__name__)
_NOTHING = Linked(is_read=True, touch=None, campaign_id="")
"""Of an event that the reading can have nothing of."""


class Links(Protocol):
    """The reading. Raises UnavailableError, RateLimitedError or QueryLimitError when it does not answer now."""

    async def touches(self, keys: Sequence[EventKey]) -> tuple[list[Linked], datetime | None]:
        """Return what it has of events, in their order, and the instant before which it has everything."""
        ...

    async def find_clicks(self, references: Sequence[tuple[str, str]]) -> list[list[FoundClick]]:
        """Return the clicks that references (organisation, text) may mean, in their order, the best of each first."""
        ...

    async def person_clicks(self, asked: Sequence["PersonAsked"]) -> list[Touch | None]:
        """Return the last clicks of the persons behind events, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Matched:
    """What was found for a conversion."""

    due: Due
    match: Match
    match_count: int
    """How often it was found in this state."""
    next_time: datetime | None
    """When to look again; None: not by itself."""


class MatchStore(Protocol):
    """What is to be matched. Raises UnavailableError as all stores do."""

    async def due_matches(self, *, limit: int) -> list[Due]:
        """Return conversions whose time has come, the longest waiting first."""
        ...

    async def put_matches(self, found: Sequence[Matched]) -> int:
        """Keep what was found, with news of each that is another than before; return how many are."""
        ...

    async def rules_of(self, organization_ids: Sequence[str]) -> Mapping[str, Rules]:
        """Return the rules of organisations that have some."""
        ...


class Matcher:
    """Matches what is due, for ever."""

    def __init__(self, store: MatchStore, links: Links, *, clock: Clock) -> None:
        self._store = store
        self._links = links
        self._clock = clock

    async def run(self) -> None:
        """Match until cancelled; what fails is done again, later."""
        await keep_running("conversion matcher", self._work, longest_delay_seconds=_LONGEST_DELAY_SECONDS)

    async def _work(self) -> None:
        while True:
            if await self.match_some() < MOST_AT_ONCE:
                await asyncio.sleep(_IDLE_SECONDS)

    async def match_some(self) -> int:
        """Match a batch and return how many there were; raise TrellisError when the reading is away."""
        due = await self._store.due_matches(limit=MOST_AT_ONCE)
        if not due:
            return 0
        rules = await self._store.rules_of(sorted({told.kept.conversion.organization_id for told in due}))
        linked, watermark = await self._linked(due)
        orphans = {told for told in due if is_orphan(told, linked[told], watermark)}
        clicks = await self._clicks([told for told in due if told in orphans and is_worth_asking(told)], rules)
        now = self._clock.now()
        found = []
        for told in due:
            match = match_of(told, linked[told], rules)
            if told in orphans:
                match = orphan_of(told, linked[told], clicks.get(told), rules)
            count = told.match_count if match.state is told.kept.match.state else 0
            pause = pause_of(match.state, count)
            found.append(Matched(told, match, count + 1, None if pause is None else now + pause))
        changed = await self._put(found)
        metrics.conversion_matches.add(changed, {"kind": "changed"})
        metrics.conversion_matches.add(len(found) - changed, {"kind": "same"})
        return len(due)

    async def _put(self, found: Sequence[Matched]) -> int:
        """Let the store keep what was found; one that it chokes on stays as it was, and keeps no other waiting."""
        try:
            return await self._store.put_matches(found)
        except TrellisError:
            raise
        except Exception as error:  # noqa: BLE001 - what one conversion's click breaks must not keep all others waiting
            if len(found) > 1:
                half = len(found) // 2
                return await self._put(found[:half]) + await self._put(found[half:])
            (bad,) = found
            # Its text may hold what was sent.
            conversion_id = bad.due.kept.conversion.conversion_id
            _log.error("a match cannot be kept", conversion_id=conversion_id, error=type(error).__name__)
            later = self._clock.now() + _PAUSE_OF_REFUSED
            return await self._store.put_matches([replace(bad, match=bad.due.kept.match, next_time=later)])

    async def _linked(self, due: Sequence[Due]) -> tuple[dict[Due, list[Linked]], datetime | None]:
        """Ask for the touches of all, in as few calls as their number allows."""
        linked: dict[Due, list[Linked]] = {told: [] for told in due}
        keys = [(told, key) for told in due for key in told.keys]
        watermarks: list[datetime | None] = []

        async def ask(wanted: Sequence[EventKey]) -> list[Linked]:
            answers, watermark = await self._links.touches(wanted)
            watermarks.append(watermark)
            return answers

        for start in range(0, len(keys), 1_000):
            piece = keys[start : start + 1_000]
            answers = await in_pieces(ask, [key for _, key in piece], refused=lambda _: _NOTHING)
            for (told, _), answer in zip(piece, answers, strict=True):
                linked[told].append(answer)
        known = [watermark for watermark in watermarks if watermark is not None]
        return linked, min(known) if known and len(known) == len(watermarks) else None

    async def _clicks(
        self, orphans: Sequence[Due], rules: Mapping[str, Rules]
    ) -> dict[Due, list[tuple[str, FoundClick]]]:
        """Ask what the references of orphans may mean, and whom orphans name; who cannot be asked about is left out.

        It takes long where there are many clicks, and is refused to who asks too often: matches do not wait for it.
        """
        clicks: dict[Due, list[tuple[str, FoundClick]]] = {told: [] for told in orphans}
        try:
            await self._find(clicks)
            await self._add_persons(clicks, rules)
        except TrellisError as error:
            _log.warning("clicks that may be meant are looked for later", error=error.message)
            return {}
        return clicks

    async def _find(self, clicks: dict[Due, list[tuple[str, FoundClick]]]) -> None:
        asked = [
            (told, reference)
            for told in clicks
            for reference in told.kept.conversion.click_references[:MOST_REFERENCES_ASKED]
        ]
        for start in range(0, len(asked), 200):
            piece = asked[start : start + 200]
            wanted = [(told.kept.conversion.organization_id, reference) for told, reference in piece]
            answers = await in_pieces(self._links.find_clicks, wanted, refused=lambda _: [])
            for (told, reference), answer in zip(piece, answers, strict=True):
                clicks[told] += [(reference, found) for found in answer]

    async def _add_persons(self, clicks: dict[Due, list[tuple[str, FoundClick]]], rules: Mapping[str, Rules]) -> None:
        """Ask for the last click of the person behind each orphan whose references mean nothing."""
        asked = [
            (told, PersonAsked(told.keys[0], told.kept.conversion.user_id, *look_back(told.kept.conversion, rules)))
            for told, found in clicks.items()
            if not found and told.keys
        ]
        for start in range(0, len(asked), MOST_PERSONS_ASKED):
            piece = asked[start : start + MOST_PERSONS_ASKED]
            answers = await in_pieces(self._links.person_clicks, [each for _, each in piece], refused=lambda _: None)
            for (told, _), touch in zip(piece, answers, strict=True):
                if touch is not None:
                    clicks[told].append(("", FoundClick(PERSON, touch)))

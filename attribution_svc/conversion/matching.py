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
from attribution_svc.conversion.conversion import Conversion
from attribution_svc.conversion.kept import Kept, Match, MatchState, OrphanReason, Suggestion, Touch
from attribution_svc.conversion.pieces import in_pieces
from attribution_svc.conversion.rules import Rules
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
SETTLED_AGAIN = (timedelta(seconds=10), timedelta(minutes=2), timedelta(hours=1), timedelta(days=1))
"""How long after each look a match is looked at again: the reading may learn of a better click meanwhile."""
_FIRST_RETRY = timedelta(seconds=1)
_LONGEST_PENDING_RETRY = timedelta(minutes=1)
_FIRST_ORPHAN_RETRY = timedelta(seconds=5)
_LONGEST_ORPHAN_RETRY = timedelta(hours=12)
_IDLE_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 10.0
_LOOKS_PER_FIND = 4
"""Of an orphan: what may have been meant is asked at every fourth look alone."""
PERSON = "person"
_KINDS = {
    "encoded": OrphanReason.DOUBLE_ENCODED,
    "case": OrphanReason.WRONG_CASE,
    "prefix": OrphanReason.TRUNCATED,
    PERSON: OrphanReason.SAME_PERSON,
}
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventKey:
    """Where the reading has an event."""

    organization_id: str
    event_id: str
    event_time: datetime


@dataclass(frozen=True, slots=True)
class PersonAsked:
    """An event whose person's last click is asked for."""

    key: EventKey
    user_id: str
    after_time: datetime
    before_time: datetime


@dataclass(frozen=True, slots=True)
class Linked:
    """What the reading has of an event."""

    is_read: bool
    """False: nothing, yet."""
    touch: Touch | None
    campaign_id: str
    """Whose the event is."""


@dataclass(frozen=True, slots=True)
class FoundClick:
    """A click that a reference may mean."""

    kind: str
    """`exact`, or in what they differ: `encoded`, `case` or `prefix`; `person`: who clicked is whom the event names."""
    touch: Touch


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
class Due:
    """A conversion that is to be matched."""

    kept: Kept
    keys: tuple[EventKey, ...]
    """Its events, as they were received; that of the accepted click alone where somebody accepted one."""
    match_count: int
    """How often it was looked for and found in the state that it is in."""


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
        orphans = {told for told in due if _is_orphan(told, linked[told], watermark)}
        clicks = await self._clicks([told for told in due if told in orphans and _is_worth_asking(told)], rules)
        now = self._clock.now()
        found = []
        for told in due:
            match = _match(told, linked[told], rules)
            if told in orphans:
                match = _orphan(told, linked[told], clicks.get(told), rules)
            count = told.match_count if match.state is told.kept.match.state else 0
            pause = _pause(match.state, count)
            found.append(Matched(told, match, count + 1, None if pause is None else now + pause))
        changed = await self._store.put_matches(found)
        metrics.conversion_matches.add(changed, {"kind": "changed"})
        metrics.conversion_matches.add(len(found) - changed, {"kind": "same"})
        return len(due)

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
            (told, PersonAsked(told.keys[0], told.kept.conversion.user_id, *_look_back(told.kept.conversion, rules)))
            for told, found in clicks.items()
            if not found and told.keys
        ]
        for start in range(0, len(asked), MOST_PERSONS_ASKED):
            piece = asked[start : start + MOST_PERSONS_ASKED]
            answers = await in_pieces(self._links.person_clicks, [each for _, each in piece], refused=lambda _: None)
            for (told, _), touch in zip(piece, answers, strict=True):
                if touch is not None:
                    clicks[told].append(("", FoundClick(PERSON, touch)))


def _look_back(conversion: Conversion, rules: Mapping[str, Rules]) -> tuple[datetime, datetime]:
    """Return between which instants a click may have led to a conversion."""
    policy = rules.get(conversion.organization_id, Rules()).policy(conversion.conversion_type)
    return conversion.conversion_time - timedelta(days=policy.lookback_days), conversion.conversion_time


def _is_orphan(told: Due, linked: Sequence[Linked], watermark: datetime | None) -> bool:
    """Say whether the reading knows of no click, and not just not yet."""
    if told.kept.match.is_accepted or any(answer.touch for answer in linked):
        return False
    return not _is_waiting(told, linked, watermark)


def _is_waiting(told: Due, linked: Sequence[Linked], watermark: datetime | None) -> bool:
    return any(
        not answer.is_read and (watermark is None or key.event_time >= watermark)
        for key, answer in zip(told.keys, linked, strict=True)
    )


def _is_worth_asking(told: Due) -> bool:
    """Say whether to ask again what an orphan means: the click itself would be known without."""
    return told.kept.match.state is not MatchState.ORPHAN or told.match_count % _LOOKS_PER_FIND == 0


def _match(told: Due, linked: Sequence[Linked], rules: Mapping[str, Rules]) -> Match:
    """Return the click that is known; else what was known before."""
    before, conversion = told.kept.match, told.kept.conversion
    if before.is_accepted:
        return _again(before, linked)
    touch = next((answer.touch for answer in linked if answer.touch), None)
    if touch is not None:
        answer = next(answer for answer in linked if answer.touch)
        return Match(
            MatchState.MATCHED,
            touch=touch,
            campaign_id=answer.campaign_id,
            is_outside_window=is_outside(touch, conversion, rules),
        )
    return before


def _orphan(
    told: Due, linked: Sequence[Linked], clicks: Sequence[tuple[str, FoundClick]] | None, rules: Mapping[str, Rules]
) -> Match:
    """Return what is known of a conversion whose click is not; ``clicks`` is None where nobody was asked now."""
    before = told.kept.match
    campaign_id = next((answer.campaign_id for answer in linked if answer.campaign_id), "")
    if clicks is None and before.state is MatchState.ORPHAN:
        return replace(before, campaign_id=campaign_id)
    reason, suggestions = _explained(told.kept.conversion, clicks or (), rules)
    return Match(MatchState.ORPHAN, reason=reason, campaign_id=campaign_id, suggestions=suggestions)


def _again(before: Match, linked: Sequence[Linked]) -> Match:
    """Keep the click that was accepted, with the campaign that has it now."""
    if before.touch is None or not linked or not linked[0].is_read:
        return before
    campaign_id = linked[0].campaign_id
    return replace(before, campaign_id=campaign_id, touch=replace(before.touch, campaign_id=campaign_id))


def _explained(
    conversion: Conversion, clicks: Sequence[tuple[str, FoundClick]], rules: Mapping[str, Rules]
) -> tuple[str, tuple[Suggestion, ...]]:
    """Return why there is no click, and those that may have been meant."""
    suggestions = []
    for reference, found in clicks:
        reason = _KINDS.get(found.kind)
        if found.kind == "exact" and is_outside(found.touch, conversion, rules):
            reason = OrphanReason.OUTSIDE_WINDOW
        if reason is not None:
            suggestions.append(Suggestion(reason, reference, found.touch))
    if not conversion.click_references:
        has_macro = "literal_macro" in conversion.marks
        return (OrphanReason.LITERAL_MACRO if has_macro else OrphanReason.NO_REFERENCE).value, tuple(suggestions)
    explaining = (told.reason for told in suggestions if told.reason is not OrphanReason.SAME_PERSON)
    return next(explaining, OrphanReason.NEVER_SEEN).value, tuple(suggestions[:5])


def is_outside(touch: Touch, conversion: Conversion, rules: Mapping[str, Rules]) -> bool:
    """Say whether a click is older than the look-back of a conversion's type."""
    policy = rules.get(conversion.organization_id, Rules()).policy(conversion.conversion_type)
    return touch.event_time < conversion.conversion_time - timedelta(days=policy.lookback_days)


def _pause(state: MatchState, count: int) -> timedelta | None:
    """Return how long to wait before the next look; None: until somebody says that something has changed."""
    factor: int = 2 ** min(count, 20)
    match state:
        case MatchState.PENDING:
            return min(_FIRST_RETRY * factor, _LONGEST_PENDING_RETRY)
        case MatchState.ORPHAN:
            return min(_FIRST_ORPHAN_RETRY * factor, _LONGEST_ORPHAN_RETRY)
        case MatchState.MATCHED:
            return SETTLED_AGAIN[count] if count < len(SETTLED_AGAIN) else None

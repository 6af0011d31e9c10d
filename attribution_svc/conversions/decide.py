"""What is known of a conversion's click, by what the reading answered; and when to ask again. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from attribution_svc.conversions.conversion import Conversion
from attribution_svc.conversions.kept import Kept, Match, MatchState, OrphanReason, Suggestion, Touch
from attribution_svc.conversions.rules import Rules

SETTLED_AGAIN = (timedelta(seconds=10), timedelta(minutes=2), timedelta(hours=1), timedelta(days=1))
"""How long after each look a match is looked at again: the reading may learn of a better click meanwhile."""
_FIRST_RETRY = timedelta(seconds=1)
_LONGEST_PENDING_RETRY = timedelta(minutes=1)
_FIRST_ORPHAN_RETRY = timedelta(seconds=5)
_LONGEST_ORPHAN_RETRY = timedelta(hours=12)
_LOOKS_PER_FIND = 4
"""Of an orphan: what may have been meant is asked at every fourth look alone."""
PERSON = "person"
_KINDS = {
    "encoded": OrphanReason.DOUBLE_ENCODED,
    "case": OrphanReason.WRONG_CASE,
    "prefix": OrphanReason.TRUNCATED,
    PERSON: OrphanReason.SAME_PERSON,
}


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


@dataclass(frozen=True, slots=True)
class Due:
    """A conversion that is to be matched."""

    kept: Kept
    keys: tuple[EventKey, ...]
    """Its events, as they were received; that of the accepted click alone where somebody accepted one."""
    match_count: int
    """How often it was looked for and found in the state that it is in."""
    due_time: datetime
    """Since when."""


def look_back(conversion: Conversion, rules: Mapping[str, Rules]) -> tuple[datetime, datetime]:
    """Return between which instants a click may have led to a conversion."""
    policy = rules.get(conversion.organization_id, Rules()).policy(conversion.conversion_type)
    return conversion.conversion_time - timedelta(days=policy.lookback_days), conversion.conversion_time


def is_orphan(told: Due, linked: Sequence[Linked], watermark: datetime | None) -> bool:
    """Say whether the reading knows of no click, and not just not yet."""
    if told.kept.match.is_accepted or any(answer.touch for answer in linked):
        return False
    return not _is_waiting(told, linked, watermark)


def _is_waiting(told: Due, linked: Sequence[Linked], watermark: datetime | None) -> bool:
    return any(
        not answer.is_read and (watermark is None or key.event_time >= watermark)
        for key, answer in zip(told.keys, linked, strict=True)
    )


def is_worth_asking(told: Due) -> bool:
    """Say whether to ask again what an orphan means: the click itself would be known without."""
    return told.kept.match.state is not MatchState.ORPHAN or told.match_count % _LOOKS_PER_FIND == 0


def match_of(told: Due, linked: Sequence[Linked], rules: Mapping[str, Rules]) -> Match:
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


def orphan_of(
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


def pause_of(state: MatchState, count: int) -> timedelta | None:
    """Return how long to wait before the next look; None: until somebody says that something has changed."""
    factor: int = 2 ** min(count, 20)
    match state:
        case MatchState.PENDING:
            return min(_FIRST_RETRY * factor, _LONGEST_PENDING_RETRY)
        case MatchState.ORPHAN:
            return min(_FIRST_ORPHAN_RETRY * factor, _LONGEST_ORPHAN_RETRY)
        case MatchState.MATCHED:
            return SETTLED_AGAIN[count] if count < len(SETTLED_AGAIN) else None

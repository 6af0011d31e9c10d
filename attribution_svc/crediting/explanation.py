"""Why a conversion is credited as it is: each event that could be a touch, in or out, and the split. Pure."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from attribution_svc.crediting.settings import AskedModel
from attribution_svc.models.allocate import Step, allocation_steps
from attribution_svc.models.rules import Rule
from attribution_svc.models.touch import DAY_MS, Conversion, Exclusion, Lookback, Touch, exclusion, journey_of
from svc_runtime.mesh_token import Caller

MOST_TOUCHES = 1_000
"""Of a journey: the last ones."""


@dataclass(frozen=True, slots=True)
class CandidateEvent:
    """An event as the reading has it."""

    event_id: str
    event_time: datetime
    event_type: str
    user_id: str
    session_id: str
    source: str
    medium: str
    channel: str
    campaign_id: str
    campaign_version: int
    dimension_value: str
    is_conversion: bool
    conversion_type: str
    conversion_status: str
    value_micros: int
    currency: str
    is_bot: bool
    is_touch: bool
    touch_event_id: str
    enrichment_version: int
    mapping_versions: tuple[str, ...]

    @property
    def time_ms(self) -> int:
        """Unix milliseconds."""
        return round(self.event_time.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class ConversionCandidates:
    """A conversion and the events around it."""

    conversion: CandidateEvent
    events: tuple[CandidateEvent, ...]
    """In the order of time."""
    has_earlier: bool
    watermark_time: datetime | None
    adjustment_count: int = 0
    """Refunds and their like that changed its value later."""
    adjustment_micros: int = 0

    @property
    def micros(self) -> int:
        """What is split."""
        return self.conversion.value_micros + self.adjustment_micros


class CandidateSource(Protocol):
    """Where conversions and the events around them come from."""

    async def candidates(self, caller: Caller, event_id: str, dimension: str) -> ConversionCandidates:
        """Return a conversion of the caller's organisation.

        Raise InvalidArgumentError (dimension), NotFoundError for an event that is no conversion, UnavailableError.
        """
        ...


class Verdict(enum.Enum):
    """Whether an event is a touch of the conversion."""

    IN = "in"
    AFTER_CONVERSION = "after_conversion"
    TOO_OLD = "too_old"
    OTHER_SESSION = "other_session"
    BOT = "bot"
    CONVERSION = "conversion"
    NO_TOUCH = "no_touch"
    OTHER_VISITOR = "other_visitor"
    OVER_LIMIT = "over_limit"


_OUT = {
    Exclusion.AFTER_CONVERSION: Verdict.AFTER_CONVERSION,
    Exclusion.TOO_OLD: Verdict.TOO_OLD,
    Exclusion.OTHER_SESSION: Verdict.OTHER_SESSION,
}


@dataclass(frozen=True, slots=True)
class ExplainedCandidate:
    """An event and what becomes of it."""

    event: CandidateEvent
    verdict: Verdict
    explanation: str
    is_linked_click: bool
    age_ms: int
    """Before the conversion."""
    weight: int
    """0 for what is no touch."""
    share: float
    step: Step


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole of it."""

    candidates: tuple[ExplainedCandidate, ...]
    weight_sum: int
    """0: nobody is credited."""
    nobody_micros: int


def explained(found: ConversionCandidates, model: AskedModel, rule: Rule, lookback: Lookback) -> Explanation:
    """Credit a conversion by ``rule``, the model's own or what it learned, and say how."""
    converted = found.conversion
    conversion = Conversion(converted.event_id, converted.time_ms, found.micros, "", converted.session_id)
    touches = [_touch(event, place) for place, event in enumerate(found.events)]
    verdicts = [
        _verdict(event, touch, converted, conversion, lookback)
        for event, touch in zip(found.events, touches, strict=True)
    ]
    inside = [place for place, verdict in enumerate(verdicts) if verdict is Verdict.IN]
    for place in inside[:-MOST_TOUCHES]:
        verdicts[place] = Verdict.OVER_LIMIT
    inside = inside[-MOST_TOUCHES:]
    # Not by the verdicts alone: by what reports credit by.
    journey = journey_of(conversion, [touches[place] for place in inside], lookback)
    weights = dict(zip(inside, rule.weights(journey), strict=True))
    total = sum(weights.values())
    steps = _steps(found.micros, list(weights.values()), model)
    by_place = dict(zip(inside, steps, strict=True))
    nothing = Step(0, 0, 0)
    return Explanation(
        tuple(
            ExplainedCandidate(
                event,
                verdict,
                _in_words(event, verdict, converted, lookback),
                event.event_id == converted.touch_event_id,
                conversion.time_ms - event.time_ms,
                weights.get(place, 0),
                (weights.get(place, 0) / total if model.is_additive else float(weights.get(place, 0)))
                if total
                else 0.0,
                by_place.get(place, nothing),
            )
            for place, (event, verdict) in enumerate(zip(found.events, verdicts, strict=True))
        ),
        total,
        0 if total else found.micros,
    )


def _steps(micros: int, weights: Sequence[int], model: AskedModel) -> list[Step]:
    if not any(weights):
        return [Step(0, 0, 0) for _ in weights]
    if model.is_additive:
        return allocation_steps(micros, weights)
    return [Step(micros * weight, 0, 0) for weight in weights]


def _touch(event: CandidateEvent, place: int) -> Touch:
    is_direct = event.source in ("", "direct")
    return Touch(event.event_id, event.time_ms, event.dimension_value, place, is_direct, event.session_id)


def _verdict(
    event: CandidateEvent, touch: Touch, converted: CandidateEvent, conversion: Conversion, lookback: Lookback
) -> Verdict:
    if not converted.user_id or event.user_id != converted.user_id:
        return Verdict.OTHER_VISITOR
    if event.is_bot:
        return Verdict.BOT
    if event.is_conversion:
        return Verdict.CONVERSION
    if not event.is_touch:
        return Verdict.NO_TOUCH
    reason = exclusion(touch, conversion, lookback)
    return Verdict.IN if reason is None else _OUT[reason]


def _in_words(event: CandidateEvent, verdict: Verdict, converted: CandidateEvent, lookback: Lookback) -> str:
    age = converted.event_time - event.event_time
    match verdict:
        case Verdict.IN:
            return f"{_days(age)} before the conversion, within the look-back of {_length(lookback)}"
        case Verdict.AFTER_CONVERSION:
            return f"{_days(-age)} after the conversion"
        case Verdict.TOO_OLD:
            return f"{_days(age)} before the conversion; the look-back is {_length(lookback)}"
        case Verdict.OTHER_SESSION if not converted.session_id:
            return "only touches of the converting session count, and that session is not known"
        case Verdict.OTHER_SESSION:
            return "only touches of the converting session count, and this is of another one"
        case Verdict.BOT:
            return "it is marked as a bot"
        case Verdict.CONVERSION:
            return "it counts as a conversion itself"
        case Verdict.NO_TOUCH:
            return f"it is a {event.event_type}: only clicks and page views are touches"
        case Verdict.OTHER_VISITOR if not converted.user_id:
            return "whose conversion it is is not known, so it has no journey"
        case Verdict.OTHER_VISITOR:
            return "another visitor did it, or nobody known"
        case Verdict.OVER_LIMIT:
            return f"of a journey only the last {MOST_TOUCHES:,} touches count"


def _days(age: timedelta) -> str:
    return f"{age / timedelta(days=1):.4g} days"


def _length(lookback: Lookback) -> str:
    return "any age" if lookback.milliseconds is None else f"{lookback.milliseconds / DAY_MS:g} days"

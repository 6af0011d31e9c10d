"""Between the contract's messages and the domain: the attribution of one visitor."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from attribution_svc.crediting.visitor import Attribution, Visitor
from attribution_svc.models.registry import rule_named
from attribution_svc.models.rules import Rule
from attribution_svc.models.touch import Lookback
from enrichment.money import read_currency
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import attribution_service_pb2 as pb

DEFAULT_LOOKBACK = timedelta(days=30)
DEFAULT_RANGE = timedelta(days=90)
LONGEST = timedelta(days=3650)
DEFAULT_MODEL = "last_touch"


@dataclass(frozen=True, slots=True)
class JourneyQuestion:
    """Which visitor, and how to credit."""

    user_id: str
    click_id: str
    model: str
    rule: Rule
    lookback: Lookback
    start_time: datetime
    end_time: datetime
    earliest_time: datetime
    """Touches may be that old."""
    currency: str


def question_from_pb(request: pb.AttributeJourneyRequest, *, now: datetime) -> JourneyQuestion:
    """Read what is asked; raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    if bool(request.user_id) == bool(request.click_id):
        violations.append(Violation("user_id", "or click_id is required, one of them"))
    lookback = request.lookback.ToTimedelta() if request.HasField("lookback") else DEFAULT_LOOKBACK
    if not timedelta(0) < lookback <= LONGEST:
        violations.append(Violation("lookback", f"is {lookback}, must be above 0 and at most {LONGEST.days} days"))
        lookback = DEFAULT_LOOKBACK
    time_range = request.time_range
    end = time_range.end_time.ToDatetime(UTC) if time_range.HasField("end_time") else now
    start = time_range.start_time.ToDatetime(UTC) if time_range.HasField("start_time") else end - DEFAULT_RANGE
    if not start < end:
        violations.append(Violation("time_range", f"ends at {end:%FT%TZ}, not after its start {start:%FT%TZ}"))
    elif end - start > LONGEST - lookback:
        violations.append(Violation("time_range", f"is {(end - start).days} days; the limit is {LONGEST.days} in all"))
    currency = ""
    if request.currency and not (currency := read_currency(request.currency.encode()) or ""):
        violations.append(Violation("currency", f"{request.currency[:20]!r} is no ISO 4217 code"))
    model = request.model or DEFAULT_MODEL
    rule = None
    try:
        rule = rule_named(model, dict(request.parameters))
    except InvalidArgumentError as error:
        violations += error.violations
    if violations or rule is None:
        raise InvalidArgumentError.of(violations)
    return JourneyQuestion(
        request.user_id,
        request.click_id,
        model,
        rule,
        Lookback(round(lookback.total_seconds() * 1000)),
        start,
        end,
        start - lookback,
        currency,
    )


def attribution_to_pb(visitor: Visitor, model: str, found: Attribution) -> pb.AttributeJourneyResponse:
    """Write the credits."""
    response = pb.AttributeJourneyResponse(
        user_id=visitor.user_id,
        model=model,
        total_micros=found.total_micros,
        currency=found.currency,
        conversion_count=found.conversion_count,
        nobody_micros=found.nobody_micros,
        insights=found.insights,
        touchpoints=[
            pb.Touchpoint(
                event_id=point.event.event_id,
                event_time=timestamp_of(point.event.event_time),
                source=point.event.source,
                medium=point.event.medium,
                channel=point.event.channel,
                campaign_id=point.event.campaign_id,
                days_before_conversion=point.days_before_conversion,
                value_micros=point.value_micros,
                percent=point.percent,
            )
            for point in found.touchpoints
        ],
    )
    if visitor.watermark_time is not None:
        response.watermark_time.FromDatetime(visitor.watermark_time)
    return response

"""What a claim would change: counted in one scan of the organisation's events, and a few of them shown by another."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from analytics_svc.claims.claim import ActiveClaims, Claim, MadeClaim
from analytics_svc.claims.match import compile_candidates
from analytics_svc.metric import unique
from analytics_svc.statement import ORGANIZATION, Statement
from analytics_svc.store import ReadingReader
from analytics_svc.store.touches import NIL, TAKES_TRAFFIC

MOST_SAMPLES = 20
MOST_CAMPAIGNS = 1000
_MICROS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_EARNED = "(is_conversion = 1 OR is_adjustment = 1) AND isNotNull(value)"
_COUNTED = {
    "day": "toDate(event_time, 'UTC')",
    "user": "toString(user_id)",
    "counts": "is_conversion = 1",
    "money": f"toString(if({_EARNED}, currency, ''))",
    "amount": f"toDecimal128(if({_EARNED}, assumeNotNull(value), 0), 6)",
}
_DIRECT = [f"{text} AS {name}" for name, text in {**_COUNTED, "is_click": "event_type = 'click'"}.items()]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much."""

    events: int = 0
    clicks: int = 0
    conversions: int = 0
    missing: int = 0
    """Events that match only because a field that a rule asks for is not there, or empty."""
    users: int = 0
    amounts: Mapping[str, int] = field(default_factory=dict)
    """Micros by currency."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An event that would come to the campaign."""

    event_id: str
    event_time: datetime
    event_type: str
    url: str
    referer: str
    source: str
    campaign_id: str
    """Whose it is now."""
    rule_id: str


@dataclass(frozen=True, slots=True)
class ClaimPreview:
    """What a claim would change."""

    total: Counts
    taken_from: Sequence[tuple[str, Counts]]
    """By campaign, the most events first."""
    days: Sequence[tuple[date, Counts]]
    """By UTC day, in order."""
    rules: Sequence[tuple[str, int]]
    """Events by rule, in the order of the claim."""
    samples: Sequence[Sample]
    kept_by_others: int
    watermark_time: datetime | None


class ClaimPreviews:
    """Says what claims would change."""

    def __init__(
        self,
        reader: ReadingReader,
        active_claims: Callable[[], Awaitable[ActiveClaims]],
        *,
        watermark: Callable[[], datetime | None],
    ) -> None:
        self._reader = reader
        self._active_claims = active_claims
        self._watermark = watermark

    async def preview(self, claim: Claim, *, organization_id: str) -> ClaimPreview:
        """Count what would come to the claim's campaign. Raise QueryLimitError, RateLimitedError, UnavailableError."""
        watermark_time = self._watermark()
        holding = (await self._active_claims()).get(organization_id, ())
        counted = await self._reader.rows(compile_counts(claim, organization_id, holding))
        samples = await self._reader.rows(compile_samples(claim, organization_id, holding))
        return _preview(claim, counted.rows, [_sample(claim, row) for row in samples.rows], watermark_time)


def compile_counts(claim: Claim, organization_id: str, holding: Sequence[MadeClaim]) -> Statement:
    """Compile the question how much a claim would bring.

    Columns: what the row is by (day, holder, rule: each 1 or 0), whether the claim would have it, the day, holder, rule
    and currency, events, clicks, conversions, events for a missing field, visitors, and the value.
    """
    columns = ("events.event_id AS event_id", *_DIRECT)
    candidates = compile_candidates(claim, organization_id, holding, columns, finds_missing=True)
    own = f"organization_id = {{{ORGANIZATION}:String}}"
    followers = ", ".join(f"{text} AS {name}" for name, text in _COUNTED.items())
    sql = f"""WITH direct AS (SELECT *, toUInt8(may_take AND gives_way) AS takes FROM ({candidates.sql}))
SELECT grouping(day) = 0, grouping(holder) = 0, grouping(rule) = 0, takes, day, holder, rule, money,
    count(), countIf(is_click), countIf(counts), countIf(is_missing), {unique("If")}(user, user != ''), sum(amount)
FROM (
    SELECT takes, rule, holder, is_missing, is_click, {", ".join(_COUNTED)} FROM direct
    UNION ALL
    SELECT 1, c.rule, c.holder, c.is_missing, 0, {", ".join(f"f.{name}" for name in _COUNTED)}
    FROM (
        SELECT touch_event_id, {followers} FROM events PREWHERE {own} AND touch_event_id != {NIL} WHERE {TAKES_TRAFFIC}
    ) AS f
    INNER JOIN (SELECT event_id, rule, holder, is_missing FROM direct WHERE takes) AS c
    ON c.event_id = f.touch_event_id
)
GROUP BY GROUPING SETS ((takes), (takes, day, money), (takes, holder), (takes, rule))"""  # noqa: S608 - our own text
    return Statement(sql, candidates.parameters)


def compile_samples(claim: Claim, organization_id: str, holding: Sequence[MadeClaim]) -> Statement:
    """Compile the question for the last events that a claim would bring."""
    columns = ("events.event_id AS event_id", "event_time", "event_type", "url", "referer", "source")
    candidates = compile_candidates(claim, organization_id, holding, columns)
    sql = (
        "SELECT toString(event_id), toUnixTimestamp64Milli(event_time), event_type, url, referer, source, holder, rule"  # noqa: S608 - our own text
        f" FROM ({candidates.sql}) WHERE may_take AND gives_way"
        f" ORDER BY event_time DESC, event_id LIMIT {MOST_SAMPLES}"
    )
    return Statement(sql, candidates.parameters)


def _preview(
    claim: Claim, rows: Sequence[Sequence[Any]], samples: Sequence[Sample], watermark_time: datetime | None
) -> ClaimPreview:
    total, kept = Counts(), 0
    days: dict[date, Counts] = {}
    holders: dict[str, Counts] = {}
    rules: dict[int, int] = {}
    amounts: dict[str, int] = {}
    for is_day, is_holder, is_rule, takes, day, holder, rule, money, *numbers in rows:
        counts = Counts(*numbers[:5])
        micros = int(Decimal(str(numbers[5])) * _MICROS)
        if not takes:
            kept += 0 if is_day or is_holder or is_rule else counts.events
        elif is_day:
            days[day] = _added(days.get(day, Counts()), counts, money, micros)
            if money:
                amounts[money] = amounts.get(money, 0) + micros
        elif is_holder:
            holders[holder] = counts
        elif is_rule:
            rules[rule] = counts.events
        else:
            total = counts
    taken_from = sorted(holders.items(), key=lambda item: (-item[1].events, item[0]))[:MOST_CAMPAIGNS]
    numbers_of_rules = range(1, len(claim.rules) + 1 + bool(claim.slug))
    return ClaimPreview(
        replace(total, amounts=amounts),
        taken_from,
        sorted(days.items()),
        [(claim.rule_of(number).rule_id, rules.get(number, 0)) for number in numbers_of_rules],
        samples,
        kept,
        watermark_time,
    )


def _added(counts: Counts, more: Counts, money: str, micros: int) -> Counts:
    """Add up a day, of which each currency has a row."""
    return Counts(
        counts.events + more.events,
        counts.clicks + more.clicks,
        counts.conversions + more.conversions,
        amounts={**counts.amounts, **({money: micros} if money else {})},
    )


def _sample(claim: Claim, row: Sequence[Any]) -> Sample:
    event_id, time_ms, event_type, url, referer, source, holder, rule = row
    time = _EPOCH + time_ms * _MILLISECOND
    return Sample(event_id, time, event_type, url, referer, source, holder, claim.rule_of(rule).rule_id)

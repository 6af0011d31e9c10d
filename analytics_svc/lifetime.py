"""How long an answer stays true: days that are over change seldom, and the store tells when."""

from datetime import UTC, date, datetime, timedelta

from analytics_svc.cache import Kept
from analytics_svc.slice import Slice
from analytics_svc.statement import ORGANIZATION, Statement
from analytics_svc.store import ReadingReader

SETTLED_SECONDS = 3000.0
"""How long an answer about days that are over is kept. Shorter than the store remembers what was changed."""
FRESH_SECONDS = 3.0
_FRESH_MS = 2000
_REMEMBERED = timedelta(hours=1)
_MILLISECOND = timedelta(milliseconds=1)


async def kept_under(
    reader: ReadingReader, question: object, reach: Slice, *, watermark_time: datetime | None, now: datetime
) -> Kept:
    """Decide what an answer is kept under, and for how long. ``reach`` is all that it depends on."""
    if watermark_time is None or reach.end_time > _day_of(watermark_time):
        moment = 0 if watermark_time is None else int(watermark_time.timestamp() * 1000) // _FRESH_MS
        return Kept(reach.organization_id, question, ("fresh", moment), FRESH_SECONDS)
    days = reach.start_time.astimezone(UTC).date(), (reach.end_time - _MILLISECOND).astimezone(UTC).date()
    statement = compile_version(reach.organization_id, days, since=now - _REMEMBERED)
    (row,) = (await reader.rows(statement)).rows
    return Kept(reach.organization_id, question, ("settled", tuple(map(str, row))), SETTLED_SECONDS)


def compile_version(organization_id: str, days: tuple[date, date], *, since: datetime) -> Statement:
    """Compile the question which reading of an organisation's days, both inside, there is: one row of any values.

    The row changes when events of these days are added, taken away, or changed at or after ``since``.
    """
    own = f"organization_id = {{{ORGANIZATION}:String}}"
    sql = f"""SELECT
    (SELECT sipHash64(sum(events), sum(clicks), sum(conversions), sum(revenue), sum(cost)) FROM rollup_day
        PREWHERE {own} AND dimension = '' AND day >= {{first:Date}} AND day <= {{last:Date}}),
    (SELECT sum(sipHash64(intent_id, is_done)) FROM intents
        PREWHERE intent_time >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
        WHERE has(organization_ids, {{{ORGANIZATION}:String}})
            AND arrayExists(day -> day >= {{first:Date}} AND day <= {{last:Date}}, days)),
    (SELECT count() FROM mapping_activations WHERE {own}),
    (SELECT sum(sipHash64(operation_id, revision)) FROM operations
        WHERE organization_id IN ('', {{{ORGANIZATION}:String}}))"""  # noqa: S608 - our own text
    return Statement(
        sql,
        {
            ORGANIZATION: organization_id,
            "first": days[0],
            "last": days[1],
            "since_ms": int(since.timestamp() * 1000),
        },
    )


def _day_of(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

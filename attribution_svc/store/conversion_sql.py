"""The statements of the store of conversions."""

from typing import Any

from attribution_svc.conversions.book import Place, Wanted
from attribution_svc.store.conversion_rows import CONVERSION_FIELDS, EVENT_FIELDS

_EVENT_COLUMNS = ", ".join((*EVENT_FIELDS, "group_key", "is_beyond"))
_OWN_COLUMNS = (*CONVERSION_FIELDS, "merged_into")
_CONVERSION_COLUMNS = ", ".join(_OWN_COLUMNS)
_REPLACED = ", ".join(f"{name} = excluded.{name}" for name in _OWN_COLUMNS if name not in CONVERSION_FIELDS[:2])

BOOKMARK = "SELECT cursor, watermark_time FROM conversion_feed WHERE follower = $1"
MOVE_BOOKMARK = "UPDATE conversion_feed SET cursor = $3, watermark_time = $4 WHERE follower = $1 AND cursor = $2"
ADD_EVENTS = f"""
INSERT INTO conversion_events ({_EVENT_COLUMNS})
SELECT {_EVENT_COLUMNS} FROM json_populate_recordset(NULL::conversion_events, $1::json)
ON CONFLICT DO NOTHING RETURNING organization_id, event_id
"""  # noqa: S608 - the columns are ours
EVENTS_BY_ID = """
SELECT * FROM conversion_events WHERE organization_id = $1 AND event_id = ANY($2::text[])
ORDER BY event_time, event_id
"""
# Each group by the index, whatever the planner knows of a table that has just begun to fill.
EVENTS_OF_GROUPS = """
SELECT e.* FROM unnest($1::text[], $2::text[]) AS wanted (organization_id, group_key) CROSS JOIN LATERAL (
    SELECT * FROM conversion_events e
    WHERE e.organization_id = wanted.organization_id AND e.group_key = wanted.group_key AND NOT e.is_beyond OFFSET 0
) e
"""
CONVERSIONS_OF_GROUPS = """
SELECT c.* FROM unnest($1::text[], $2::text[]) AS wanted (organization_id, group_key) CROSS JOIN LATERAL (
    SELECT * FROM conversions c
    WHERE c.organization_id = wanted.organization_id AND c.group_key = wanted.group_key OFFSET 0
) c
"""
TOLD_OF_GROUPS = """
SELECT e.group_key, v.* FROM unnest($1::text[], $2::text[]) AS wanted (organization_id, group_key) CROSS JOIN LATERAL (
    SELECT e.organization_id, e.event_id, e.group_key FROM conversion_events e
    WHERE e.organization_id = wanted.organization_id AND e.group_key = wanted.group_key OFFSET 0
) e JOIN conversion_verdicts v ON v.organization_id = e.organization_id AND v.event_id = e.event_id
"""
_IS_SETTLED = "conversions.match_state = 'matched' AND conversions.merged_into = ''"
# What it says of its click has changed, its first click is yet to be found, or nobody looked while it was part of
# another: it is looked for at once.
PUT_CONVERSIONS = f"""
INSERT INTO conversions ({_CONVERSION_COLUMNS})
SELECT {_CONVERSION_COLUMNS} FROM json_populate_recordset(NULL::conversions, $1::json)
ON CONFLICT (organization_id, conversion_id) DO UPDATE
SET {_REPLACED}, revision = conversions.revision + 1, update_time = now(),
    match_count = CASE WHEN {_IS_SETTLED} THEN conversions.match_count ELSE 0 END,
    next_match_time = CASE WHEN excluded.merged_into <> '' THEN NULL
        WHEN {_IS_SETTLED} THEN conversions.next_match_time ELSE now() END
"""  # noqa: S608 - as above
ADD_CLICKS = """
INSERT INTO conversion_clicks (organization_id, reference, conversion_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING
"""
ADD_CHANGES = """
INSERT INTO conversion_changes (organization_id, conversion_id, kind, before, after)
SELECT told ->> 'organization_id', told ->> 'conversion_id', told ->> 'kind',
       nullif(told -> 'before', 'null'), told -> 'after'
FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS given (told, place) ORDER BY place
"""
# A verdict of a database that was restored to an older day must still be newer than what the reading has.
PUT_VERDICTS = """
INSERT INTO conversion_verdicts (organization_id, event_id, event_time, is_conversion, is_adjustment, value_micros,
                                 currency, status, revision)
SELECT organization_id, event_id, event_time, is_conversion, is_adjustment, value_micros, currency, status,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM json_populate_recordset(NULL::conversion_verdicts, $1::json)
ON CONFLICT (organization_id, event_id) DO UPDATE
SET is_conversion = excluded.is_conversion, is_adjustment = excluded.is_adjustment,
    value_micros = excluded.value_micros, currency = excluded.currency, status = excluded.status,
    revision = greatest(conversion_verdicts.revision + 1, excluded.revision)
"""
RULES = """
SELECT DISTINCT ON (organization_id) organization_id, version, policies, vocabularies, currencies FROM conversion_rules
WHERE organization_id = ANY($1::text[]) ORDER BY organization_id, version DESC
"""
GET = "SELECT * FROM conversions WHERE organization_id = $1 AND conversion_id = $2"


def list_page(organization_id: str, wanted: Wanted, *, after: Place | None, limit: int) -> tuple[str, list[Any]]:
    """Return the statement of a page, and its arguments: only what is asked for is in it, so that an index serves."""
    arguments: list[Any] = [organization_id]
    conditions = ["organization_id = $1", "merged_into = ''"]

    def when(is_given: bool, condition: str, *values: Any) -> None:
        if is_given:
            numbers = range(len(arguments) + 1, len(arguments) + 1 + len(values))
            conditions.append(condition.format(*(f"${number}" for number in numbers)))
            arguments.extend(values)

    when(wanted.start_time is not None, "create_time >= {}", wanted.start_time)
    when(wanted.end_time is not None, "create_time < {}", wanted.end_time)
    when(bool(wanted.conversion_type), "{0} IN (conversion_type, event_type)", wanted.conversion_type)
    when(wanted.status is not None, "status = {}", wanted.status)
    when(bool(wanted.campaign_id), "campaign_id = {}", wanted.campaign_id)
    when(bool(wanted.order_id), "group_key = 'o:' || {}::text", wanted.order_id)
    when(bool(wanted.orphan_reason), "match_state = 'orphan' AND orphan_reason = {}", wanted.orphan_reason)
    when(wanted.is_orphan is True, "match_state = 'orphan'")
    when(wanted.is_orphan is False, "match_state <> 'orphan'")
    when(wanted.is_test is not None, "is_test = {}", wanted.is_test)
    when(
        bool(wanted.click_id),
        "conversion_id IN (SELECT conversion_id FROM conversion_clicks WHERE organization_id = $1 AND reference = {})",
        wanted.click_id,
    )
    if after is not None:
        when(True, "(create_time, conversion_id) < ({}, {}::text)", after.create_time, after.conversion_id)
    where = " AND ".join(conditions)
    arguments.append(limit)
    order = f"ORDER BY create_time DESC, conversion_id DESC LIMIT ${len(arguments)}"
    return f"SELECT * FROM conversions WHERE {where} {order}", arguments  # noqa: S608 - all values are arguments

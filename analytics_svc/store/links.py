"""Finding the clicks of conversions: of new ones, and of older ones for which a click came now."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics_svc.store.touches import (
    CAMPAIGN,
    CONVERSION,
    IDS,
    NIL,
    REFERENCES,
    TAKEN,
    TAKES_TRAFFIC,
    key_of,
    linked_values,
    own_values,
)

if TYPE_CHECKING:
    from analytics_svc.store.settling import Page, Settling

_IDS_KEYS = f"arrayMap(id -> {key_of('id')}, {IDS})"
REFERENCE_KEYS = f"arrayMap(id -> {key_of('id')}, {REFERENCES})"
_CLICK_NAMES = (
    "organization_id",
    "event_id",
    "event_time",
    "click_id",
    "external_click_id",
    "session_id",
    "routed",
    *TAKEN,
)
_CLICK_COLUMNS = ", ".join(_CLICK_NAMES)
_CONVERSION_KEYS = "organization_id, event_id, event_time, is_new, was, route, conversion_time, references"
_CONVERSION_COLUMNS = ", ".join((_CONVERSION_KEYS, "tags", *TAKEN))
# Of several clicks at one instant the one with the lowest id, whatever the order in which they came.
_TOUCHES = f"""
INSERT INTO <touches>
SELECT organization_id, c.event_id, any(c.event_time), any(c.is_new), any(c.was), any(c.user_id),
    argMin(k.event_id, (
        c.place, k.event_time > c.at, if(k.event_time > c.at, 1, -1) * toUnixTimestamp64Milli(k.event_time),
        toString(k.event_id)
    )) AS found
FROM (
    SELECT organization_id, event_id, event_time, is_new, was, user_id,
        least(event_time, ifNull(conversion_time, event_time)) AS at, reference AS id, place
    FROM <conversions> ARRAY JOIN references AS reference, arrayEnumerate(references) AS place
    WHERE reference != ''
) AS c
INNER JOIN (SELECT organization_id, event_id, event_time, arrayJoin({IDS}) AS id FROM <clicks>) AS k
USING (organization_id, id)
GROUP BY organization_id, c.event_id
HAVING any(c.is_new) OR found != any(c.was)
"""  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class Touches:
    """What is in ``touches``."""

    has_new: bool
    has_older: bool


def keep_keys(settling: "Settling", page: "Page") -> None:
    """Keep where the page's clicks and conversions are found by their ids. Comes before its rows are seen."""
    for table, keys, where, count in (
        ("click_keys", _IDS_KEYS, "event_type = 'click'", page.click_count),
        ("reference_keys", REFERENCE_KEYS, CONVERSION, page.reference_count),
    ):
        if count:
            settling.run(
                f"INSERT INTO {table} SELECT DISTINCT arrayJoin({keys}) AS key, event_time FROM <staged> WHERE {where}"  # noqa: S608 - our own text
            )


def find_touches(settling: "Settling", page: "Page") -> Touches:
    """Fill ``touches``."""
    if page.reference_count:
        _gather_new(settling)
    has_older = bool(page.click_count) and _gather_older(settling, page)
    if not page.reference_count and not has_older:
        return Touches(has_new=False, has_older=False)
    _gather_clicks(settling, page)
    settling.run(_TOUCHES)
    new, older = settling.rows("SELECT countIf(is_new = 1), countIf(is_new = 0) FROM <touches>")[0]
    return Touches(has_new=bool(new), has_older=bool(older))


def _gather_new(settling: "Settling") -> None:
    """Add the page's own; what they are apart from their references stays with the page."""
    settling.run(
        f"INSERT INTO <conversions> ({_CONVERSION_KEYS})"  # noqa: S608 - our own text
        f" SELECT organization_id, event_id, event_time, 1, {NIL}, route, conversion_time, references"
        f" FROM <staged> WHERE {CONVERSION} AND notEmpty(references)"
    )


def _gather_older(settling: "Settling", page: "Page") -> bool:
    keys = f"SELECT arrayJoin({_IDS_KEYS}) FROM <staged> WHERE event_type = 'click'"  # noqa: S608 - our own text
    found = settling.rows(
        f"SELECT DISTINCT toUnixTimestamp64Milli(event_time) FROM reference_keys WHERE key IN ({keys})"  # noqa: S608 - our own text
    )
    if not found:
        return False
    if settling.far_table:
        settling.run(
            f"INSERT INTO {settling.far_table}"
            " SELECT fromUnixTimestamp64Milli(arrayJoin({times:Array(Int64)}), 'UTC')",
            {"times": [row[0] for row in found]},
        )
    own = own_values()
    columns = ", ".join(own[name] for name in ("tags", *TAKEN))
    before = settling.count("conversions")
    for source in settling.changing:
        settling.run(
            f"INSERT INTO <conversions> ({_CONVERSION_COLUMNS})"  # noqa: S608 - our own text
            f" SELECT organization_id, event_id, event_time, 0, touch_event_id, route, conversion_time, references,"
            f" {columns} FROM {source.table}"
            " PREWHERE organization_id IN {organizations:Array(String)} AND event_time IN ("
            " SELECT fromUnixTimestamp64Milli(arrayJoin({times:Array(Int64)}), 'UTC'))"
            f" WHERE {CONVERSION} AND notEmpty(references) AND {source.where} AND {settling.is_older}",
            {"organizations": page.organization_ids, "times": [row[0] for row in found]},
        )
    return settling.count("conversions") > before


def _gather_clicks(settling: "Settling", page: "Page") -> None:
    keys = f"(SELECT arrayJoin({REFERENCE_KEYS}) FROM <conversions>)"  # noqa: S608 - our own text
    where = (
        f"event_type = 'click' AND ((click_id != '' AND {key_of('click_id')} IN {keys})"
        f" OR (external_click_id != '' AND {key_of('external_click_id')} IN {keys}))"
    )
    clicks = [
        f"SELECT {_CLICK_COLUMNS} FROM {source.table}"  # noqa: S608 - our own text
        " PREWHERE organization_id IN {organizations:Array(String)}"
        f" AND event_time IN (SELECT event_time FROM click_keys WHERE key IN {keys})"
        f" WHERE {where} AND {source.where} AND {settling.is_older}"
        for source in settling.sources
    ]
    if page.click_count:
        clicks.append(f"SELECT {_CLICK_COLUMNS} FROM <staged> WHERE {where}")  # noqa: S608 - our own text
    settling.run(
        f"INSERT INTO <clicks> ({_CLICK_COLUMNS}) " + " UNION ALL ".join(clicks),
        {"organizations": page.organization_ids},
    )


def linked_rows(rows: str, touches: str, columns: str) -> str:
    """Return the SELECT of the linked ones among ``rows``: ``columns`` over ``c``, its click ``k`` and its session."""
    return (
        f"SELECT {columns} FROM {rows} AS c"  # noqa: S608 - our own text
        f" INNER JOIN {touches} AS t ON t.event_id = c.event_id"
        " INNER JOIN <clicks> AS k ON k.event_id = t.touch_event_id"
        " LEFT ANY JOIN (SELECT event_id, session_id FROM <sessions>) AS s ON s.event_id = t.touch_event_id"
    )


SESSION_OF_CLICK = "if(s.session_id != '', s.session_id, k.session_id)"


def relink(settling: "Settling") -> None:
    """Fill ``relinked``: older conversions that have another click now, and what they take from it."""
    values = linked_values(SESSION_OF_CLICK)
    names = ["organization_id", "event_id", "event_time", *values]
    columns = ", ".join(("c.organization_id", "c.event_id", "c.event_time", *values.values()))
    older = "(SELECT event_id, touch_event_id FROM <touches> WHERE is_new = 0)"
    settling.run(f"INSERT INTO <relinked> ({', '.join(names)}) " + linked_rows("<conversions>", older, columns))


def follow_clicks(settling: "Settling", page: "Page") -> None:
    """Add to ``renamed`` the older conversions of clicks that are in another session now."""
    # Of rows that are settled again we cannot know.
    moved = "1" if settling.is_again else "is_new = 0"
    found: set[object] = set()
    for source in settling.changing:
        keys = settling.rows(
            f"SELECT arrayJoin({_IDS_KEYS}) FROM {source.table}"  # noqa: S608 - our own text
            " PREWHERE organization_id IN {organizations:Array(String)}"
            f" AND event_time IN (SELECT event_time FROM <sessions> WHERE {moved})"
            f" WHERE event_type = 'click' AND event_id IN (SELECT event_id FROM <sessions> WHERE {moved})",
            {"organizations": page.organization_ids},
        )
        found.update(row[0] for row in keys)
    if not found:
        return
    for source in settling.changing:
        settling.run(
            "INSERT INTO <renamed> (organization_id, event_id, event_time, session_id)"  # noqa: S608 - our own text
            " SELECT c.organization_id, c.event_id, c.event_time, s.session_id FROM ("
            f"  SELECT organization_id, event_id, event_time, touch_event_id, session_id FROM {source.table}"
            "   PREWHERE organization_id IN {organizations:Array(String)} AND event_time IN ("
            "    SELECT event_time FROM reference_keys WHERE key IN {keys:Array(UInt64)})"
            f"  WHERE touch_event_id IN (SELECT event_id FROM <sessions> WHERE {moved}) AND {source.where}"
            f"    AND {settling.is_older}"
            "    AND event_id NOT IN (SELECT event_id FROM <touches>)"
            " ) AS c INNER JOIN <sessions> AS s ON s.event_id = c.touch_event_id WHERE s.session_id != c.session_id",
            {"organizations": page.organization_ids, "keys": sorted(found, key=str)},
        )


def follow_campaigns(settling: "Settling", page: "Page") -> None:
    """Fill ``reassigned``: the older conversions of staged clicks that have another campaign than these."""
    if not page.click_count:
        return
    columns = (*CAMPAIGN, "routed")
    taken = ", ".join(columns)
    differ = " OR ".join(f"c.{name} != k.{name}" for name in columns)
    keys = f"SELECT arrayJoin({_IDS_KEYS}) FROM <staged> WHERE event_type = 'click'"  # noqa: S608 - our own text
    for source in settling.changing:
        settling.run(
            f"INSERT INTO <reassigned> (organization_id, event_id, event_time, {taken})"  # noqa: S608 - our own text
            f" SELECT c.organization_id, c.event_id, c.event_time, {', '.join(f'k.{name}' for name in columns)} FROM ("
            f"  SELECT organization_id, event_id, event_time, touch_event_id, {taken} FROM {source.table}"
            "   PREWHERE organization_id IN {organizations:Array(String)} AND event_time IN ("
            f"    SELECT event_time FROM reference_keys WHERE key IN ({keys}))"
            f"  WHERE touch_event_id IN (SELECT event_id FROM <staged>) AND {TAKES_TRAFFIC} AND {source.where}"
            f"    AND {settling.is_older} AND event_id NOT IN (SELECT event_id FROM <touches>)"
            " ) AS c INNER JOIN ("
            f"  SELECT event_id, {', '.join(CAMPAIGN)}, arraySlice(routed, 1, 3) AS routed FROM <staged>"
            "  WHERE event_type = 'click'"
            f" ) AS k ON k.event_id = c.touch_event_id WHERE {differ}",
            {"organizations": page.organization_ids},
        )

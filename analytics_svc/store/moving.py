"""Changing what rows of ``events`` say of campaigns or conversions, and everything that counts them.

Rows that change are gathered once, as they are and as they are to be. Then, after an intent with their days: the rows
themselves, which readers see all the time, as they were or as they are; the sums, by what is taken off and added; who
was there by campaign, of which the campaigns that lose are counted anew.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from analytics_svc.store import rollups
from analytics_svc.store.intents import close_intent, open_intent
from analytics_svc.store.overlay import ACTIVE, TOLD_OF, VERDICT_VALUES, winners
from analytics_svc.store.touches import CAMPAIGN, JUDGED, NIL, TAKES_TRAFFIC, own_values

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_ROWS, _CHANGES, _WINNERS = "moved_rows", "moved_changes", "moved_winners"
_SUBJECT = f"if(touch_event_id = {NIL}, event_id, touch_event_id)"
_NO_DEDUPLICATION = {"insert_deduplicate": "0"}
_CAMPAIGN_COLUMNS = (*CAMPAIGN, "tags", "routed")
MOST_AT_ONCE = 1_000_000
"""Assigned events that are moved together: their rows are held in memory."""


def spans_of(
    client: "Client", organization_id: str, campaign_id: str, versions: Sequence[int]
) -> list[tuple[int, int]]:
    """Return, as Unix milliseconds with both ends inside, spans with not too many events of these versions."""
    rows = client.query(
        "SELECT toUnixTimestamp64Milli(min(event_time)), toUnixTimestamp64Milli(max(event_time)), count()"  # noqa: S608 - our own text
        f" FROM claim_assignments WHERE {_OF_VERSIONS} GROUP BY toStartOfHour(event_time) ORDER BY 1",
        parameters=_versions(organization_id, campaign_id, versions),
    ).result_rows
    spans: list[tuple[int, int]] = []
    total = 0
    for first, last, count in rows:
        if spans and total + count <= MOST_AT_ONCE:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
            total = 0
        total += count
    return spans


def move_claimed(
    client: "Client", organization_id: str, campaign_id: str, versions: Sequence[int], span: tuple[int, int]
) -> int:
    """Give the events that these versions of a claim may have, in a span, to whoever has them now; return how many.

    And the conversions that follow them. Can be done again after a crash. Nobody else writes meanwhile.
    """
    values = {
        **_versions(organization_id, campaign_id, versions),
        "span_start": span[0],
        "span_end": span[1],
        "organizations": [organization_id],
    }
    subjects = (
        f"SELECT event_id FROM claim_assignments WHERE {_OF_VERSIONS}"  # noqa: S608 - our own text
        " AND event_time >= fromUnixTimestamp64Milli({span_start:Int64}, 'UTC')"
        " AND event_time <= fromUnixTimestamp64Milli({span_end:Int64}, 'UTC')"
    )
    own = "organization_id = {organization:String}"
    active = ACTIVE.format(where=own)
    chosen = (
        f"{own} AND (campaign_id, version) IN (SELECT campaign_id, version FROM ({active}))"  # noqa: S608
        f" AND event_id IN ({subjects})"
    )
    client.command(
        f"CREATE OR REPLACE TABLE {_WINNERS} ENGINE = Memory AS {winners(active, chosen)}", parameters=values
    )
    routed = [f"routed_{name}" for name in CAMPAIGN]
    new = {
        **{name: f"if(w.campaign_id != '', w.{name}, {old})" for name, old in zip(CAMPAIGN, routed, strict=True)},
        "tags": "if(w.campaign_id != '' AND NOT is_following, w.tags, own_tags)",
        "routed": (
            f"if(w.campaign_id = '', [], arrayConcat([{', '.join(f'toString({name})' for name in routed)}],"
            " if(is_following, [], own_tags)))"
        ),
    }
    rows = (
        f"SELECT event_id, {', '.join(_columns(_CAMPAIGN_COLUMNS))}, {', '.join(routed)}, {_SUBJECT} AS subject,"  # noqa: S608 - our own text
        f" touch_event_id != {NIL} AS is_following, {own_values()['tags']} AS own_tags FROM events"
        f" PREWHERE {own} AND {_SUBJECT} IN ({subjects})"
        f" WHERE touch_event_id = {NIL} OR {TAKES_TRAFFIC}"
    )
    _gather(client, new, f"({rows}) AS e LEFT ANY JOIN {_WINNERS} AS w ON w.event_id = e.subject", values)
    return _move(client, organization_id, new, is_of_claim=True)


def move_judged(client: "Client", organization_id: str, event_ids: Sequence[object], span: tuple[int, int]) -> int:
    """Let these events of a span count for what the verdicts say now; return how many change.

    Can be done again after a crash. Nobody else writes meanwhile.
    """
    new = _gather_judged(client, "events", organization_id, event_ids, span)
    return _move(client, organization_id, new)


def judge_made(
    client: "Client", made: str, organization_id: str, event_ids: Sequence[object], span: tuple[int, int]
) -> Sequence[date]:
    """Do the same in a month that is made beside the reading; return the days whose counts are not right any more."""
    new = _gather_judged(client, made, organization_id, event_ids, span)
    count, days = client.query(f"SELECT count(), groupUniqArray(toDate(event_time, 'UTC')) FROM {_ROWS}").result_rows[0]  # noqa: S608 - our own text
    if count:
        _update(client, organization_id, tuple(new), table=made)
    _drop(client)
    found: Sequence[date] = days
    return found


def _gather_judged(
    client: "Client", table: str, organization_id: str, event_ids: Sequence[object], span: tuple[int, int]
) -> Mapping[str, str]:
    values = {"organization": organization_id, "ids": list(event_ids), "span_start": span[0], "span_end": span[1]}
    chosen = (
        "organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({span_start:Int64}, 'UTC')"
        " AND event_time <= fromUnixTimestamp64Milli({span_end:Int64}, 'UTC') AND event_id IN {ids:Array(UUID)}"
    )
    own = own_values()
    told = [name for name in JUDGED if name not in ("told", "is_adjustment")]
    itself = ", ".join(f"{own[name]} AS own_{name}" for name in told)
    verdicts = (
        f"SELECT event_id, {', '.join(f'{VERDICT_VALUES[name]} AS {name}' for name in JUDGED if name != 'told')}"  # noqa: S608 - our own text
        f" FROM verdicts WHERE {chosen} ORDER BY revision DESC LIMIT 1 BY event_id"
    )
    new = {
        **{name: f"v.{name}" for name in JUDGED if name != "told"},
        "told": TOLD_OF.format(*(f"own_{name}" for name in told)),
    }
    rows = (
        f"SELECT event_id, {', '.join(_columns(tuple(JUDGED)))}, {itself}"  # noqa: S608 - our own text
        f" FROM {table} PREWHERE {chosen}"
    )
    _gather(client, new, f"({rows}) AS e INNER ANY JOIN ({verdicts}) AS v ON v.event_id = e.event_id", values)
    return new


_OF_VERSIONS = (
    "organization_id = {organization:String} AND campaign_id = {campaign:String}"
    " AND version IN {versions:Array(UInt32)}"
)


def _versions(organization_id: str, campaign_id: str, versions: Sequence[int]) -> dict[str, object]:
    return {"organization": organization_id, "campaign": campaign_id, "versions": list(versions)}


def _columns(changed: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*rollups.COUNTED_COLUMNS, *changed)))


def _gather(client: "Client", new: Mapping[str, str], source: str, values: Mapping[str, object]) -> None:
    """Fill ``moved_rows`` with the rows of ``source``, a table ``e`` and what says otherwise of it, that change."""
    columns = _columns(tuple(new))
    given = ", ".join(f"{value} AS new_{name}" for name, value in new.items())
    client.command(
        f"CREATE OR REPLACE TABLE {_ROWS} ENGINE = Memory AS"  # noqa: S608 - our own text
        f" SELECT e.event_id AS event_id, {', '.join(f'e.{name} AS {name}' for name in columns)}, {given} FROM {source}"
        f" WHERE {' OR '.join(f'new_{name} IS DISTINCT FROM {name}' for name in new)}",
        parameters=dict(values),
        settings=_NO_DEDUPLICATION,
    )


def _move(client: "Client", organization_id: str, new: Mapping[str, str], *, is_of_claim: bool = False) -> int:
    count, days = client.query(f"SELECT count(), groupUniqArray(toDate(event_time, 'UTC')) FROM {_ROWS}").result_rows[0]  # noqa: S608 - our own text
    if count:
        # Its operation, or the page, does it again after a crash; a verdict is put once.
        intent = open_intent(client, [organization_id], days, is_of_claim=is_of_claim)
        _update(client, organization_id, tuple(new))
        _count(client, organization_id, new)
        close_intent(client, intent)
    _drop(client)
    return int(count)


def _drop(client: "Client") -> None:
    for name in (_ROWS, _CHANGES, _WINNERS):
        client.command(f"DROP TABLE IF EXISTS {name}")


def _update(client: "Client", organization_id: str, columns: Sequence[str], *, table: str = "events") -> None:
    new = ", ".join(f"new_{name}" for name in columns)
    client.command(
        f"CREATE OR REPLACE TABLE {_CHANGES} ENGINE = Join(ANY, LEFT, event_id) SETTINGS persistent = 0"  # noqa: S608 - our own text
        f" AS SELECT event_id, {new} FROM {_ROWS}",
    )
    start, end = client.query(
        f"SELECT toUnixTimestamp64Milli(min(event_time)), toUnixTimestamp64Milli(max(event_time)) FROM {_ROWS}"  # noqa: S608 - our own text
    ).result_rows[0]
    values = ", ".join(f"{name} = joinGet('{_CHANGES}', 'new_{name}', event_id)" for name in columns)
    client.command(
        f"UPDATE {table} SET {values} WHERE organization_id = {{organization:String}}"  # noqa: S608 - our own text
        f" AND event_time >= fromUnixTimestamp64Milli({{start:Int64}}, 'UTC')"
        f" AND event_time <= fromUnixTimestamp64Milli({{end:Int64}}, 'UTC')"
        f" AND event_id IN (SELECT event_id FROM {_ROWS})",
        parameters={"organization": organization_id, "start": start, "end": end},
    )


def _count(client: "Client", organization_id: str, new: Mapping[str, str]) -> None:
    counted = [name for name in new if name in rollups.COUNTED_COLUMNS]
    where = " OR ".join(f"{name} IS DISTINCT FROM new_{name}" for name in counted)
    before = f"(SELECT * FROM {_ROWS} WHERE {where})"  # noqa: S608 - our own text
    # The condition stands inside: outside, a column's name would mean the new value.
    after = f"(SELECT * REPLACE ({', '.join(f'new_{name} AS {name}' for name in counted)}) FROM {before})"  # noqa: S608 - our own text
    if counted != ["campaign_id"]:
        rollups.move(client, before, after)
        return
    rollups.move_campaigns(client, before)
    rollups.add_campaigns(client, after)
    losers, days = client.query(
        f"SELECT groupUniqArray(toString(campaign_id)), groupUniqArray(toDate(event_time, 'UTC')) FROM {before}"  # noqa: S608 - our own text
    ).result_rows[0]
    if losers:
        rollups.recount_campaigns(client, organization_id, losers, days)

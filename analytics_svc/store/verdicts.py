"""Verdicts in ClickHouse: rows that are only added, and what they change in the reading."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from analytics_svc.operation import Scope, end_of, start_of
from analytics_svc.store import moving
from analytics_svc.verdict import Verdict
from svc_runtime.clickhouse import ClickHouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_COLUMNS = {
    "organization_id": "LowCardinality(String)",
    "event_time": "DateTime64(3, 'UTC')",
    "event_id": "UUID",
    "revision": "UInt64",
    "is_conversion": "UInt8",
    "is_adjustment": "UInt8",
    "value": "Nullable(Decimal(18, 6))",
    "currency": "LowCardinality(String)",
    "status": "LowCardinality(String)",
}
_MICROS = Decimal(1_000_000)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ClickHouseVerdictStore:
    """``VerdictStore`` on the table ``verdicts``, ``events`` and the roll-ups."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def put(self, verdicts: Sequence[Verdict]) -> int:
        """See ``VerdictStore.put``."""
        return await self._clickhouse.run(lambda client: put(client, verdicts))


def put(client: "Client", verdicts: Sequence[Verdict]) -> int:
    """Keep verdicts and let the reading follow."""
    changed = 0
    for organization_id in sorted({verdict.organization_id for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.organization_id == organization_id]
        known = _revisions(client, organization_id, own)
        fresh = [verdict for verdict in own if verdict.revision not in known.get(str(verdict.event_id), ())]
        newest = {}
        for verdict in sorted(fresh, key=lambda one: one.revision):
            newest[str(verdict.event_id)] = verdict.revision
        if fresh:
            client.insert(
                "verdicts",
                [_row(verdict) for verdict in fresh],
                column_names=list(_COLUMNS),
                column_type_names=list(_COLUMNS.values()),
                settings={"insert_deduplicate": "0"},
            )
        changed += sum(revision > max(known.get(event_id, {0})) for event_id, revision in newest.items())
        # Those too that were there: a process before may have been killed after it kept them.
        moving.move_judged(client, organization_id, [verdict.event_id for verdict in own], _span(own))
    return changed


def judge_month(client: "Client", made: str, scope: Scope, since_ms: int) -> dict[str, Sequence[date]]:
    """Lay what came since an instant over a month that is made; return the days that it changes, by organisation.

    What came before is there already. Nobody else writes meanwhile.
    """
    where = (
        "verdict_time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        " AND event_time >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')"
        " AND event_time < fromUnixTimestamp64Milli({end:Int64}, 'UTC')"
    )
    values: dict[str, object] = {
        "since": since_ms,
        "start": _ms(start_of(scope.month)),
        "end": _ms(end_of(scope.month)),
    }
    if scope.organization_id:
        where += " AND organization_id = {organization:String}"
        values["organization"] = scope.organization_id
    rows = client.query(
        "SELECT toString(organization_id), groupUniqArray(event_id), toUnixTimestamp64Milli(min(event_time)),"  # noqa: S608 - our own text
        f" toUnixTimestamp64Milli(max(event_time)) FROM verdicts WHERE {where} GROUP BY organization_id",
        parameters=values,
    ).result_rows
    days = {
        organization_id: moving.judge_made(client, made, organization_id, event_ids, (first, last))
        for organization_id, event_ids, first, last in rows
    }
    return {organization_id: found for organization_id, found in days.items() if found}


def _revisions(client: "Client", organization_id: str, verdicts: Sequence[Verdict]) -> dict[str, set[int]]:
    start, end = _span(verdicts)
    rows = client.query(
        "SELECT toString(event_id), groupUniqArray(revision) FROM verdicts"
        " WHERE organization_id = {organization:String}"
        " AND event_time >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')"
        " AND event_time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC') AND event_id IN {ids:Array(UUID)}"
        " GROUP BY event_id",
        parameters={
            "organization": organization_id,
            "start": start,
            "end": end,
            "ids": [verdict.event_id for verdict in verdicts],
        },
    ).result_rows
    return {event_id: set(revisions) for event_id, revisions in rows}


def _row(verdict: Verdict) -> list[object]:
    micros = verdict.value_micros
    return [
        verdict.organization_id,
        verdict.event_time,
        verdict.event_id,
        verdict.revision,
        int(verdict.is_conversion),
        int(verdict.is_adjustment),
        None if micros is None else Decimal(micros) / _MICROS,
        verdict.currency,
        verdict.status,
    ]


def _span(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    times = [_ms(verdict.event_time) for verdict in verdicts]
    return min(times), max(times)


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND

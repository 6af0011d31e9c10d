"""Decisions about edges, in ClickHouse: rows that are only added."""

from datetime import UTC, datetime

from analytics_svc.behavior.columns import milliseconds
from analytics_svc.store import Decision, DecisionTarget
from svc_runtime.clickhouse import ClickHouse, select

_ONE = "organization_id = {organization:String} AND side = {side:String} AND other = {other:String}"
# The revision that follows is found by the statement that writes it. An edge is written from either side.
_DECIDE = f"""
INSERT INTO identity_decisions (organization_id, side, other, revision, is_revoked, actor, decide_time)
SELECT {{organization:String}}, pair.1, pair.2, next, {{is_revoked:UInt8}}, {{actor:String}},
    fromUnixTimestamp64Milli({{now_ms:Int64}}, 'UTC')
FROM (
    SELECT max(revision) + 1 AS next, arrayJoin({{pairs:Array(Tuple(String, String))}}) AS pair
    FROM identity_decisions WHERE {_ONE}
    HAVING argMax(is_revoked, revision) != {{is_revoked:UInt8}}
)
"""  # noqa: S608 - our own text
_CURRENT = f"""
SELECT max(revision), argMax(is_revoked, revision), argMax(actor, revision),
    toUnixTimestamp64Milli(argMax(decide_time, revision))
FROM identity_decisions WHERE {_ONE}
"""  # noqa: S608 - our own text
_SETTINGS = {"insert_deduplicate": "0"}


class ClickHouseDecisionStore:
    """``DecisionStore`` on the table ``identity_decisions``."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def decide(
        self, organization_id: str, target: DecisionTarget, *, is_revoked: bool, actor: str, now: datetime
    ) -> Decision:
        """See ``DecisionStore.decide``."""
        pairs = {(target.side, target.other)}
        if target.other:
            pairs.add((target.other, target.side))
        values = {
            "organization": organization_id,
            "side": target.side,
            "other": target.other,
            "pairs": sorted(pairs),
            "is_revoked": int(is_revoked),
            "actor": actor,
            "now_ms": milliseconds(now),
        }
        await self._clickhouse.run(lambda client: client.command(_DECIDE, parameters=values, settings=_SETTINGS))
        revision, holds, by, at_ms = (await select(self._clickhouse, _CURRENT, values))[0]
        if not revision:
            return Decision(target, 0, is_revoked=False)
        return Decision(target, revision, bool(holds), by, datetime.fromtimestamp(at_ms / 1000, UTC))

"""The rules of conversions in PostgreSQL, and the operations that apply them to history."""

import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from attribution_svc.conversions.book import MOST_EVENTS_OF_GROUP
from attribution_svc.conversions.rules import ALL_TYPES, Rules
from attribution_svc.conversions.ruling import RuleOperation, RuleSet, UnmappedWord
from attribution_svc.store.conversion_rows import rules_of
from attribution_svc.store.conversions import Group, events_of_groups, lock, settled, write
from svc_runtime.postgres import Connection, Database

MOST_COUNTED = 1_000_000
"""Of conversions, when an operation begins."""
MOST_EVENTS_AT_ONCE = 5_000
"""Of all groups that are made anew in one transaction; a group alone may have no more than its own limit."""
_CURRENT = """
SELECT version, policies, vocabularies, currencies FROM conversion_rules
WHERE organization_id = $1 ORDER BY version DESC LIMIT 1
"""
_INSERT = """
INSERT INTO conversion_rules (organization_id, version, policies, vocabularies, currencies, actor)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_SUPERSEDE = """
UPDATE conversion_operations SET state = 'superseded', end_time = now()
WHERE organization_id = $1 AND state = 'running'
"""
_COUNT = f"""
SELECT count(*) FROM (
    SELECT 1 FROM conversions WHERE organization_id = $1 AND merged_into = '' LIMIT {MOST_COUNTED}) AS counted
"""  # noqa: S608 - a number of ours
_BEGIN = """
INSERT INTO conversion_operations (operation_id, organization_id, rules_version, state, total_count)
VALUES ($1, $2, $3, 'running', $4) RETURNING *
"""
_OPERATIONS = """
SELECT * FROM conversion_operations WHERE organization_id = $1 ORDER BY create_time DESC, operation_id DESC LIMIT $2
"""
_RUNNING = "SELECT * FROM conversion_operations WHERE state = 'running' ORDER BY create_time, operation_id LIMIT 1"
_GROUPS = """
SELECT group_key, count(*) AS event_count FROM conversion_events WHERE organization_id = $1 AND group_key > $2
GROUP BY group_key ORDER BY group_key LIMIT $3
"""
_ADVANCE = """
UPDATE conversion_operations
SET position = $2, done_count = done_count + $3, changed_count = changed_count + $4,
    state = CASE WHEN $5 THEN 'done' ELSE state END, end_time = CASE WHEN $5 THEN now() END
WHERE operation_id = $1 RETURNING *
"""
# The look-back is a matter of rules too.
_MARK_WINDOWS = """
UPDATE conversions SET is_outside_window = NOT is_outside_window
WHERE organization_id = $1 AND group_key = ANY($2::text[]) AND touch_time IS NOT NULL
  AND is_outside_window <> (touch_time < conversion_time
      - make_interval(days => coalesce(($3::jsonb ->> conversion_type)::integer, $4)))
"""
_UNMAPPED = """
SELECT network, status_text, count(*) AS event_count FROM conversion_events
WHERE organization_id = $1 AND status = 'unmapped' GROUP BY network, status_text
ORDER BY event_count DESC, network, status_text LIMIT $2
"""


class PostgresRuleStore:
    """A ``RuleStore`` on the database of the conversions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rules(self, organization_id: str) -> RuleSet:
        """See ``RuleStore.rules``."""
        async with self._database.connection() as connection:
            return await _current(connection, organization_id)

    async def change_rules(
        self, organization_id: str, change: Callable[[Rules], Rules], *, operation_id: str, actor: str
    ) -> tuple[RuleSet, RuleOperation | None]:
        """See ``RuleStore.change_rules``."""
        # Not under the lock: nobody waits for a number that is there to show how far the work is.
        async with self._database.connection() as connection:
            total_count = await connection.fetchval(_COUNT, organization_id)
        async with self._database.transaction() as connection:
            await lock(connection)
            present = await _current(connection, organization_id)
            rules = change(present.rules)
            if rules == present.rules:
                return present, None
            following = RuleSet(present.version + 1, rules)
            await connection.execute(_INSERT, organization_id, following.version, *_json(rules), actor)
            await connection.execute(_SUPERSEDE, organization_id)
            row = await connection.fetchrow(_BEGIN, operation_id, organization_id, following.version, total_count)
        return following, _operation(row)

    async def operations(self, organization_id: str, *, limit: int) -> list[RuleOperation]:
        """See ``RuleStore.operations``."""
        async with self._database.connection() as connection:
            return [_operation(row) for row in await connection.fetch(_OPERATIONS, organization_id, limit)]

    async def advance(self, *, group_count: int) -> RuleOperation | None:
        """See ``RuleStore.advance``."""
        async with self._database.transaction() as connection:
            if await connection.fetchrow(_RUNNING) is None:
                return None
            await lock(connection)
            row = await connection.fetchrow(_RUNNING)  # another may have ended it while we waited
            if row is None:
                return None
            found = await connection.fetch(_GROUPS, row["organization_id"], row["position"], group_count)
            keys = _few(found)
            groups: list[Group] = [(row["organization_id"], key) for key in keys]
            changed = await _make_anew(connection, groups) if groups else 0
            position = groups[-1][1] if groups else row["position"]
            is_over = len(keys) == len(found) < group_count
            row = await connection.fetchrow(_ADVANCE, row["operation_id"], position, len(groups), changed, is_over)
        return _operation(row)

    async def unmapped(self, organization_id: str, *, limit: int) -> list[UnmappedWord]:
        """See ``RuleStore.unmapped``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_UNMAPPED, organization_id, limit)
        return [UnmappedWord(row["network"], row["status_text"], row["event_count"]) for row in rows]


def _few(found: Sequence[Any]) -> list[str]:
    """Return the keys of so many of the groups as have ``MOST_EVENTS_AT_ONCE`` together, but of one at least."""
    totals = accumulate(min(told["event_count"], MOST_EVENTS_OF_GROUP) for told in found)
    count = sum(total <= MOST_EVENTS_AT_ONCE for total in totals)
    return [told["group_key"] for told in found[: max(count, 1)]]


async def _make_anew(connection: Connection, groups: list[Group]) -> int:
    events = await events_of_groups(connection, groups)
    settlement = await settled(connection, events, groups, is_new_rules=True)
    await write(connection, settlement)
    organization_id = groups[0][0]
    rules = (await _current(connection, organization_id)).rules
    days = {name: policy.lookback_days for name, policy in rules.policies.items()}
    await connection.execute(
        _MARK_WINDOWS,
        organization_id,
        [group_key for _, group_key in groups],
        json.dumps(days),
        rules.policy(ALL_TYPES).lookback_days,
    )
    return len(settlement.changes)


async def _current(connection: Connection, organization_id: str) -> RuleSet:
    row = await connection.fetchrow(_CURRENT, organization_id)
    if row is None:
        return RuleSet(0, Rules())
    return RuleSet(row["version"], rules_of(row["policies"], row["vocabularies"], row["currencies"]))


def _json(rules: Rules) -> tuple[str, str, str]:
    policies = {
        name: {"choice": policy.choice.value, "lookback_days": policy.lookback_days}
        for name, policy in rules.policies.items()
    }
    vocabularies = {
        network: {word: status.value for word, status in words.items()} for network, words in rules.vocabularies.items()
    }
    return json.dumps(policies), json.dumps(vocabularies), json.dumps(dict(rules.currencies))


def _operation(row: Any) -> RuleOperation:
    return RuleOperation(**{name: row[name] for name in RuleOperation.__dataclass_fields__})

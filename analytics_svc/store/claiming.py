"""Claims on what is in the reading: which events a version may have, and giving those to whoever has them now."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from analytics_svc.claims.claim import Claim, MadeClaim, takers
from analytics_svc.claims.match import Matching, compile_candidates, instant_sql, milliseconds
from analytics_svc.operation import end_of, start_of
from analytics_svc.store import moving
from analytics_svc.store.connect import translate
from svc_runtime.clickhouse import ClickHouse, Dsn, open_client

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_OWN = "organization_id = {organization:String}"
_VERSION = f"{_OWN} AND campaign_id = {{campaign:String}} AND version = {{version:UInt32}}"
_COLUMNS = ["organization_id", "campaign_id", "version", "event_time", "event_id", "rule_id", "tags"]
_SETTINGS = {"insert_deduplicate": "0"}
_STATEMENT_SECONDS = 600


def connect_claims(dsn: Dsn) -> ClickHouse:
    """Return one worker thread for work on whole histories: its statements may take long."""
    return ClickHouse(dsn, open_client=_open_client, translate=translate, name="claims")


def _open_client(dsn: Dsn) -> "Client":
    return open_client(
        dsn, name="trellis-claims", settings={"max_insert_threads": "1"}, statement_seconds=_STATEMENT_SECONDS
    )


class ClickHouseClaimHistory:
    """``ClaimHistory`` on ``events`` and ``claim_assignments``."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def mark(self) -> int:
        """See ``ClaimHistory.mark``. Rows are only ever added: later ones have higher block numbers."""

        def work(client: "Client") -> int:
            return int(client.query("SELECT max(_block_number) FROM events").result_rows[0][0])

        return await self._clickhouse.run(work)

    async def assign(
        self,
        organization_id: str,
        claim: Claim,
        holding: Sequence[MadeClaim],
        *,
        month: date | None = None,
        after_mark: int = 0,
    ) -> int:
        """See ``ClaimHistory.assign``."""
        return await self._clickhouse.run(
            lambda client: assign(client, organization_id, claim, holding, month, after_mark)
        )

    async def forget(self, organization_id: str, campaign_id: str, version: int) -> None:
        """See ``ClaimHistory.forget``."""
        await self._clickhouse.run(lambda client: forget(client, organization_id, campaign_id, version))

    async def spans(self, organization_id: str, campaign_id: str, versions: Sequence[int]) -> list[tuple[int, int]]:
        """See ``ClaimHistory.spans``."""
        return await self._clickhouse.run(
            lambda client: moving.spans_of(client, organization_id, campaign_id, versions)
        )

    async def move(self, organization_id: str, campaign_id: str, versions: Sequence[int], span: tuple[int, int]) -> int:
        """See ``ClaimHistory.move``."""
        return await self._clickhouse.run(
            lambda client: moving.move_claimed(client, organization_id, campaign_id, versions, span)
        )


def assign(
    client: "Client",
    organization_id: str,
    claim: Claim,
    holding: Sequence[MadeClaim],
    month: date | None = None,
    after_mark: int = 0,
) -> int:
    """Keep which events of the reading a version of a claim may have; return how many there are by now."""
    rules = [claim.rule_of(number) for number in range(1, len(claim.rules) + 2)]
    values: dict[str, object] = {
        "version": claim.version,
        "rule_ids": [rule.rule_id for rule in rules],
        "rule_tags": [list(rule.tags) for rule in rules],
    }
    where = ["1"]
    if month is not None:
        values |= {"month_start": milliseconds(start_of(month)), "month_end": milliseconds(end_of(month))}
        where.append(f"event_time >= {instant_sql('{month_start:Int64}')}")
        where.append(f"event_time < {instant_sql('{month_end:Int64}')}")
    if after_mark:
        where.append(f"_block_number > {after_mark:d}")
    columns = ("organization_id", "event_time", "events.event_id AS event_id")
    candidates = compile_candidates(claim, organization_id, holding, columns, where=" AND ".join(where))
    values |= candidates.parameters
    client.command(
        f"INSERT INTO claim_assignments ({', '.join(_COLUMNS)})"  # noqa: S608 - our own text
        " SELECT organization_id, {campaign:String}, {version:UInt32}, event_time, event_id,"
        " {rule_ids:Array(String)}[rule], {rule_tags:Array(Array(String))}[rule]"
        f" FROM ({candidates.sql}) WHERE may_take",
        parameters=values,
        settings=_SETTINGS,
    )
    rows = client.query(f"SELECT count() FROM claim_assignments WHERE {_VERSION}", parameters=values).result_rows  # noqa: S608 - our own text
    return int(rows[0][0])


def forget(client: "Client", organization_id: str, campaign_id: str, version: int) -> None:
    """Keep nothing of a version any more."""
    values = {"organization": organization_id, "campaign": campaign_id, "version": version}
    if client.query(f"SELECT 1 FROM claim_assignments WHERE {_VERSION} LIMIT 1", parameters=values).result_rows:  # noqa: S608 - our own text
        client.command(
            f"DELETE FROM claim_assignments WHERE {_VERSION}",  # noqa: S608 - our own text
            parameters=values,
            settings={"lightweight_deletes_sync": "1"},
        )


def assign_staged(client: "Client", staged: str, claims: Sequence[MadeClaim]) -> int:
    """Keep which claims of an organisation, in their order, may have the rows of a page that comes; return how many."""
    matchings = [Matching(made.claim, prefix=f"m{at}x") for at, made in enumerate(claims)]
    rules = ", ".join(f"toUInt8(if({one.within()}, {one.rule()}, 0))" for one in matchings)
    values: dict[str, object] = {"organization": claims[0].organization_id}
    for matching in matchings:
        values |= matching.parameters
    found = client.query(
        f"SELECT event_id, event_time, campaign_id, [{rules}] AS rules FROM {staged}"  # noqa: S608 - our own text
        f" WHERE {_OWN} AND arrayExists(rule -> rule > 0, rules)",
        parameters=values,
    ).result_rows
    rows = [
        [made.organization_id, made.claim.campaign_id, made.claim.version, time, event_id, rule.rule_id, rule.tags]
        for event_id, time, routed, numbers in found
        for made, rule in takers(claims, routed, numbers)
    ]
    if rows:
        client.insert("claim_assignments", rows, column_names=_COLUMNS, settings=_SETTINGS)
    return len(rows)

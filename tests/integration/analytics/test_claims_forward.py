"""Claims on what comes: pages of the feed, through the store that writes them."""

from pathlib import Path

import pytest

from analytics_svc.claims.claim import ActiveClaims, Claim, ClaimRule, MadeClaim, Policy
from analytics_svc.projection.enricher import Enricher
from analytics_svc.store import rollups
from analytics_svc.store.claims import ClickHouseClaimStore
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from analytics_svc.store.connect import connect, open_client
from rule_language.predicate import Condition, Operator
from svc_runtime.clickhouse import parse_dsn
from tests.contract.analytics.store_contract import NOON, page

pytestmark = [pytest.mark.store, pytest.mark.timeout(120)]
CLAIM = Claim(
    "cmp_new",
    1,
    rules=(ClaimRule("r1", Condition("source", Operator.EQUALS, ("s1",)), ("t1",)),),
    policy=Policy.BY_PRIORITY,
    yielding=("cmp_1",),
)
MADE = MadeClaim("org_1", CLAIM, "", NOON)


async def test_what_comes_is_claimed_as_it_comes_and_what_was_there_before_the_feed_too(tmp_path: Path) -> None:
    dsn = parse_dsn(f"chdb://{tmp_path}", default_database="analytics")
    claims: ActiveClaims = {}

    async def active() -> ActiveClaims:
        return claims

    async with ClickHouseReadingStore.open(dsn, enricher=Enricher(), active_claims=active) as store:
        clickhouse, client = connect(dsn), open_client(dsn)
        try:
            # As a rebuild that is ahead of the feed brings them: nobody claims them yet.
            await store.write(page(range(9), b"1"))
            before = _owners(client)["cmp_1"]
            assert before > 0
            await ClickHouseClaimStore(clickhouse).activate("org_1", "cmp_new", MADE, actor="", now=NOON)
            claims = {"org_1": [MADE]}
            await store.write(page(range(9, 18), b"2"))
            found = _owners(client)
            assert (found["cmp_1"], found["cmp_new"] > 0) == (before, True)
            # The feed brings what is there already.
            assert await store.write(page(range(27), b"3")) == 9
            everything = _owners(client)
            assert list(everything) == ["cmp_new"]
            assert everything["cmp_new"] > before + found["cmp_new"]
            (row,) = client.query(
                "SELECT any(rule_id), any(tags), any(routed_campaign_id), any(routed_campaign_version) FROM events"
                " WHERE campaign_id = 'cmp_new'"
            ).result_rows
            assert row == ("r1", ["t1"], "cmp_1", 3)
            assert rollups.differences(client) == []
            assert client.query(
                "SELECT DISTINCT campaign_id FROM events WHERE organization_id != 'org_1'"
            ).result_rows == [("cmp_1",)]
        finally:
            client.close()
            await clickhouse.close()


def _owners(client: object) -> dict[str, int]:
    rows = client.query(  # type: ignore[attr-defined]  # the driver is named by stores alone
        "SELECT toString(campaign_id), count() FROM events WHERE organization_id = 'org_1' AND event_type = 'click'"
        " GROUP BY campaign_id"
    ).result_rows
    return dict(map(tuple, rows))

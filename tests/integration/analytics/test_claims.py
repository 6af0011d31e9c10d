"""Claims and verdicts on the reading: whatever happens in whatever order, the state is that of a plain reference."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from analytics_svc.claims.claim import Claim, ClaimRule, MadeClaim, Policy, Window
from analytics_svc.operation import Scope
from analytics_svc.store import rollups, settle, verdicts
from analytics_svc.store.claiming import assign, assign_staged
from analytics_svc.store.moving import move_claimed, spans_of
from analytics_svc.store.partitions import make_like, replace_month
from analytics_svc.verdict import Verdict
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Operator, Predicate
from tests.integration.analytics.claim_reference import World
from tests.integration.analytics.settling_cases import (
    SEEN,
    cut,
    empty,
    make_month,
    month_of,
    stage,
    take_in,
    traffic,
)
from tests.reading import reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.timeout(600)]
ORGANIZATIONS = ("org_a", "org_b")
START = datetime(2026, 2, 28, 22, tzinfo=UTC)
COMPARED = (*(name for name in SEEN if name not in ("is_bot", "fraud_score")), "routed_campaign_id", "is_adjustment")
_INSERT = (
    "INSERT INTO claim_activations (organization_id, campaign_id, revision, version, priority, claim_time,"
    " activate_time) SELECT {o:String}, {c:String}, max(revision) + 1, {v:UInt32}, {p:Int32},"
    " fromUnixTimestamp64Milli({t:Int64}), now64(3) FROM claim_activations"
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Client]":
    with reading(tmp_path_factory.mktemp("claims")) as (_, client):
        yield client


@pytest.fixture
def client(engine: "Client") -> "Client":
    empty(engine)
    for table in ("claim_assignments", "claim_activations", "verdicts"):
        engine.command(f"TRUNCATE TABLE {table}")
    return engine


class Site:
    """The reading and the reference, changed alike."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        self.world = World()
        self.revision = 0

    def arrive(self, rows: Sequence[dict[str, Any]]) -> None:
        stage(self.client, rows)
        for organization_id in ORGANIZATIONS:
            if claims := self.world.holding(organization_id):
                assign_staged(self.client, "staged", claims)
        take_in(self.client, rows)
        self.world.arrive(rows)

    def apply(self, made: MadeClaim) -> None:
        claim = made.claim
        assign(self.client, made.organization_id, claim, self.world.holding(made.organization_id))
        key = (made.organization_id, claim.campaign_id)
        before = self.world.active.get(key, 0)
        self.world.apply(made)
        self._hold(made.organization_id, claim.campaign_id, claim.version, before)

    def activate(self, organization_id: str, campaign_id: str, version: int) -> None:
        key = (organization_id, campaign_id)
        before, self.world.active[key] = self.world.active[key], version
        self._hold(organization_id, campaign_id, version, before)

    def judge(self, verdict: Verdict) -> None:
        verdicts.put(self.client, [verdict])
        known = self.world.verdicts.get(verdict.event_id)
        if known is None or known.revision < verdict.revision:
            self.world.verdicts[verdict.event_id] = verdict

    def _hold(self, organization_id: str, campaign_id: str, version: int, before: int) -> None:
        made = self.world.made.get((organization_id, campaign_id, version))
        self.client.command(
            _INSERT,
            parameters={
                "o": organization_id,
                "c": campaign_id,
                "v": version,
                "p": made.claim.priority if made else 0,
                "t": int(made.claim_time.timestamp() * 1000) if made else 0,
            },
        )
        versions = sorted({before, version} - {0})
        for span in spans_of(self.client, organization_id, campaign_id, versions):
            move_claimed(self.client, organization_id, campaign_id, versions, span)

    def check(self) -> None:
        """Compare every row, and every count."""
        names = tuple(dict.fromkeys((*COMPARED, "tags")))
        rows = self.client.query(f"SELECT {', '.join(names)} FROM events").result_rows
        found = {row[1]: dict(zip(names, row, strict=True)) for row in rows}
        wanted = self.world.state()
        assert found.keys() == wanted.keys()
        for event_id, row in wanted.items():
            assert {name: _plain(found[event_id][name]) for name in names} == {
                name: _plain(row.get(name, [])) for name in names
            }
        assert rollups.differences(self.client) == []


def _plain(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _predicate(dice: random.Random, depth: int = 2) -> Predicate:
    if depth and dice.random() < 0.4:
        children = tuple(_predicate(dice, depth - 1) for _ in range(dice.randrange(1, 3)))
        return dice.choice((AllOf(children), AnyOf(children), Not(children[0])))
    name = dice.choice(("source", "medium", "country", "is_bot", "event_type", "hour", "value", "asn", "language"))
    if name == "hour":
        return Condition(name, dice.choice((Operator.LT, Operator.GTE)), (str(dice.randrange(24)),))
    if name in ("value", "asn"):
        return dice.choice(
            (Condition(name, Operator.GT, (str(dice.randrange(5)),)), Condition(name, Operator.NOT_EXISTS))
        )
    if name == "is_bot":
        return Condition(name, Operator.EQUALS, (dice.choice(("true", "false")),))
    values = {"country": ("DE", "FR"), "event_type": ("click", "purchase")}.get(name, (name, f"{name}2"))
    return dice.choice(
        (
            Condition(name, Operator.EQUALS, (dice.choice(values),)),
            Condition(name, Operator.NOT_EQUALS, (dice.choice(values),)),
            Condition(name, Operator.CONTAINS, (dice.choice(values),)),
            Condition(name, Operator.NOT_EXISTS),
        )
    )


def _claim(dice: random.Random, campaign_id: str, version: int) -> Claim:
    rules = tuple(
        ClaimRule(f"r{at}", _predicate(dice) if dice.random() < 0.8 else None, tuple(dice.sample(["t1", "t2"], at % 3)))
        for at in range(dice.randrange(1, 4))
    )
    is_by_priority = dice.random() < 0.5
    yielding = dice.sample(["campaign_id", "campaign_id2", "c1", "c2", "c3"], dice.randrange(1, 5))
    start = START + timedelta(minutes=dice.randrange(200)) if dice.random() < 0.4 else None
    end = (start or START) + timedelta(minutes=dice.randrange(300)) if dice.random() < 0.4 else None
    return Claim(
        campaign_id,
        version,
        dice.randrange(-1, 2),
        rules,
        start_time=start,
        end_time=end,
        forward_start_time=START + timedelta(minutes=60) if dice.random() < 0.3 else None,
        close_time=START + timedelta(minutes=dice.choice([30, 90])) if dice.random() < 0.2 else None,
        windows=(Window((6, 7), 0, 1380),) if dice.random() < 0.2 else (),
        time_zone=dice.choice(("UTC", "Europe/Berlin")),
        policy=Policy.BY_PRIORITY if is_by_priority else Policy.UNATTRIBUTED,
        yielding=tuple(sorted(name for name in yielding if name != campaign_id)) if is_by_priority else (),
    )


def _verdict(dice: random.Random, row: dict[str, Any], revision: int) -> Verdict:
    kind = dice.choice(("sale", "refund", "nothing"))
    micros = None if kind == "nothing" else dice.randrange(1, 10**9) * (-1 if kind == "refund" else 1)
    return Verdict(
        row["organization_id"],
        row["event_id"],
        row["event_time"],
        revision,
        is_conversion=kind == "sale",
        is_adjustment=kind == "refund",
        value_micros=micros,
        currency="" if micros is None else dice.choice(("EUR", "USD")),
        status=kind,
    )


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_each_event_is_whose_a_plain_reference_says(client: "Client", seed: int) -> None:
    dice, site = random.Random(seed), Site(client)
    rows = [{**row, "path": ""} for row in traffic(seed)]
    pages = cut(rows, dice)
    clock = START
    while pages or dice.random() < 0.8:
        what = dice.choice(("page", "page", "apply", "activate", "verdict", "rebuild", "repair"))
        organization_id, campaign_id = dice.choice(ORGANIZATIONS), dice.choice(("c1", "c2", "c3"))
        versions = [key[2] for key in site.world.made if key[:2] == (organization_id, campaign_id)]
        if what == "page" and pages:
            site.arrive(pages.pop())
        elif what == "apply":
            clock += timedelta(seconds=1)
            claim = _claim(dice, campaign_id, max(versions, default=0) + 1)
            site.apply(MadeClaim(organization_id, claim, "", clock))
        elif what == "activate" and versions:
            site.activate(organization_id, campaign_id, dice.choice([0, *versions]))
        elif what == "verdict":
            # Also of events that are still to come.
            site.judge(_verdict(dice, dice.choice(rows), dice.randrange(1, 5)))
        elif what == "rebuild" and site.world.rows:
            _rebuild(site, dice)
        elif what == "repair" and site.world.rows:
            settle.repair(client, ORGANIZATIONS, {row["event_time"].date() for row in site.world.rows})
        site.check()


def _rebuild(site: Site, dice: random.Random) -> None:
    month: date = dice.choice(sorted({month_of(row) for row in site.world.rows}))
    make_month(site.client, month, [row for row in site.world.rows if month_of(row) == month], [])
    rollups.recount(site.client, list(ORGANIZATIONS), {row["event_time"].date() for row in site.world.rows})


def test_the_reference_notices_an_event_of_another_campaign(client: "Client") -> None:
    site = Site(client)
    site.arrive([{**row, "path": ""} for row in traffic(3)])
    site.check()
    (event_id,) = client.query("SELECT any(event_id) FROM events").result_rows[0]
    assert isinstance(event_id, UUID)
    client.command(f"UPDATE events SET campaign_id = 'another' WHERE event_id = '{event_id}'")
    with pytest.raises(AssertionError):
        site.check()


def test_a_verdict_that_comes_while_a_month_is_made_is_in_it(client: "Client") -> None:
    site = Site(client)
    rows = [{**row, "path": ""} for row in traffic(5)]
    site.arrive(rows)
    scope = Scope(month_of(rows[0]))
    for table in ("own", "made"):
        make_like(client, table, "events")
    stage(client, [row for row in rows if month_of(row) == scope.month])
    client.command("INSERT INTO own SELECT * FROM staged")
    ((began_ms,),) = client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows
    settle.settle_month(client, "own", "made", scope)
    dice = random.Random(5)
    for row in rows[:10]:
        site.judge(_verdict(dice, row, 1))
    days = verdicts.judge_month(client, "made", scope, began_ms)
    assert days
    replace_month(client, "events", "made", scope)
    settle.reconcile_month(client, "made", scope)
    rollups.recount(client, list(ORGANIZATIONS), {row["event_time"].date() for row in rows})
    site.check()
    assert verdicts.judge_month(client, "events", scope, began_ms) == {}

"""Sessions and links against a plain reference, however the events arrive. The engine is in this process."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from analytics_svc.operation import Scope
from analytics_svc.store import rollups, settle
from analytics_svc.store.partitions import make_like, replace_month
from tests.integration.analytics.settled_reference import settled
from tests.integration.analytics.settling_cases import (
    SEEN,
    cut,
    empty,
    make_month,
    month_of,
    plain,
    stage,
    stored,
    take_in,
    traffic,
)
from tests.reading import reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.timeout(300)]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, MILLISECOND = timedelta(minutes=1), timedelta(milliseconds=1)
Rows = Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Client]":
    with reading(tmp_path_factory.mktemp("settle")) as (_, client):
        yield client


@pytest.fixture
def client(engine: "Client") -> "Client":
    empty(engine)
    return engine


def check(client: "Client", rows: Rows) -> None:
    """Compare the reading with the reference, and the roll-ups with the reading."""
    wanted, found = settled(rows), stored(client)
    assert found.keys() == wanted.keys()
    for event_id, row in wanted.items():
        assert found[event_id] == {name: row[name] for name in SEEN}, row["event_type"]
    assert rollups.differences(client) == []


@pytest.mark.parametrize("seed", range(12))
def test_the_state_does_not_depend_on_the_order_the_pages_or_the_crashes(client: "Client", seed: int) -> None:
    rows, dice = traffic(seed), random.Random(~seed)
    for page in cut(rows, dice):
        if dice.random() < 0.2:
            take_in(client, page, crash=dice.choice(("settled", "reconciled")))
            for again in cut(page, dice):
                take_in(client, again)
        else:
            take_in(client, page)
    check(client, rows)


@pytest.mark.parametrize("seed", range(100, 103))
def test_a_month_made_beside_the_reading_is_as_if_it_had_come_page_by_page(
    client: "Client", monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(settle, "_ENOUGH_ROWS", 7)
    rows, dice = traffic(seed), random.Random(~seed)
    for month in sorted(set(map(month_of, rows))):
        mine = [row for row in rows if month_of(row) == month]
        dice.shuffle(mine)
        late = dice.randrange(3)
        make_month(client, month, mine[late:], mine[:late])
    days = {row["event_time"].date() for row in rows}
    rollups.recount(client, ["org_a", "org_b"], days)
    check(client, rows)


@pytest.mark.parametrize("seed", range(200, 203))
def test_a_month_of_which_the_clicks_are_read_otherwise_changes_the_others(
    client: "Client", monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(settle, "_ENOUGH_ROWS", 7)
    rows, dice = traffic(seed), random.Random(~seed)
    for page in cut(rows, dice):
        take_in(client, page)
    month = dice.choice(sorted(set(map(month_of, rows))))
    for row in rows:
        if month_of(row) == month and row["event_type"] == "click" and dice.random() < 0.5:
            row.update(external_click_id=dice.choice(("", "k1", "x1", "x2")), source="another", user_id="u3")
    make_month(client, month, [row for row in rows if month_of(row) == month], [])
    rollups.recount(client, ["org_a", "org_b"], {row["event_time"].date() for row in rows})
    check(client, rows)


@pytest.mark.parametrize("seed", range(300, 302))
def test_days_are_repaired_whatever_an_unfinished_change_has_left(client: "Client", seed: int) -> None:
    rows, dice = traffic(seed), random.Random(~seed)
    for page in cut(rows, dice):
        take_in(client, page)
    nil = "toUUID('00000000-0000-0000-0000-000000000000')"
    client.command(
        f"UPDATE events SET session_id = 'sother', touch_event_id = {nil}, touch_time = NULL"
        " WHERE empty(own) AND user_id != '' AND cityHash64(event_id) % 2 = 0"
    )
    client.command(
        "UPDATE events SET user_id = 'uother', session_id = '', source = '', touch_event_id = generateUUIDv4()"
        " WHERE notEmpty(own) AND cityHash64(event_id) % 2 = 0"
    )
    settle.repair(client, ["org_a", "org_b"], {row["event_time"].date() for row in rows})
    check(client, rows)


def test_a_session_that_goes_on_for_days_gets_one_id_to_its_end_from_a_late_beginning(client: "Client") -> None:
    times = [NOON + 25 * MINUTE * number for number in range(150)]
    rows = [plain(event_time=time, user_id="u1") for time in times]
    take_in(client, rows)
    late = plain(event_time=NOON - 20 * MINUTE, user_id="u1")
    take_in(client, [late])
    check(client, [*rows, late])
    assert len({row["session_id"] for row in stored(client).values()}) == 1


def test_a_gap_of_thirty_minutes_goes_on_and_a_millisecond_more_does_not(client: "Client") -> None:
    first, second = NOON, NOON + 30 * MINUTE
    rows = [plain(event_time=time, user_id="u1") for time in (first, second, second + 30 * MINUTE + MILLISECOND)]
    for row in reversed(rows):
        take_in(client, [row])
    sessions = [stored(client)[row["event_id"]]["session_id"] for row in rows]
    assert sessions[0] == sessions[1] != sessions[2]


def test_a_conversion_that_finds_its_click_late_leaves_the_session_that_it_held_together(client: "Client") -> None:
    pages = [NOON, NOON + 50 * MINUTE]
    views = [plain(event_time=time, user_id="u1") for time in pages]
    sale = plain(event_time=NOON + 25 * MINUTE, user_id="u1", conversion_event="sale", references=["k1"])
    take_in(client, [*views, sale])
    assert len({row["session_id"] for row in stored(client).values()}) == 1
    click = plain(event_time=NOON - timedelta(days=40), event_type="click", click_id="k1", user_id="u2")
    take_in(client, [click])
    check(client, [*views, sale, click])
    found = stored(client)
    assert found[sale["event_id"]]["user_id"] == "u1"
    assert found[sale["event_id"]]["session_id"] == found[click["event_id"]]["session_id"]
    assert len({found[view["event_id"]]["session_id"] for view in views}) == 2


def test_another_organisation_with_the_same_ids_is_nobody_we_know(client: "Client") -> None:
    click = plain(organization_id="org_b", event_type="click", click_id="k1", user_id="u1", source="secret")
    sale = plain(event_time=NOON + MINUTE, route="postback", conversion_event="sale", references=["k1"])
    take_in(client, [click])
    take_in(client, [sale])
    found = stored(client)[sale["event_id"]]
    assert (found["source"], found["touch_event_id"]) == ("", UUID(int=0))
    view = plain(user_id="u1")
    take_in(client, [view])
    found_sessions = {row["session_id"] for row in stored(client).values() if row["session_id"]}
    assert len(found_sessions) == 2


@pytest.mark.parametrize(
    ("route", "reasons", "is_bot"),
    [
        ("postback", ["library_client"], 0),
        ("rpc", ["empty_user_agent"], 0),
        ("batch", ["library_client", "empty_user_agent"], 0),
        ("pixel", ["library_client"], 1),
        ("postback", ["declared_bot"], 1),
        ("postback", ["library_client", "headless_browser"], 1),
    ],
)
def test_a_conversion_is_no_robot_for_having_been_sent_by_a_server(
    client: "Client", route: str, reasons: list[str], is_bot: int
) -> None:
    sale = plain(route=route, conversion_event="sale", bot_reasons=reasons, is_bot=1, fraud_score=100.0)
    view = plain(route=route, bot_reasons=reasons, is_bot=1, fraud_score=100.0)
    take_in(client, [sale, view])
    found = stored(client)
    assert (found[sale["event_id"]]["is_bot"], found[sale["event_id"]]["fraud_score"]) == (is_bot, 100.0 * is_bot)
    assert found[view["event_id"]]["is_bot"] == 1


def test_readers_see_every_row_once_while_older_rows_change(client: "Client") -> None:
    """A row that is changed is never away: the engine keeps the change beside it."""
    rows = [plain(event_time=NOON + number * MINUTE, user_id="u1") for number in range(50)]
    take_in(client, rows)
    stage(client, [plain(event_time=NOON - 20 * MINUTE, user_id="u1")])
    client.command("CREATE TABLE IF NOT EXISTS settled AS events ENGINE = Memory")
    client.command("TRUNCATE TABLE settled")
    settle.settle(client, "staged", "settled")
    changed = settle.affected(client, "settled")
    assert changed
    assert (list(changed.organization_ids), list(changed.days)) == (["org_a"], [NOON.date()])
    seen: list[int] = []
    done = client.command

    def watched(*arguments: Any, **named: Any) -> Any:
        result = done(*arguments, **named)
        seen.append(client.query("SELECT count() * (count() = uniqExact(event_id)) FROM events").result_rows[0][0])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "command", watched)
        settle.reconcile(client, changed)
    assert set(seen) == {50}
    settle.reconcile(client, changed)
    assert rollups.differences(client) == []


def test_a_row_that_is_settled_otherwise_is_noticed(client: "Client") -> None:
    rows = [plain(user_id="u1"), plain(event_type="click", user_id="u2")]
    take_in(client, rows)
    check(client, rows)
    client.command("UPDATE events SET session_id = 'sother' WHERE user_id = 'u1'")
    with pytest.raises(AssertionError):
        check(client, rows)


@pytest.mark.parametrize("late", ["click", "visit"])
def test_what_comes_into_an_earlier_month_while_a_month_is_made_is_in_it(client: "Client", late: str) -> None:
    """The feed goes on: a page between the settling of a month and the moment in which it takes its place."""
    march = datetime(2026, 3, 1, tzinfo=UTC)
    sale = plain(event_time=march + 2 * MINUTE, route="postback", conversion_event="sale", references=["k1"])
    visit = plain(event_time=march + MINUTE, user_id="u1")
    take_in(client, [sale, visit])
    scope = Scope(date(2026, 3, 1))
    for table in ("own", "made"):
        make_like(client, table, "events")
    stage(client, [sale, visit])
    client.command("INSERT INTO own SELECT * FROM staged")
    ((mark,),) = client.query("SELECT max(_block_number) FROM events").result_rows
    settle.settle_month(client, "own", "made", scope)
    kinds = {
        "click": plain(event_time=march - timedelta(days=3), event_type="click", click_id="k1", source="there"),
        "visit": plain(event_time=march - MINUTE, user_id="u1"),
    }
    take_in(client, [kinds[late]])
    replace_month(client, "events", "made", scope)
    settle.reconcile_month(client, "made", scope, since_block=mark)
    rollups.recount(client, ["org_a"], {row["event_time"].date() for row in (sale, visit, kinds[late])})
    check(client, [sale, visit, kinds[late]])

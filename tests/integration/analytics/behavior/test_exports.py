"""Journeys of many in columns, against a reference in plain Python."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_svc.behavior import export, exports
from analytics_svc.behavior.export import ExportSpec, LookbackRule
from analytics_svc.behavior.exports import JourneyExports, Summary
from analytics_svc.dimension import DIMENSIONS
from analytics_svc.slice import DimensionFilter, Slice
from analytics_svc.statement import Rows, Statement
from analytics_svc.store.reader import translate_query
from svc_runtime.errors import QueryLimitError, UnavailableError
from tests.integration.analytics.behavior.conftest import at
from tests.integration.analytics.behavior.test_funnel_random import event_id
from tests.reading import ACME, OTHER, insert_events

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

PART = Slice(ACME, at(0), at(1000))
SPEC = ExportSpec(PART, DIMENSIONS["source"], default_rule=LookbackRule(timedelta(milliseconds=100)))
Walked = tuple[int, tuple[tuple[str, int, bool], ...], int]
"""Micros; of each touch the source, its age and whether it is direct; and 1, or 0 for what only adjusts."""


@dataclass(frozen=True)
class Act:
    """One event."""

    user: str
    at: int
    id: int
    kind: str
    source: str
    session: str = ""
    type: str = ""
    """Of a conversion; empty for what is none."""
    value: Decimal | None = None
    is_bot: bool = False
    order: str = ""
    adjusts: bool = False
    """It is no conversion, and changes the value of one."""

    @property
    def row(self) -> dict[str, Any]:
        """As a row of the reading."""
        row: dict[str, Any] = {
            "user_id": self.user,
            "event_time": at(self.at),
            "event_id": event_id(self.id),
            "event_type": self.kind,
            "source": self.source,
            "session_id": self.session,
            "is_bot": int(self.is_bot),
            "order_id": self.order,
            "is_adjustment": int(self.adjusts),
        }
        if self.type:
            row |= {
                "is_conversion": int(not self.adjusts),
                "conversion_event": self.type,
                "value": self.value,
                "currency": "EUR",
            }
        return row


class Reader:
    """Asks a client in this thread."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self.statements: list[Statement] = []

    async def rows(self, statement: Statement) -> Rows:
        """See ``ReadingReader.rows``."""
        self.statements.append(statement)
        try:
            result = self._client.query(
                statement.sql, parameters=dict(statement.parameters), settings=dict(statement.settings)
            )
        except Exception as error:
            raise translate_query(error) from error
        return Rows(tuple(result.column_names), result.result_rows, 1, 1, 0.0)


async def walked(client: "Client", spec: ExportSpec) -> tuple[list[Walked], Summary]:
    """Return the journeys of an export, in an order of their own, and its last message."""
    found: list[Walked] = []
    summary = None
    async for part in JourneyExports(Reader(client)).journeys(spec):
        if isinstance(part, Summary):
            summary = part
            continue
        names, columns = part
        values, places = exports.names_of(columns.codes, names)
        first = 0
        for micros, count, counts in zip(columns.micros, columns.touch_counts, columns.conversion_counts, strict=True):
            own = range(first, first + count)
            touches = tuple((values[places[i]], columns.ages_ms[i], bool(columns.directs[i])) for i in own)
            found.append((micros, touches, counts))
            first += count
    assert summary is not None
    return sorted(found), summary


async def counted(client: "Client", spec: ExportSpec) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Return paths with conversions, unconverted and micros."""
    found: dict[tuple[str, ...], tuple[int, int, int]] = {}
    async for part in JourneyExports(Reader(client)).paths(spec):
        if isinstance(part, Summary):
            continue
        names, columns = part
        values, places = exports.names_of(columns.codes, names)
        first = 0
        for length, *counts in zip(
            columns.touch_counts, columns.conversion_counts, columns.unconverted_counts, columns.micros, strict=True
        ):
            path = tuple(values[place] for place in places[first : first + length])
            assert path not in found
            found[path] = tuple(counts)  # type: ignore[assignment]  # three
            first += length
    return found


def reference(acts: list[Act], spec: ExportSpec, *, start: int, end: int) -> tuple[list[Walked], Counter[Any]]:
    """Return the journeys by their definition, and the paths of those who did not convert."""
    journeys: list[Walked] = []
    unconverted: Counter[Any] = Counter()
    rules = dict(spec.rules)
    for user in {act.user for act in acts if act.user}:
        mine = sorted((a for a in acts if a.user == user and a.at < end and not a.is_bot), key=lambda a: (a.at, a.id))
        touches = [a for a in mine if (not a.type or a.adjusts) and a.kind in ("click", "pageview")]
        endings = _endings(mine, spec, start)
        for ends, micros, counts in endings:
            path = _touches(touches, ends.at, ends.session, rules.get(ends.type, spec.default_rule), spec)
            told = tuple((t.source, ends.at - t.at, t.source in ("", "direct")) for t in path)
            journeys.append((micros, told, counts))
        if not endings and any(touch.at >= start for touch in touches):
            last = touches[-1]
            path = _touches(touches, last.at, last.session, spec.default_rule, spec)
            unconverted[tuple(touch.source for touch in path)] += 1
    return sorted(journeys), unconverted


def _endings(mine: list[Act], spec: ExportSpec, start: int) -> list[tuple[Act, int, int]]:
    """Return conversions with what their adjustments add, and those of conversions before, as they count."""
    # Of an order, sales are known as far back as touches are.
    reach = start - max(rule.longest_ms for rule in (spec.default_rule, *(rule for _, rule in spec.rules)))
    sales = [each for each in mine if each.type and not each.adjusts and each.at >= reach]
    wanted = [each for each in sales if each.at >= start and _is_wanted(each, spec)]
    micros = {each.id: _micros(each) for each in wanted}
    apart = []
    for each in mine:
        if not each.adjusts or not each.type or each.at < start:
            continue
        first = next((sale for sale in sales if each.order and sale.order == each.order), each)
        if first.id in micros:
            micros[first.id] += _micros(each)
        elif _is_wanted(first, spec):
            apart.append((first, _micros(each), 0))
    return [*((each, micros[each.id], 1) for each in wanted), *apart]


def _is_wanted(act: Act, spec: ExportSpec) -> bool:
    return not spec.conversion_types or act.type in spec.conversion_types


def _micros(act: Act) -> int:
    return int((act.value or 0) * 1_000_000)


def _touches(touches: list[Act], ends: int, session: str, rule: LookbackRule, spec: ExportSpec) -> list[Act]:
    inside = [t for t in touches if ends - rule.longest_ms <= t.at <= ends]
    if rule.is_same_session:
        inside = [t for t in inside if session and t.session == session]
    return inside[-spec.touch_limit :]


def act(user: str, ms: int, source: str, kind: str = "click", **more: Any) -> Act:
    """Return an event; its id follows its time."""
    return Act(user, ms, ms + 1000, kind, source, **more)


def sale(user: str, ms: int, value: str = "5", **more: Any) -> Act:
    """Return a conversion."""
    return act(user, ms, "shop", "sale", **{"type": "sale", "value": Decimal(value), **more})


def insert(client: "Client", acts: list[Act]) -> None:
    """Insert events."""
    insert_events(client, [each.row for each in acts], counts=False)


async def test_the_bounds_of_the_look_back_are_inside(client: "Client") -> None:
    insert(client, [act("u", 99, "early"), act("u", 100, "a"), act("u", 150, "seen", "impression"), act("u", 200, "")])
    insert(client, [replace(sale("u", 200), id=1), act("u", 201, "late")])
    journeys, summary = await walked(client, SPEC)
    assert journeys == [(5_000_000, (("a", 100, False), ("", 0, True)), 1)]
    assert (summary.basis.currency, summary.extent.anonymous_count) == ("EUR", 0)


async def test_conversions_of_nobody_are_counted_apart(client: "Client") -> None:
    insert(client, [sale("", 10, "2.5"), replace(sale("", 10, "2.5"), id=7), sale("u", 20)])
    journeys, summary = await walked(client, SPEC)
    assert journeys == [(5_000_000, (), 1)]
    assert (summary.extent.anonymous_count, summary.extent.anonymous_micros) == (2, 5_000_000)


async def test_each_type_has_its_look_back_and_some_only_their_session(client: "Client") -> None:
    rules = (("lead", LookbackRule(timedelta(milliseconds=10))), ("call", LookbackRule(None, is_same_session=True)))
    spec = replace(SPEC, rules=rules)
    insert(client, [act("u", 1, "a", session="s1"), act("u", 95, "b", session="s2"), sale("u", 100, "1")])
    insert(client, [sale("u", 101, "2", type="lead"), sale("u", 102, "3", type="call", session="s1")])
    insert(client, [sale("u", 103, "4", type="call")])
    journeys, _ = await walked(client, spec)
    assert [[touch[0] for touch in touches] for _, touches, _ in journeys] == [["a", "b"], ["b"], ["a"], []]


async def test_filters_choose_conversions_and_leave_the_touches(client: "Client") -> None:
    insert(client, [act("u", 1, "a"), act("u", 2, "b"), sale("u", 5), sale("u", 6, type="lead")])
    shop = (DimensionFilter(DIMENSIONS["event_type"], ("sale",)),)
    spec = replace(SPEC, slice=replace(PART, dimension_filters=shop), conversion_types=("sale",))
    journeys, _ = await walked(client, spec)
    assert [[touch[0] for touch in touches] for _, touches, _ in journeys] == [["a", "b"]]
    assert await counted(client, spec) == {("a", "b"): (1, 0, 5_000_000)}


async def test_another_organisations_events_are_in_no_journey(client: "Client") -> None:
    rows = [act("u", 1, "theirs"), sale("u", 5)]
    insert_events(client, [{**each.row, "organization_id": OTHER} for each in rows], counts=False)
    insert(client, [act("u", 2, "ours"), sale("u", 6)])
    journeys, _ = await walked(client, SPEC)
    assert journeys == [(5_000_000, (("ours", 4, False),), 1)]
    assert await counted(client, SPEC) == {("ours",): (1, 0, 5_000_000)}


async def test_a_refund_takes_from_the_conversion_of_its_order(client: "Client") -> None:
    insert(client, [act("u", 1, "a"), sale("u", 5, "10", order="o"), act("u", 6, "late")])
    insert(client, [sale("u", 8, "-4", order="o", adjusts=True), sale("u", 9, "-1", order="o", adjusts=True)])
    journeys, _ = await walked(client, SPEC)
    assert journeys == [(5_000_000, (("a", 4, False),), 1)]


async def test_a_refund_of_a_conversion_of_before_has_its_journey_and_counts_for_none(client: "Client") -> None:
    insert(client, [act("u", -9, "a"), sale("u", -5, "10", order="o"), act("u", 6, "late")])
    insert(client, [sale("u", 8, "-4", order="o", adjusts=True)])
    journeys, _ = await walked(client, SPEC)
    assert journeys == [(-4_000_000, (("a", 4, False),), 0)]
    assert await counted(client, SPEC) == {("a",): (0, 0, -4_000_000)}


async def test_a_refund_has_the_type_of_its_conversion(client: "Client") -> None:
    insert(client, [sale("u", -5, "10", order="o"), sale("u", 8, "-4", type="refund", order="o", adjusts=True)])
    journeys, _ = await walked(client, replace(SPEC, conversion_types=("sale",)))
    assert journeys == [(-4_000_000, (), 0)]
    assert (await walked(client, replace(SPEC, conversion_types=("refund",))))[0] == []


async def test_what_is_too_much_is_refused_by_its_limit(client: "Client", monkeypatch: pytest.MonkeyPatch) -> None:
    insert(client, [act("u", 1, "a"), act("u", 2, "b"), sale("u", 5), act("v", 3, "c")])
    for name, most, told in (
        ("MOST_CONVERSIONS", 0, "1 conversions; the limit is 0"),
        ("MOST_TOUCHES", 1, "2 touches; the limit is 1"),
        ("MOST_VALUES", 1, "more than 1 values"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(exports, name, most)
            with pytest.raises(QueryLimitError, match=told):
                await walked(client, SPEC)
    monkeypatch.setattr(exports, "MOST_PATHS", 1)
    with pytest.raises(QueryLimitError, match="more than 1 different paths"):
        await counted(client, SPEC)


def test_a_value_that_nobody_knows_any_more_is_no_value() -> None:
    with pytest.raises(UnavailableError, match="ask again"):
        exports.names_of([1, 2], {1: "a"})


acts = st.builds(
    lambda place, user, ms, kind, source, session, type_, value, is_bot, order, adjusts: Act(
        user, ms, place, kind, source, session, type_, value if type_ else None, is_bot, order, adjusts and bool(type_)
    ),
    st.integers(0, 10**6),
    st.sampled_from(["u", "v", "w", ""]),
    st.integers(-30, 40),
    st.sampled_from(["click", "pageview", "impression"]),
    st.sampled_from(["a", "b", "direct", ""]),
    st.sampled_from(["s1", "s2", ""]),
    st.sampled_from(["", "", "sale", "lead"]),
    st.none() | st.decimals(-5, 100, places=6),
    st.booleans(),
    st.sampled_from(["", "o1", "o2"]),
    st.booleans(),
)
rules = st.builds(
    LookbackRule, st.none() | st.integers(1, 30).map(lambda ms: timedelta(milliseconds=ms)), st.booleans()
)


@given(
    st.lists(acts, max_size=16, unique_by=lambda each: each.id),
    rules,
    st.lists(st.tuples(st.sampled_from(["sale", "lead"]), rules), max_size=2, unique_by=lambda each: each[0]),
    st.sampled_from([(), ("sale",)]),
    st.sampled_from([1, 3, 1000]),
    st.sampled_from([1, 2, 100]),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_clickhouse_and_python_find_the_same_journeys(
    client: "Client",
    done: list[Act],
    default: LookbackRule,
    own: list[tuple[str, LookbackRule]],
    types: tuple[str, ...],
    limit: int,
    share_events: int,
) -> None:
    client.command("TRUNCATE TABLE events")
    insert(client, done)
    spec = replace(SPEC, default_rule=default, rules=tuple(own), conversion_types=types, touch_limit=limit)
    expected, unconverted = reference(done, spec, start=0, end=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "SHARE_EVENTS", share_events)
        patch.setattr(export, "ROW_ENTRIES", share_events)
        journeys, _ = await walked(client, spec)
        paths = await counted(client, spec)
    assert journeys == expected
    conversions: Counter[Any] = Counter()
    micros: Counter[Any] = Counter()
    for value, touches, counts in expected:
        conversions[tuple(touch[0] for touch in touches)] += counts
        micros[tuple(touch[0] for touch in touches)] += value
    assert paths == {
        path: (conversions[path], unconverted[path], micros[path]) for path in {*conversions, *unconverted}
    }

"""Statements nobody thought of: fragments of allowed and of hostile SQL, put together at random."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from analytics_svc.sql_guard import SqlRefusedError, tenant_schema
from tests.integration.sql_guard.layers import Comparison, UnfilteredTable, ask, ask_rewritten, broken
from tests.integration.sql_guard.warehouse import ALONE, SHARED, Warehouse
from tests.unit.sql_guard.corpus import CORPUS

pytestmark = pytest.mark.store


def _one_of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.split())


_COLUMNS = _one_of("e.source e.country")
_INNER_COLUMNS = _one_of("source country")
_HOSTILE_COLUMNS = _one_of("organization_id e.organization_id cursors * __trellis_row.click_id x.y shared.events.ip")
_LITERALS = _one_of("'0' 'c1' 'CANARY%' 'US' NULL '' 'facebook' '\\''")
_TABLES = _one_of("events events events events campaign_performance_daily")
_HOSTILE_TABLES = _one_of(
    "c1 c2 cursors shared.events plain_secrets join_secrets states system.tables numbers(3) merge('.*') loop(events)"
    " `events` events,events dictionary(secrets)"
)
_CALLS = _one_of(
    "upper({}) toString({}) substring({},1,3) arrayJoin([{}]) toString(toUInt64(length({}))) toString(toUInt64({}))"
    " toString(intDiv(1,length({})))"
)
# None whose answer depends on the order of rows, which differs from run to run.
_AGGREGATES = _one_of("max({}) min({}) toString(count({})) toString(arraySort(groupArray({}))) toString(uniqExact({}))")
_OVER = ("toString(count({}) OVER (ORDER BY e.source))", "max({}) OVER (PARTITION BY e.country)", "{}", "{}", "{}")
_HOSTILE_CALLS = _one_of(
    "throwIf({}) dictGet('secrets','secret',{}) joinGet('join_secrets','secret',{}) in({},cursors) hostName({})"
    " uniqState({}) file({})"
)
_COMPARISONS = st.sampled_from(("=", "!=", "<", ">", "LIKE"))
_OWNER = st.sampled_from(("organization_id = 'org_canary'", "1 = 1", "organization_id = 'x' AND 1"))


class Grammar:
    """Statements as strategies; with ``is_hostile`` some of their parts are what must not pass."""

    def __init__(self, *, is_hostile: bool) -> None:
        def mixed(own: st.SearchStrategy[str], hostile: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
            return st.one_of(own, own, own, hostile) if is_hostile else own

        self.is_hostile = is_hostile
        self.table = mixed(_TABLES, _HOSTILE_TABLES)
        self.call = mixed(_CALLS, _HOSTILE_CALLS)
        leaf = mixed(st.one_of(_COLUMNS, _COLUMNS, _LITERALS), _HOSTILE_COLUMNS)
        self.value = st.recursive(leaf, self._values, max_leaves=3)
        self.test = st.one_of(
            st.tuples(self.value, _COMPARISONS, self.value).map(" ".join),
            st.tuples(self.value, self.value).map(" NOT LIKE ".join),
            st.tuples(_COLUMNS, _INNER_COLUMNS, self.table).map(lambda p: f"{p[0]} IN (SELECT {p[1]} FROM {p[2]})"),
            st.tuples(self.value, self.value).map(lambda p: f"NOT ({p[0]} = {p[1]} OR 1 = 1)"),
            *((self.value.map("1 IN ({})".format), _OWNER) if is_hostile else ()),
        )
        terms = st.lists(self.test, min_size=1, max_size=3)
        words = st.sampled_from((" AND ", " OR "))
        self.condition = st.tuples(words, terms).map(lambda pair: pair[0].join(pair[1]))

    def _values(self, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(self.call, inner).map(lambda p: p[0].format(p[1])),
            st.tuples(inner, inner).map(" || ".join),
            st.tuples(inner, inner, inner).map(lambda p: f"if({p[0]} = {p[1]}, {p[2]}, {p[1]})"),
            st.tuples(_INNER_COLUMNS, self.table).map(lambda p: f"(SELECT max({p[0]}) FROM {p[1]})"),
        )

    def select(self, draw: st.DrawFn, depth: int = 2, defined: tuple[str, ...] = ()) -> str:
        """Draw a SELECT with up to ``depth`` others in it; WITH has ``defined`` tables around it."""

        def sometimes(text: Callable[[], str], one_in: int = 3) -> str:
            return text() if draw(st.integers(1, one_in)) == 1 else ""

        def source() -> str:
            if not depth or draw(st.booleans()):
                return draw(st.one_of(self.table, st.sampled_from((*defined, "events"))))
            return f"({self.select(draw, depth - 1, defined)})"

        shape = draw(st.one_of(_AGGREGATES, st.sampled_from(_OVER)))
        first, second = (shape.format(draw(self.value)) for _ in range(2))
        joins = ("JOIN", "LEFT JOIN", "ANY JOIN", *(("GLOBAL JOIN",) if self.is_hostile else ()))
        text = ""
        if depth and draw(st.integers(1, 4)) == 1:
            name = draw(st.sampled_from(("events", "cursors", "c0"))) if self.is_hostile else f"c{depth}_{len(defined)}"
            text = f"WITH {name} AS ({self.select(draw, depth - 1, defined)}) "
            defined = (*defined, name)
        text += f"SELECT {first} AS source, {second} AS country FROM {source()} AS e"
        text += sometimes(lambda: f" {draw(st.sampled_from(joins))} {source()} AS f ON e.source = f.source", 5)
        owner = draw(st.sampled_from(("", "organization_id = 'org_canary' AND ")))
        text += sometimes(lambda: f" WHERE {owner}({draw(self.condition)})", 2)
        text += sometimes(lambda: f" GROUP BY ALL HAVING {draw(self.condition)}", 8)
        text += sometimes(lambda: f" ORDER BY {draw(_INNER_COLUMNS)}", 6)
        if self.is_hostile:
            text += sometimes(
                lambda: draw(st.sampled_from((" SETTINGS x = 1", " FORMAT JSON", " FINAL", ";", " -- x"))), 6
            )
        if depth:
            text += sometimes(lambda: f" UNION ALL {self.select(draw, 0)}", 6)
        return text


@st.composite
def _selects(draw: st.DrawFn, *, is_hostile: bool) -> str:
    return _GRAMMARS[is_hostile].select(draw)


_GRAMMARS = {is_hostile: Grammar(is_hostile=is_hostile) for is_hostile in (False, True)}
_SHORT_ATTACKS = [attack.sql for attack in CORPUS if len(attack.sql) < 200]


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """Two attacks of the corpus, with words of one in the other."""
    words, other = draw(st.sampled_from(_SHORT_ATTACKS)).split(" "), draw(st.sampled_from(_SHORT_ATTACKS)).split(" ")
    begin = draw(st.integers(0, len(words)))
    end = draw(st.integers(begin, len(words)))
    first = draw(st.integers(0, len(other)))
    return " ".join(words[:begin] + other[first : first + draw(st.integers(1, 4))] + words[end:])


_STATEMENTS = st.one_of(_selects(is_hostile=False), _selects(is_hostile=True), _mutated())
_SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@_SETTINGS
@given(sql=_STATEMENTS)
def test_no_statement_shows_anything_of_somebody_else(warehouse: Warehouse, sql: str) -> None:
    try:
        comparison = ask(warehouse, sql)
    except SqlRefusedError:
        return
    assert comparison.findings() == [], sql


@_SETTINGS
@given(sql=_STATEMENTS)
def test_nor_does_it_without_the_allow_list(warehouse: Warehouse, sql: str) -> None:
    schemas = (tenant_schema(SHARED), tenant_schema(ALONE))
    try:
        shared, alone = ask_rewritten(warehouse, sql, (), schemas=schemas)
    except SqlRefusedError:
        return
    assert [finding for finding in Comparison(shared, alone).findings() if finding.startswith("shows")] == [], sql


def test_the_statements_find_a_guard_that_filters_nothing(warehouse: Warehouse) -> None:
    schemas = (broken(UnfilteredTable, SHARED), broken(UnfilteredTable, ALONE))

    def leaks(sql: str) -> bool:
        try:
            answers = ask_rewritten(warehouse, sql, (), schemas=schemas)
        except SqlRefusedError:
            return False
        return any(finding.startswith("shows") for finding in Comparison(*answers).findings())

    assert find(_selects(is_hostile=False), leaks, settings=settings(_SETTINGS, phases=[Phase.generate]))

"""What tenants are meant to do: the specification's statements as they stand, values, limits, the functions."""

from datetime import UTC, date, datetime

import pytest

from analytics_svc.sql_guard import QueryLimits, functions, guard, tenant_schema
from tests.integration.sql_guard.layers import ask
from tests.integration.sql_guard.warehouse import OWN, SHARED, Warehouse
from tests.unit.sql_guard.specification import STATEMENTS, parameters

pytestmark = pytest.mark.store

_MOMENT = datetime(2024, 6, 15, 10, 30, 45, 123456, UTC)


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_specifications_statement_runs_as_it_stands(warehouse: Warehouse, name: str) -> None:
    sql = STATEMENTS[name]
    comparison = ask(warehouse, sql, parameters(sql))
    assert comparison.shared.error_code is None, comparison.shared.text
    assert comparison.findings() == []


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("time travel", ["(3,)"]),
        ("journeys", ["(1, 'facebook', 0.0, 3)", "(2, 'facebook', 4.0, 3)"]),
        ("fraud", []),
        ("prediction", ["('facebook', 'cpc', 'US', 'mobile', 0.3333333333333333, 10.0, 0."]),
        (
            "journey of one",
            ["(datetime.datetime(2023, 8, 1, 0, 0), 'facebook', 'cpc', None, 'click', Decimal('0.000000'))"],
        ),
        # Half a second between two clicks. Were the first one's predecessor 1970, it would be decades.
        ("suspicious", ["('203.0.113.7', '', 2, 1, 2, 0.5)"]),
    ],
)
def test_the_specifications_statement_answers_from_the_callers_rows(
    warehouse: Warehouse, name: str, rows: list[str]
) -> None:
    found = ask(warehouse, STATEMENTS[name], parameters(STATEMENTS[name])).shared.rows
    assert len(found) >= len(rows)
    assert [row for row in rows if not any(line.startswith(row) for line in found)] == []


def test_realtime_counts_the_last_hour(warehouse: Warehouse) -> None:
    found = ask(warehouse, STATEMENTS["realtime"], ["org_canary"]).shared
    assert found.columns == ("minute", "clicks", "conversions", "revenue")
    # Three rows of the plan, and two clicks within a second (of one minute or of two).
    assert len(found.rows) in (4, 5)


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ('it\'s a \\ "test"\n\t{x:String} %s \N{SNOWMAN}', None),
        ("", None),
        (7, None),
        (-(2**63), None),
        (2**64 - 1, None),
        (1.5, None),
        (True, None),
        (None, None),
        (["a'b", "\\"], None),
        ([1, 2], None),
        ([1, 2.5], [1.0, 2.5]),
        (_MOMENT, _MOMENT.replace(tzinfo=None)),
        (date(2024, 6, 15), None),
    ],
)
def test_a_bound_value_arrives_as_it_was(warehouse: Warehouse, value: object, answer: object) -> None:
    found = ask(warehouse, "SELECT ? AS value FROM events LIMIT 1", [value]).shared
    expected = value if answer is None else answer
    assert found.rows == (repr((expected,)),), found.text


def test_named_values_have_the_type_that_is_written(warehouse: Warehouse) -> None:
    sql = "SELECT {day:Date} AS day, {n:Nullable(UInt8)} AS n, {list:Array(String)} AS list FROM events LIMIT 1"
    found = ask(warehouse, sql, {"day": "2024-06-15", "n": None, "list": []}).shared
    assert found.rows == ("(datetime.date(2024, 6, 15), None, [])",), found.text


def test_a_value_for_in_is_a_list(warehouse: Warehouse) -> None:
    found = ask(warehouse, "SELECT count() AS n FROM events WHERE click_id IN ? OR click_id IN (?)", [["c1"], "c2"])
    assert found.shared.rows == ("(2,)",), found.shared.text


def test_a_string_reaches_the_engine_as_it_was_meant(warehouse: Warehouse) -> None:
    odd = "a'b\\c\nd\te\x01f\x7fg%s%(x)s{y:String}--/*"
    literal = odd.replace("\\", "\\\\").replace("'", "''")
    assert ask(warehouse, f"SELECT '{literal}' AS text").shared.rows == (repr((odd,)),)
    assert ask(warehouse, f"SELECT '{literal}' AS text FROM events LIMIT 1").shared.rows == (repr((odd,)),)


def test_more_rows_than_are_given_out_are_an_error_and_never_a_part(warehouse: Warehouse) -> None:
    query = guard(
        "SELECT click_id FROM events",
        organization_id=OWN,
        schema=tenant_schema(SHARED),
        query_limits=QueryLimits(result_rows=5),
    )
    assert warehouse.ask(query.sql, query.parameters, query.settings).error_code == 396


def test_a_query_that_uses_too_much_is_stopped_by_the_engine(warehouse: Warehouse) -> None:
    sql = "SELECT count() FROM events a, events b, events c, events d, events e, events f, events g, events h"
    query = guard(sql, organization_id=OWN, schema=tenant_schema(SHARED), query_limits=QueryLimits(run_seconds=1))
    assert warehouse.ask(query.sql, query.parameters, query.settings).error_code == 159


def test_every_allowed_function_exists_and_an_aggregate_is_one(warehouse: Warehouse) -> None:
    listed = warehouse.ask("SELECT name, is_aggregate FROM system.functions", {}, {})
    known = dict(eval(row) for row in listed.rows)
    assert functions.NAMES - set(known) == set()
    assert {name for name in functions.AGGREGATES if not known[name]} == set()
    assert {name for name in functions.PLAIN if known[name]} == set()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT toStartOfHour(event_time) AS hour, uniq(user_id) FROM events GROUP BY hour ORDER BY hour",
        "SELECT params['utm_campaign'] AS c, mapKeys(params), count() FROM events GROUP BY ALL",
        "SELECT sumIf(conversion_value, is_bot = false), quantileIf(0.9)(conversion_value, 1) FROM events",
        "SELECT tags[1], arrayMap((t, i) -> concat(t, toString(i)), tags, arrayEnumerate(tags)) FROM events",
        "SELECT CASE WHEN fraud_score > 50 THEN 'bad' ELSE 'good' END AS verdict, count() FROM events GROUP BY verdict",
        "SELECT date_trunc('day', timestamp) AS day, count(*) FROM events GROUP BY 1 ORDER BY 1",
        "SELECT ip, windowFunnel(60)(toDateTime(timestamp), event_type = 'click', is_bot) FROM events GROUP BY ip",
        "SELECT conversion_value > 0 ? 'sale' : 'none' AS kind, count() FROM events GROUP BY kind",
        "SELECT source, count() FROM events WHERE medium NOT LIKE 'x%' AND medium IS NOT NULL GROUP BY source",
        "SELECT sum(fraud_score) OVER (ORDER BY event_time ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM events",
        "SELECT b.n FROM events a ANY LEFT JOIN (SELECT ip, count() AS n FROM events GROUP BY ip) AS b USING (ip)",
        "WITH 7 AS days SELECT count() FROM events WHERE event_time > now() - toIntervalDay(days)",
        "SELECT tuple(ip, source).1, (ip, source).2 FROM events",
        "SELECT e.event_time::Date AS d, EXTRACT(YEAR FROM e.event_time) AS y FROM events e WHERE NOT (ip = 'x')",
        "SELECT ip FROM events UNION SELECT click_id FROM events",
        "SELECT DISTINCT ip FROM events WHERE timestamp BETWEEN today() - 7 AND now() ORDER BY ip LIMIT 3 OFFSET 1",
        "SELECT ip, event_time FROM events ORDER BY event_time DESC LIMIT 1 BY ip",
        "SELECT COUNT(DISTINCT ip), UNIQEXACT(ip), Sum(fraud_score) FROM events HAVING COUNT(*) > 1",
        "SELECT toTypeName(campaign_id), JSONExtractString('{\"a\": 1}', 'a'), IPv4StringToNumOrNull(ip) FROM events",
        "SELECT date, sum(clicks), sum(revenue) FROM campaign_performance_daily GROUP BY date ORDER BY date",
    ],
)
def test_what_analysts_write_runs(warehouse: Warehouse, sql: str) -> None:
    comparison = ask(warehouse, sql)
    assert comparison.shared.error_code is None, comparison.shared.text
    assert comparison.findings() == []

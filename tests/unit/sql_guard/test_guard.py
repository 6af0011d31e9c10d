"""What the guard writes, what it refuses and where, and what it promises of every text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_svc.sql_guard import (
    Column,
    GuardedQuery,
    Position,
    QueryLimits,
    SqlRefusedError,
    StatementLimits,
    Table,
    TenantSchema,
    guard,
)
from analytics_svc.sql_guard.schema import ROW
from tests.unit.sql_guard.corpus import CORPUS, Kind
from tests.unit.sql_guard.specification import STATEMENTS, parameters

_ROWS = "PREWHERE __trellis_row.organization_id = {trellis_org:String}"
_COLUMNS = (
    "event_time timestamp event_type click_id session_id user_id source medium campaign_id country device_type ip"
    " ip_address user_agent conversion_value fraud_score tags"
)


def _schema() -> TenantSchema:
    """Return the tables of the specification with short views, so that what is around them can be read."""
    performance = ("date", "source", "medium", "country", "device_type", "conversion_rate", "conversion_value")
    return TenantSchema.of(
        (
            Table("events", tuple(map(Column, _COLUMNS.split())), "reading", "events"),
            Table("campaign_performance_daily", tuple(map(Column, performance)), "reading", "daily"),
            Table(
                "traffic_projections",
                tuple(map(Column, ("source", "medium", "estimated_daily_traffic"))),
                "reading",
                "projections",
            ),
        )
    )


def _guarded(sql: str, values: object = (), **more: object) -> GuardedQuery:
    return guard(sql, values, organization_id="org_acmecorp", schema=_schema(), **more)  # type: ignore[arg-type] # any


def _shown(query: GuardedQuery) -> str:
    """Return the statement with each view as `<physical table>`."""
    return re.sub(
        r"\(SELECT [^()]* FROM `reading`\.`(\w+)` AS __trellis_row " + re.escape(_ROWS) + r"\)", r"<\1>", query.sql
    )


_SNAPSHOTS = {
    "time travel": (
        "SELECT count(*) AS `potential_attributed_traffic` FROM <events> AS `events` WHERE (`event_time` BETWEEN"
        " '2023-07-01' AND '2023-12-31') AND (`source` = 'facebook') AND (`medium` = 'cpc') AND (`campaign_id` IS NULL)"
        " LIMIT 100001"
    ),
    "journeys": (
        "WITH `__trellis_with_customer_journey` AS (SELECT `click_id`, `campaign_id`, `source`, `event_time`,"
        " `conversion_value`, row_number() OVER (PARTITION BY `session_id` ORDER BY `event_time`) AS `touch_sequence`"
        " FROM <events> AS `events` WHERE `session_id` IN (SELECT `session_id` FROM <events> AS `events` WHERE"
        " `conversion_value` > 0)) SELECT `touch_sequence`, `source`, avg(`conversion_value`) AS `attributed_value`,"
        " count(*) AS `touch_count` FROM `__trellis_with_customer_journey` AS `customer_journey` GROUP BY"
        " `touch_sequence`, `source` ORDER BY `touch_sequence` LIMIT 100001"
    ),
    "fraud": (
        "SELECT `source`, `country`, `device_type`, count(*) AS `clicks`, count(DISTINCT `ip_address`) AS `unique_ips`,"
        " avg(`fraud_score`) AS `avg_fraud_score`, `clicks` / `unique_ips` AS `clicks_per_ip` FROM <events> AS `events`"
        " WHERE `event_time` > (now() - INTERVAL 24 HOUR) GROUP BY `source`, `country`, `device_type` HAVING"
        " (`clicks_per_ip` > 10) OR (`avg_fraud_score` > 70) ORDER BY `avg_fraud_score` DESC LIMIT 100001"
    ),
    "prediction": (
        "WITH `__trellis_with_historical_performance` AS (SELECT `source`, `medium`, `country`, `device_type`,"
        " avg(`conversion_rate`) AS `historical_cvr`, avg(`conversion_value`) AS `historical_aov` FROM <daily> AS"
        " `campaign_performance_daily` WHERE `date` BETWEEN (now() - INTERVAL 90 DAY) AND (now() - INTERVAL 1 DAY)"
        " GROUP BY `source`, `medium`, `country`, `device_type`) SELECT `h`.*, `r`.`estimated_daily_traffic`,"
        " (`h`.`historical_cvr` * `r`.`estimated_daily_traffic`) * `h`.`historical_aov` AS `predicted_daily_revenue`"
        " FROM `__trellis_with_historical_performance` AS `h` JOIN <projections> AS `r` ON"
        " (`h`.`source` = `r`.`source`) AND (`h`.`medium` = `r`.`medium`) ORDER BY"
        " `predicted_daily_revenue` DESC LIMIT 100001"
    ),
    "journey of one": (
        "SELECT `event_time`, `source`, `medium`, `campaign_id`, `event_type`, `conversion_value` FROM <events> AS"
        " `events` WHERE `user_id` = 'usr_customer123' ORDER BY `event_time` LIMIT 100001"
    ),
    "realtime": (
        "SELECT toStartOfMinute(`event_time`) AS `minute`, count(*) AS `clicks`, countIf(`conversion_value` > 0) AS"
        " `conversions`, sum(`conversion_value`) AS `revenue` FROM <events> AS `events` WHERE `event_time` >= (now() -"
        " INTERVAL 1 HOUR) GROUP BY `minute` ORDER BY `minute` DESC LIMIT 60"
    ),
    "suspicious": (
        "SELECT `ip`, `country`, count(*) AS `click_count`, count(DISTINCT `user_agent`) AS `ua_count`,"
        " count(DISTINCT `click_id`) AS `unique_clicks`, avg(`time_between_clicks`) AS `avg_click_interval` FROM"
        " (SELECT `ip`, `country`, `user_agent`, `click_id`, `event_time`, `event_time` - lag(toNullable(`event_time`))"
        " OVER (PARTITION BY `ip` ORDER BY `event_time`) AS `time_between_clicks` FROM <events> AS `events` WHERE"
        " `event_time` >= (now() - INTERVAL 1 HOUR)) GROUP BY `ip`, `country` HAVING (`click_count` > 100) OR"
        " ((`click_count` > 20) AND (`ua_count` = 1)) OR (`avg_click_interval` < 1) ORDER BY `click_count` DESC"
        " LIMIT 100001"
    ),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_specifications_statement_is_written_anew(name: str) -> None:
    query = _guarded(STATEMENTS[name], parameters(STATEMENTS[name]))
    assert _shown(query) == _SNAPSHOTS[name]
    assert query.parameters == {"trellis_org": "org_acmecorp"}


def test_a_view_spells_out_its_columns_and_binds_the_organisation() -> None:
    table = Table("t", (Column("a"), Column("b", f"upper({ROW}.c)")), "d", "p", where="x > 1", group_by=("a", "b"))
    assert table.view() == (
        "SELECT __trellis_row.a AS `a`, upper(__trellis_row.c) AS `b` FROM `d`.`p` AS __trellis_row PREWHERE"
        " __trellis_row.organization_id = {trellis_org:String} WHERE x > 1 GROUP BY a, b"
    )


@pytest.mark.parametrize("name", ["organization_id", "a b", "a`", "", "_x"])
def test_a_schema_has_no_column_of_a_strange_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        Column(name)


@pytest.mark.parametrize(
    ("sql", "line", "column", "words"),
    [
        ("DROP TABLE events", 1, 1, "cannot begin with DROP"),
        ("SELECT 1;\nSELECT 2", 1, 9, "second statement"),
        ("SELECT click_id\nFROM events\nSETTINGS max_threads = 1", 3, 10, "SETTINGS is not allowed"),
        ("SELECT click_id,\n  hostName() FROM events", 2, 3, "the function hostName is not allowed"),
        ("SELECT click_id,\n  uniqExac(ip) FROM events", 2, 3, "did you mean uniqExact"),
        ("SELECT clickid FROM events", 1, 8, "did you mean click_id"),
        ("SELECT 1 FROM system.tables", 1, 15, "a database's name is not allowed"),
        ("SELECT 1\nFROM event", 2, 6, "did you mean events"),
        (
            "SELECT 1 FROM zzz",
            1,
            15,
            "there are the tables campaign_performance_daily, events, traffic_projections",
        ),
        ("SELECT organization_id FROM events", 1, 8, "organization_id has no place here"),
        ("SELECT 1 FROM events WHERE ip = 1 OR organization_id = 'x'", 1, 38, "organization_id has no place here"),
        ("SELECT 1 FROM numbers(10)", 1, 15, "a table function is not allowed"),
        ("WITH events AS (SELECT 1) SELECT 1", 1, 6, "a table has this name"),
        ("SELECT 'abc", 1, 8, "has no end"),
        ("SELECT 1 /* abc", 1, 10, "has no end"),
        ("SELECT FROM WHERE", 1, 13, "cannot be read"),
        ("SELECT click_id FROM events LIMIT 200000", 1, 35, "at most 100000 rows"),
        ("SELECT 1 IN (events)", 1, 8, "IN takes a list of values or a SELECT"),
        ("SELECT * EXCEPT (ip) FROM events", 1, 18, r"EXCEPT after \* is not allowed"),
        ("SELECT lag(ip) FROM events", 1, 8, "lag needs OVER"),
        ("", 1, 1, "there is no statement"),
        (" ; ", 1, 1, "second statement|no statement"),
    ],
)
def test_a_refusal_says_why_where_and_what_is_allowed(sql: str, line: int, column: int, words: str) -> None:
    with pytest.raises(SqlRefusedError, match=words) as refused:
        _guarded(sql)
    assert refused.value.position == Position(line, column), str(refused.value)
    assert f"(line {line}, column {column})" in refused.value.message
    assert refused.value.violations[0].field == "sql"


@pytest.mark.parametrize("attack", [attack for attack in CORPUS if attack.kind is not Kind.OWN], ids=str)
def test_a_refusal_does_not_repeat_a_long_text(attack: object) -> None:
    assert isinstance(attack, type(CORPUS[0]))
    with pytest.raises(SqlRefusedError) as refused:
        _guarded(attack.sql, attack.parameters)
    assert len(refused.value.message) < 1500


@pytest.mark.parametrize(
    ("condition", "rest"),
    [
        ("organization_id = 'your_org'", ""),
        ("'your_org' = organization_id", ""),
        ("(e.organization_id = 'x')", ""),
        ("organization_id = 'x' AND ip = 'y'", " WHERE `ip` = 'y'"),
        ("ip = 'y' AND (organization_id = 'x' AND organization_id = 7)", " WHERE `ip` = 'y'"),
        ("(ip = 'y' OR 1 = 1) AND organization_id = 'x'", " WHERE (`ip` = 'y') OR (1 = 1)"),
    ],
)
def test_what_a_statement_says_of_its_organisation_changes_nothing(condition: str, rest: str) -> None:
    query = _guarded(f"SELECT 1 FROM events AS e WHERE {condition}")
    assert _shown(query) == f"SELECT 1 FROM <events> AS `e`{rest} LIMIT 100001"
    assert query.parameters == {"trellis_org": "org_acmecorp"}


def test_values_are_numbered_by_their_place_in_the_text() -> None:
    sql = (
        "SELECT ? AS a FROM events WHERE organization_id = ? AND ip = ? AND click_id IN (SELECT ? FROM events) LIMIT ?"
    )
    query = _guarded(sql, ["first", "org", "third", 4, 5])
    assert query.sql.startswith("SELECT {p0:String} AS `a`")
    assert _shown(query).endswith(
        "WHERE (`ip` = {p1:String}) AND (`click_id` IN (SELECT {p2:Int64} FROM <events> AS `events`)) LIMIT 5"
    )
    assert query.parameters == {"p0": "first", "p1": "third", "p2": 4, "trellis_org": "org_acmecorp"}


def test_a_named_value_is_bound_under_a_name_of_ours() -> None:
    query = _guarded(
        "SELECT {a:Array(Nullable(DateTime64(3, 'UTC')))} AS a, {b:Decimal(10, 2)} AS b", {"a": [], "b": 1}
    )
    assert query.sql == (
        "SELECT {p0:Array(Nullable(DateTime64(3, 'UTC')))} AS `a`, {p1:Decimal(10, 2)} AS `b` LIMIT 100001"
    )
    # Nothing is read, so nobody's rows are asked for.
    assert query.parameters == {"p0": [], "p1": 1}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT -(-1)", "SELECT -(-1)"),
        ("SELECT a - -1 FROM (SELECT 1 AS a)", "SELECT `a` - (-1) FROM (SELECT 1 AS `a`)"),
        ("SELECT NOT 1 = 2 AND 3", "SELECT (NOT (1 = 2)) AND 3"),
        ("SELECT 1 + 2 * 3 - 4", "SELECT (1 + (2 * 3)) - 4"),
        ("SELECT (1 + 2) * 3", "SELECT (1 + 2) * 3"),
        ("SELECT 'it''s \\\\ \\n'", "SELECT 'it\\'s \\\\ \\x0A'"),
        ("SELECT 1 AS `a b`", "SELECT 1 AS `a b`"),
        ("SELECT 1 ? 2 : 3", "SELECT if(1, 2, 3)"),
        ("SELECT arrayMap((x, y) -> x + y, [1], [2])", "SELECT arrayMap((`x`, `y`) -> (`x` + `y`), [1], [2])"),
        ("SELECT CAST(1 AS Nullable(UInt8)), 2::String", "SELECT CAST(1 AS Nullable(UInt8)), CAST(2 AS String)"),
        ("SELECT SUMIf(1, 1), Count()", "SELECT sumIf(1, 1), count()"),
    ],
)
def test_expressions_keep_their_meaning(sql: str, expected: str) -> None:
    assert _guarded(sql).sql == f"{expected} LIMIT 100001"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 LIMIT 7", "SELECT 1 LIMIT 7"),
        ("SELECT 1 LIMIT 7 OFFSET 2", "SELECT 1 LIMIT 7 OFFSET 2"),
        ("SELECT 1 OFFSET 2", "SELECT * FROM (SELECT 1 OFFSET 2) LIMIT 11"),
        ("SELECT 1 LIMIT 2 BY 1", "SELECT 1 LIMIT 2 BY 1 LIMIT 11"),
        ("SELECT 1 UNION ALL SELECT 2 LIMIT 3", "SELECT * FROM ((SELECT 1) UNION ALL (SELECT 2 LIMIT 3)) LIMIT 11"),
        ("(SELECT 1)", "SELECT 1 LIMIT 11"),
        (
            "SELECT 1 UNION SELECT 2 UNION SELECT 3",
            "SELECT * FROM ((SELECT 1) UNION DISTINCT (SELECT 2) UNION DISTINCT (SELECT 3)) LIMIT 11",
        ),
    ],
)
def test_the_rows_that_are_given_out_are_bounded(sql: str, expected: str) -> None:
    assert _guarded(sql, query_limits=QueryLimits(result_rows=10)).sql == expected


def test_a_name_in_from_is_a_view_or_a_cte_under_a_name_of_ours() -> None:
    for attack in CORPUS:
        if attack.kind is Kind.OWN:
            try:
                text = _shown(_guarded(attack.sql, attack.parameters))
            except SqlRefusedError:
                continue  # names a column that the short tables of this test do not have
            sources = re.findall(r"(?:FROM|JOIN) (?!\[)(\S+)", re.sub(r"'(\\.|[^'\\])*'", "''", text))
            assert all(re.match(r"\(|<|`__trellis_with_|`?\w+`?$", source) for source in sources), text
            assert not re.search(r"(FROM|(?<!ARRAY )JOIN) `(?!__trellis_with_)", re.sub(r"'(\\.|[^'\\])*'", "''", text))


def test_limits_are_data_that_the_engine_keeps() -> None:
    settings = _guarded("SELECT 1", query_limits=QueryLimits(run_seconds=3, memory_bytes=5, result_rows=7)).settings
    assert settings["readonly"] == "2"
    assert settings["max_execution_time"] == "3"
    assert settings["max_memory_usage"] == "5"
    assert settings["max_result_rows"] == "7"
    assert settings["result_overflow_mode"] == "throw"
    assert settings["use_query_condition_cache"] == settings["use_query_cache"] == "0"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (StatementLimits(text_bytes=10), "bytes"),
        (StatementLimits(tokens=3), "words and signs"),
        (StatementLimits(bracket_depth=1), "brackets"),
        (StatementLimits(tree_depth=2), "nested"),
        (StatementLimits(selects=1), "SELECTs"),
        (StatementLimits(parameters=0), "values"),
    ],
)
def test_a_statement_over_a_limit_is_refused_with_the_limit(limits: StatementLimits, words: str) -> None:
    with pytest.raises(SqlRefusedError, match=words):
        _guarded("SELECT ((1)), ? UNION ALL SELECT 2, 3", [1], statement_limits=limits)


def test_a_query_has_an_organisation() -> None:
    with pytest.raises(ValueError, match="organisation"):
        guard("SELECT 1", organization_id="", schema=_schema())


_SOUP = (
    "SELECT FROM WHERE events click_id ( ) [ ] { } , . * ? : ; - + / = < > ! 'x' \" ` \\ -- /* */ # $ @ AS WITH"
    " UNION ALL JOIN ON USING ARRAY IN NOT NULL IS LIKE BETWEEN AND OR CASE WHEN THEN ELSE END CAST INTERVAL DAY GROUP"
    " BY ORDER"
    " HAVING LIMIT OFFSET SETTINGS FORMAT FINAL SAMPLE OVER PARTITION WINDOW 1 0x1 1e5 count( sum( if( x->x"
    " organization_id {x:String} system numbers(1) EXPLAIN VALUES DISTINCT COLUMNS( EXCEPT REPLACE( APPLY("
    " \x00 \ud800 \u2028 \U0001f600"
)
_WORDS = st.sampled_from(_SOUP.split(" "))


@given(st.one_of(st.lists(_WORDS, max_size=25).map(" ".join), st.lists(_WORDS, max_size=25).map("".join), st.text()))
def test_whatever_is_written_is_guarded_or_refused(text: str) -> None:
    for sql in (text, f"SELECT {text}", f"SELECT click_id FROM events {text}", f"SELECT 1 FROM events WHERE {text}"):
        try:
            query = _guarded(sql, {})
        except SqlRefusedError:
            continue
        assert not query.tables or _ROWS in query.sql
        assert not re.search(r"FROM\W+(system|numbers)\b", query.sql), query.sql

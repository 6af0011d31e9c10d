"""What an answer holds in each form, what is said of a statement that cannot run, and what is left behind: nothing."""

import csv
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from analytics_svc.sql_answer import SqlFormat
from analytics_svc.sql_guard import QueryLimits, SqlRefusedError
from analytics_svc.store.sql_errors import LIMITS, NAMES
from svc_runtime.errors import QueryLimitError
from tests.integration.analytics_sql.service import Service, serving
from tests.reading import ACME, OTHER, insert_events
from trellis.analytics.v1 import sql_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]

ODD = "a\"b,\r\nc\\d'e\t\x01 \N{SNOWMAN} </script>"
MANY = 30_000
SECRET = "SECRET-4711"


@pytest.fixture(scope="module")
def filled(service: Service) -> Service:
    """A few odd events, and many plain ones."""
    insert_events(
        service.client,
        [
            {"source": "odd", "campaign": ODD, "params": {ODD: ODD}, "tags": [ODD, ""], "value": "12.345678"},
            {"source": "odd", "campaign": "", "country": None, "event_time": datetime(2026, 3, 2, 13, tzinfo=UTC)},
            {"source": "theirs", "organization_id": OTHER, "click_id": SECRET},
            {"source": "mine", "click_id": SECRET},
        ],
    )
    service.client.command(
        "INSERT INTO events (organization_id, event_id, event_time, event_type, source, click_id)"
        f" SELECT '{ACME}', generateUUIDv7(), now64(3), 'click', 'many', toString(number) FROM numbers({MANY})"
    )
    return service


_ODD = (
    "SELECT source, campaign, params, tags, value, event_time, count() OVER () AS n, 1 / 0 AS inf, country,"
    " toUInt64(18446744073709551615) AS big, true AS yes, (1, 'x') AS pair"
    " FROM events WHERE source = 'odd' ORDER BY event_time"
)


async def test_json_holds_every_value_exactly(filled: Service) -> None:
    answer = await filled.ask(_ODD)
    first, second = answer.rows
    assert first[:4] == ["odd", ODD, {ODD: ODD}, [ODD, ""]]
    assert first[4:] == [
        "12.345678", "2026-03-02T12:00:00.000Z", "2", None, None, "18446744073709551615", True, [1, "x"],
    ]  # fmt: skip
    assert second[1:5] == [None, {}, [], None]
    assert [column.type for column in answer.columns][:2] == ["LowCardinality(String)", "Nullable(String)"]
    assert answer.totals.row_count == 2


async def test_json_is_valid_for_bytes_that_are_no_text(filled: Service) -> None:
    answer = await filled.ask("SELECT unhex('ff41') AS bytes, map(unhex('fe'), 0 / 0) AS pairs FROM events LIMIT 1")
    assert answer.rows == [["\ufffdA", {"\ufffd": None}]]


async def test_csv_is_read_back_by_others(filled: Service) -> None:
    answer = await filled.ask(_ODD, answer_format=SqlFormat.CSV)
    names, first, second = csv.reader(io.StringIO(answer.body.decode(), newline=""))
    assert names == [column.name for column in answer.columns]
    assert names[:3] == ["source", "campaign", "params"]
    assert first[1] == ODD
    assert first[4:7] == ["12.345678", "2026-03-02T12:00:00.000Z", "2"]
    assert second[1] == ""
    assert answer.body.endswith(b"\r\n")
    assert b"LowCardinality" not in answer.body


async def test_arrow_and_parquet_are_read_back_by_others(filled: Service) -> None:
    plain = _ODD.replace("1 / 0 AS inf, ", "")
    stream = await filled.ask(plain, answer_format=SqlFormat.ARROW)
    file = await filled.ask(plain, answer_format=SqlFormat.PARQUET)
    arrow = pyarrow.ipc.open_stream(stream.body).read_all()
    parquet = pyarrow.parquet.read_table(io.BytesIO(file.body))
    for table in (arrow, parquet):
        row = table.to_pylist()[0]
        assert row["campaign"] == ODD
        assert row["params"] == [(ODD, ODD)]
        assert str(row["value"]) == "12.345678"
        assert row["event_time"] == datetime(2026, 3, 2, 12, tzinfo=UTC)
        assert row["big"] == 2**64 - 1
        assert table.num_rows == 2


@pytest.mark.parametrize("answer_format", list(SqlFormat))
async def test_an_answer_without_rows_is_whole_too(filled: Service, answer_format: SqlFormat) -> None:
    answer = await filled.ask("SELECT ip, params FROM events WHERE ip = 'nobody'", answer_format=answer_format)
    assert answer.totals.row_count == 0
    match answer_format:
        case SqlFormat.JSON_ROWS:
            assert (answer.body, [column.name for column in answer.columns]) == (b"", ["ip", "params"])
        case SqlFormat.CSV:
            assert answer.body == b'"ip","params"\r\n'
        case SqlFormat.ARROW:
            assert pyarrow.ipc.open_stream(answer.body).read_all().column_names == ["ip", "params"]
        case SqlFormat.PARQUET:
            assert pyarrow.parquet.read_table(io.BytesIO(answer.body)).column_names == ["ip", "params"]


@pytest.mark.parametrize("answer_format", list(SqlFormat))
async def test_a_large_answer_comes_whole_and_in_pieces(filled: Service, answer_format: SqlFormat) -> None:
    number = {
        SqlFormat.JSON_ROWS: pb.SQL_FORMAT_JSON_ROWS,
        SqlFormat.CSV: pb.SQL_FORMAT_CSV,
        SqlFormat.ARROW: pb.SQL_FORMAT_ARROW,
        SqlFormat.PARQUET: pb.SQL_FORMAT_PARQUET,
    }[answer_format]
    sql = "SELECT click_id, event_id, event_time FROM events WHERE source = 'many'"
    header, *pieces, last = [m async for m in filled.call(pb.RunSqlRequest(sql=sql, format=number))]
    body = b"".join(piece.rows for piece in pieces)
    assert max(len(piece.rows) for piece in pieces) <= 1024 * 1024
    assert len(pieces) > 1
    assert header.header.query_id
    assert last.summary.row_count == MANY
    match answer_format:
        case SqlFormat.JSON_ROWS:
            found = {json.loads(line)[0] for line in body.splitlines()}
        case SqlFormat.CSV:
            found = {row[0] for row in list(csv.reader(io.StringIO(body.decode(), newline="")))[1:]}
        case SqlFormat.ARROW:
            found = set(pyarrow.ipc.open_stream(body).read_all()["click_id"].to_pylist())
        case SqlFormat.PARQUET:
            found = set(pyarrow.parquet.read_table(io.BytesIO(body))["click_id"].to_pylist())
    assert found == {str(i) for i in range(MANY)}


async def test_what_is_read_is_told_in_whole_blocks(filled: Service) -> None:
    """Other organisations' rows share the first and the last block: their number shows in nothing."""
    totals = (await filled.ask("SELECT count() FROM events WHERE source = 'odd'")).totals
    assert totals.rows_read % 8192 == 0 < totals.rows_read
    assert totals.bytes_read % 2**20 == 0 < totals.bytes_read


_WRONG = [
    ("SELECT toUInt64(click_id) FROM events WHERE source = 'mine'", "CANNOT_PARSE_TEXT"),
    ("SELECT intDiv(1, toUInt8(source = 'x')) FROM events", "ILLEGAL_DIVISION"),
    ("SELECT click_id + 1 FROM events", "ILLEGAL_TYPE_OF_ARGUMENT"),
    ("SELECT CAST(click_id AS Date) FROM events WHERE source = 'mine'", "CANNOT_PARSE_DATE"),
    ("SELECT click_id::UUID FROM events WHERE source = 'mine'", "CANNOT_PARSE_UUID"),
    ("SELECT click_id, count() FROM events", "NOT_AN_AGGREGATE"),
    ("SELECT 1 FROM events WHERE count() > 1", "ILLEGAL_AGGREGATION"),
    ("SELECT sum(count()) FROM events", "ILLEGAL_AGGREGATION"),
    ("SELECT e.click_id FROM events e WHERE click_id", "ILLEGAL_TYPE_OF_COLUMN_FOR_FILTER"),
    ("SELECT (SELECT click_id FROM events) AS one", "INCORRECT_RESULT_OF_SCALAR_SUBQUERY"),
    ("SELECT click_id FROM events UNION ALL SELECT click_id, ip FROM events", "TYPE_MISMATCH"),
    ("SELECT match(click_id, '(') FROM events", "CANNOT_COMPILE_REGEXP"),
    ("SELECT lower(click_id, ip) FROM events", "NUMBER_OF_ARGUMENTS_DOESNT_MATCH"),
    ("SELECT greatest(click_id, 1) FROM events", "NO_COMMON_TYPE"),
    ("SELECT {x:UInt8} AS x", "BAD_QUERY_PARAMETER"),
    ("SELECT arrayMap((a, b) -> a, tags, [1]) FROM events", "SIZES_OF_ARRAYS_DONT_MATCH"),
]


@pytest.mark.parametrize(("sql", "name"), _WRONG, ids=[name for _, name in _WRONG])
@pytest.mark.parametrize("answer_format", [SqlFormat.JSON_ROWS, SqlFormat.PARQUET])
async def test_what_the_engine_finds_wrong_is_a_refusal_without_a_value(
    filled: Service, sql: str, name: str, answer_format: SqlFormat
) -> None:
    parameters: Any = {"x": "many"} if "{x" in sql else ()
    with pytest.raises(SqlRefusedError) as refused:
        await filled.ask(sql, parameters, answer_format=answer_format)
    assert refused.value.reason == "SQL_REFUSED"
    assert f": {name} (" in refused.value.message
    assert SECRET not in refused.value.message
    assert "__trellis" not in refused.value.message
    assert refused.value.__cause__ is None
    # The next answer holds nothing of the one that failed.
    assert (await filled.ask("SELECT 42 AS answer")).rows == [[42]]


async def test_every_code_that_is_told_is_the_engines(filled: Service) -> None:
    rows = filled.client.query(
        "SELECT arrayJoin({codes:Array(Int32)}) AS code, errorCodeToName(code)",
        parameters={"codes": [*NAMES, *LIMITS]},
    ).result_rows
    known = dict(rows)
    assert {code: known[code] for code in NAMES} == NAMES
    assert not set(NAMES) & set(LIMITS)
    assert all(known[code] for code in LIMITS)


_LIMITED = [
    ("SELECT click_id FROM events", QueryLimits(result_rows=1000), "LIMIT"),
    (
        "SELECT a.click_id AS x, b.click_id AS y, count() AS n FROM events a, events b GROUP BY x, y",
        QueryLimits(temporary_bytes=1000),
        "on disk",
    ),
    ("SELECT count() FROM events a, events b WHERE a.click_id < b.click_id", QueryLimits(run_seconds=1), "longer"),
    ("SELECT max(click_id) FROM events", QueryLimits(rows_to_read=1000), "read more rows"),
    ("SELECT click_id FROM events WHERE source = 'many'", QueryLimits(bytes_to_read=1000), "read more bytes"),
    ("SELECT sum(length(repeat(click_id, 10000))) FROM events GROUP BY repeat(click_id, 10000)", None, "memory"),
    (
        "SELECT count() FROM events WHERE click_id IN (SELECT concat(click_id, toString(event_id)) FROM events)",
        QueryLimits(join_bytes=1000),
        "right of IN",
    ),
]


@pytest.mark.parametrize(("sql", "limits", "words"), _LIMITED, ids=[words for *_, words in _LIMITED])
@pytest.mark.parametrize("answer_format", [SqlFormat.JSON_ROWS, SqlFormat.ARROW])
async def test_a_limit_is_told_with_how_to_stay_below_it(
    filled: Service, sql: str, limits: QueryLimits | None, words: str, answer_format: SqlFormat
) -> None:
    memory = 64 * 2**20 if limits is None else 2048 * 2**20
    async with serving(filled.dsn, filled.client, limits=limits or QueryLimits(), memory_bytes=memory) as limited:
        with pytest.raises(QueryLimitError, match=words) as reached:
            await limited.ask(sql, answer_format=answer_format)
        assert reached.value.reason == "QUERY_LIMIT"
        assert "narrow" in reached.value.message
        assert (await limited.ask("SELECT 42 AS answer")).rows == [[42]]


async def test_nothing_is_left_behind(filled: Service, spool: Path) -> None:
    await filled.ask(_ODD)
    with pytest.raises(SqlRefusedError):
        await filled.ask("SELECT toUInt64(click_id) FROM events", answer_format=SqlFormat.PARQUET)
    assert not os.listdir(spool)  # noqa: PTH208 - quick, and a path's own listing is no better here

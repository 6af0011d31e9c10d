"""``/api/v1/query``: statements in, answers out in the form that was asked for, and never a part that looks whole."""

import asyncio
from typing import Any

import aiohttp
import pytest
from google.protobuf.json_format import MessageToDict

from svc_runtime.errors import QueryLimitError, RateLimitedError, TrellisError, UnavailableError
from tests.contract.gateway_api.fake_analytics import sql_answer
from tests.contract.gateway_api.fakes import ACME, SECRET_KEY
from tests.contract.gateway_api.mesh import Mesh
from trellis.analytics.v1 import sql_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

SQL = "SELECT source, count(*) AS clicks FROM events GROUP BY source"
CSV, ARROW, PARQUET = "text/csv", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"


async def test_an_answer_in_json_says_what_it_is_and_what_it_took(mesh: Mesh) -> None:
    answer = await mesh.post("/api/v1/query", {"sql": SQL})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json == {
        "query_id": "5f0c2b9e-6c1b-4a57-9a3e-0c5f8e1d2a34",
        "watermark": "2026-11-03T12:00:00Z",
        "columns": [{"name": "source", "type": "String"}, {"name": "clicks", "type": "UInt64"}],
        "rows": [["facebook", "5120"], ["go\nogle", "871"]],
        "row_count": 2,
        "rows_read": 8192,
        "elapsed_ms": 12.3,
    }
    assert answer.headers["X-Trellis-Query-Id"] == "5f0c2b9e-6c1b-4a57-9a3e-0c5f8e1d2a34"
    assert answer.headers["X-Trellis-Watermark"] == "2026-11-03T12:00:00Z"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "trellis"
    assert mesh.analytics.does.callers[-1].organization_id == ACME
    assert mesh.analytics.does.callers[-1].actor.startswith("key:")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"[1]\n[2]\n[3]\n",),
        (b"[1]", b"\n", b"[2]\n[3]\n"),
        (b"[1]\n", b"[2]\n", b"[3]\n"),
        (b"[", b"1", b"]\n[2", b"]\n", b"", b"[3]\n"),
    ],
)
async def test_json_is_valid_wherever_the_rows_are_cut(mesh: Mesh, pieces: tuple[bytes, ...]) -> None:
    mesh.analytics.sql_pieces = sql_answer(*pieces)
    assert (await mesh.post("/api/v1/query", {"sql": SQL})).json["rows"] == [[1], [2], [3]]


async def test_an_answer_without_rows_is_an_empty_list(mesh: Mesh) -> None:
    mesh.analytics.sql_pieces = sql_answer(b"", row_count=0)
    answer = (await mesh.post("/api/v1/query", {"sql": SQL})).json
    assert (answer["rows"], answer["row_count"]) == ([], 0)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("application/json;q=0.5, text/csv", CSV),
        ("application/json;q=0.5, text/csv;q=0.4", "application/json"),
        ("application/json;q=0, */*", CSV),
        (ARROW, ARROW),
        ("Application/VND.apache.parquet ; q=1.0", PARQUET),
    ],
)
async def test_accept_chooses_the_form(mesh: Mesh, accept: str | None, media_type: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    if media_type != "application/json":
        mesh.analytics.sql_pieces = sql_answer(b"any", b"thing")
    answer = await mesh.post("/api/v1/query", {"sql": SQL}, headers=headers)
    assert answer.status == 200
    assert answer.headers["Content-Type"].partition(";")[0] == media_type
    wanted = {"application/json": "JSON_ROWS", CSV: "CSV", ARROW: "ARROW", PARQUET: "PARQUET"}[media_type]
    assert mesh.analytics.requests[-1].format == pb.SqlFormat.Value(f"SQL_FORMAT_{wanted}")
    if media_type != "application/json":
        assert answer.body == b"anything"
        assert answer.headers["X-Trellis-Watermark"] == "2026-11-03T12:00:00Z"


@pytest.mark.parametrize("accept", ["text/html", "application/xml, image/*", "*/*;q=0", "text/csv;q=2"])
async def test_a_form_that_there_is_not_is_refused_with_those_that_there_are(mesh: Mesh, accept: str) -> None:
    answer = await mesh.post("/api/v1/query", {"sql": SQL}, headers={"Accept": accept})
    assert (answer.status, answer.reason) == (406, "NOT_ACCEPTABLE")
    assert all(name in answer.json["detail"] for name in ("application/json", CSV, ARROW, PARQUET))
    assert not mesh.analytics.requests


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        (None, {}),
        ([], {"positional": []}),
        (["a", 1, 2.5, True, None, ["x", "y"]], {"positional": ["a", 1.0, 2.5, True, None, ["x", "y"]]}),
        ({"day": "2026-01-01", "n": -(2**53)}, {"named": {"day": "2026-01-01", "n": -(2.0**53)}}),
    ],
)
async def test_values_go_along_as_they_are(mesh: Mesh, parameters: Any, sent: Any) -> None:
    body = {"sql": SQL} if parameters is None else {"sql": SQL, "parameters": parameters}
    assert (await mesh.post("/api/v1/query", body)).status == 200
    request = MessageToDict(mesh.analytics.requests[-1])
    assert {name: value for name, value in request.items() if name in ("positional", "named")} == sent
    assert request["sql"] == SQL


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"sql"}),
        ({"sql": 5}, {"sql"}),
        ({"sql": SQL, "parameters": "x"}, {"parameters"}),
        ({"sql": SQL, "parameters": [2**53 + 1]}, {"parameters[0]"}),
        ({"sql": SQL, "parameters": {"a": {"b": 1}, "c": [[[[1]]]]}}, {"parameters.a", "parameters.c"}),
        ({"sql": SQL, "organization_id": "org_other"}, {"organization_id"}),
    ],
)
async def test_what_is_wrong_with_a_request_is_named(mesh: Mesh, body: Any, fields: set[str]) -> None:
    answer = await mesh.post("/api/v1/query", body)
    assert answer.status == 400
    assert set(answer.violations) == fields
    assert not mesh.analytics.requests


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (QueryLimitError("the statement ran longer than it may: narrow it"), 422, "QUERY_LIMIT"),
        (RateLimitedError("2 queries of the organisation run and 8 wait"), 429, "RATE_LIMITED"),
        (UnavailableError("the store is away"), 503, "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_a_problem_with_its_reason(
    mesh: Mesh, error: TrellisError, status: int, reason: str
) -> None:
    mesh.analytics.sql_pieces = [error]
    answer = await mesh.post("/api/v1/query", {"sql": SQL}, headers={"Accept": ARROW})
    assert (answer.status, answer.reason) == (status, reason)
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


@pytest.mark.parametrize("accept", ["application/json", CSV, ARROW])
async def test_an_answer_that_breaks_off_is_seen_to_be_broken(mesh: Mesh, accept: str) -> None:
    mesh.analytics.sql_pieces = [*sql_answer(b"[1]\n")[:-1], UnavailableError("the store went away")]
    with pytest.raises(aiohttp.ClientError):
        await mesh.post("/api/v1/query", {"sql": SQL}, headers={"Accept": accept})


async def test_an_answer_without_its_last_message_is_seen_to_be_broken(mesh: Mesh) -> None:
    mesh.analytics.sql_pieces = sql_answer(b"[1]\n")[:-1]
    with pytest.raises(aiohttp.ClientError):
        await mesh.post("/api/v1/query", {"sql": SQL}, headers={"Accept": CSV})


@pytest.mark.parametrize("count", [0, 2])
async def test_a_client_that_leaves_ends_the_query(mesh: Mesh, count: int) -> None:
    mesh.analytics.sql_pieces = [*sql_answer(b"[1]\n")[:count], asyncio.Event()]
    call = mesh.session.post(
        f"{mesh.url}/api/v1/query", json={"sql": SQL}, headers={"Authorization": f"Bearer {SECRET_KEY}"}
    )
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.3), call as response:
            await response.read()
    async with asyncio.timeout(3):
        await mesh.analytics.was_left.wait()


async def test_csv_over_an_old_http_is_refused_as_a_cut_answer_would_look_whole(mesh: Mesh) -> None:
    async def ask(accept: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(mesh.url.rpartition(":")[2]))
        body = b'{"sql": "SELECT 1"}'
        head = f"POST /api/v1/query HTTP/1.0\r\nAuthorization: Bearer {SECRET_KEY}\r\nAccept: {accept}\r\n"
        writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = await reader.read()
        writer.close()
        return answer

    assert b" 400 " in (await ask(CSV)).partition(b"\r\n")[0]
    assert b" 200 " in (await ask("application/json")).partition(b"\r\n")[0]


async def test_the_tables_are_listed(mesh: Mesh) -> None:
    answer = await mesh.get("/api/v1/query/schema")
    columns = [{"name": "source", "type": "LowCardinality(String)"}]
    assert answer.json == {"tables": [{"name": "events", "description": "An event.", "columns": columns}]}

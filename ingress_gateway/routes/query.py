"""``/api/v1/query``: an organisation's own SQL."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, TypeAlias

import orjson
from aiohttp import web
from google.protobuf import struct_pb2

from ingress_gateway.accept import chosen
from ingress_gateway.answer import JSON, SERVER, Answer
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given, shown
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond
from svc_runtime.errors import InvalidArgumentError, TrellisError, UnavailableError, Violation
from svc_runtime.logs import get_logger
from trellis.analytics.v1 import sql_pb2 as pb

SCOPE = "analytics:read"
MEDIA_TYPES = {
    "application/json": pb.SQL_FORMAT_JSON_ROWS,
    "text/csv": pb.SQL_FORMAT_CSV,
    "application/vnd.apache.arrow.stream": pb.SQL_FORMAT_ARROW,
    "application/vnd.apache.parquet": pb.SQL_FORMAT_PARQUET,
}
LONGEST_BODY_BYTES = 512 * 1024
"""A statement of 64 KiB, escaped, and its values."""
LOOK_SECONDS = 0.5
"""How often it is looked whether the client is still there."""
WRITE_SECONDS = 60.0
"""Longest time that a client may take to read a piece."""
_LARGEST_EXACT = 2**53
_DEEPEST = 3
_Messages: TypeAlias = AsyncGenerator[pb.RunSqlResponse, None]
_log = get_logger(__name__)


async def query(call: Call) -> web.StreamResponse:
    """Run a statement over the rows of the key's organisation."""
    api = ApiCall(call, SCOPE)
    media_type = chosen(", ".join(call.arrival.headers.getall("Accept", ())), tuple(MEDIA_TYPES))
    _require_framing(call, media_type)
    body = await api.body_bytes(LONGEST_BODY_BYTES)
    # Values may be many: not on the loop that redirects people.
    request = await asyncio.to_thread(_read, body, media_type)
    messages: _Messages = api.follow(api.analytics.RunSql, request, seconds=call.gateway.settings.query_seconds)
    async with contextlib.aclosing(messages):
        # Before the head of the answer: a refusal is a problem like any other.
        header = (await _next(call, messages)).header
        response = web.StreamResponse(headers=_headers(header, media_type))
        await response.prepare(call.request)
        try:
            async for piece in _pieces(call, messages, header, media_type):
                async with asyncio.timeout(WRITE_SECONDS):
                    await response.write(piece)
        except (TrellisError, TimeoutError) as error:
            # The head is out: to break the connection is the one way to say that this is not the whole answer.
            _log.warning("an answer was cut", query_id=header.query_id, reason=getattr(error, "reason", "SLOW_READER"))
            if call.request.transport is not None:
                call.request.transport.abort()
            raise ConnectionResetError from None
        with contextlib.suppress(TrellisError):
            # To its end: a call that is cut is one that failed, to the service.
            await anext(messages, None)
    await response.write_eof()
    return response


async def query_schema(call: Call) -> web.StreamResponse:
    """List the tables and columns that a statement may name."""
    api = ApiCall(call, SCOPE)
    with api.query():
        pass
    found = await api.ask(api.analytics.DescribeSql, pb.DescribeSqlRequest())
    tables = [
        {"name": table.name, "description": table.description, "columns": _columns(table.columns)}
        for table in found.tables
    ]
    return respond(Answer(200, JSON, (), orjson.dumps({"tables": tables})))


def _read(body: bytes, media_type: str) -> pb.RunSqlRequest:
    request = pb.RunSqlRequest(format=MEDIA_TYPES[media_type])
    with Given.of_json(body) as given:
        request.sql = given.text("sql", is_required=True) or ""
        _take_parameters(given, request)
    return request


def _require_framing(call: Call, media_type: str) -> None:
    if call.arrival.http_version == "1.0" and media_type == "text/csv":
        # Over HTTP/1.0 an answer ends with the connection; every other format shows by itself that it is whole.
        raise InvalidArgumentError.of([Violation("Accept", "text/csv needs HTTP/1.1: a cut answer would look whole")])


def _headers(header: pb.SqlHeader, media_type: str) -> dict[str, str]:
    headers = {
        "Content-Type": f"{media_type}; charset=utf-8" if media_type.endswith(("json", "csv")) else media_type,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Accel-Buffering": "no",
        "X-Trellis-Query-Id": header.query_id,
        "Server": SERVER,
    }
    if header.HasField("watermark_time"):
        headers["X-Trellis-Watermark"] = timestamp_text(header.watermark_time) or ""
    return headers


async def _pieces(call: Call, messages: _Messages, header: pb.SqlHeader, media_type: str) -> AsyncIterator[bytes]:
    """Yield the body. Raise UnavailableError where the service ends before its last message."""
    if media_type != "application/json":
        while (message := await _next(call, messages)).WhichOneof("message") == "rows":
            yield message.rows
        return
    yield _json_head(header)
    rows = _JsonRows()
    while (message := await _next(call, messages)).WhichOneof("message") == "rows":
        yield rows.joined(message.rows)
    yield _json_tail(message.summary)


class _JsonRows:
    """Lines, cut anywhere, as the items of a JSON list. A line's end is no part of any text: there it is escaped."""

    def __init__(self) -> None:
        self._owes_comma = False

    def joined(self, piece: bytes) -> bytes:
        before = b",\n" if self._owes_comma and piece else b""
        self._owes_comma = piece.endswith(b"\n") if piece else self._owes_comma
        return before + piece.removesuffix(b"\n").replace(b"\n", b",\n")


def _json_head(header: pb.SqlHeader) -> bytes:
    watermark = timestamp_text(header.watermark_time) if header.HasField("watermark_time") else None
    head = {"query_id": header.query_id, "watermark": watermark, "columns": _columns(header.columns)}
    return orjson.dumps(head).removesuffix(b"}") + b',"rows":[\n'


def _json_tail(summary: pb.SqlSummary) -> bytes:
    tail = {
        "row_count": summary.row_count,
        "rows_read": summary.rows_read,
        "elapsed_ms": round(summary.elapsed_seconds * 1000, 1),
    }
    return b"\n]," + orjson.dumps(tail).removeprefix(b"{") + b"\n"


def _columns(columns: Iterable[pb.SqlColumn]) -> list[dict[str, str]]:
    return [{"name": column.name, "type": column.type} for column in columns]


async def _next(call: Call, messages: _Messages) -> pb.RunSqlResponse:
    """Wait for a message as long as the client does. Raise ConnectionResetError once it has left."""
    reading = asyncio.ensure_future(anext(messages))
    try:
        while not reading.done():
            await asyncio.wait({reading}, timeout=LOOK_SECONDS)
            transport = call.request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError
        return reading.result()
    except StopAsyncIteration:
        raise UnavailableError("the answer ended before its end") from None
    finally:
        if not reading.done():
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def _take_parameters(given: Given, request: pb.RunSqlRequest) -> None:
    """Take the values of placeholders: a list for `?`, an object for `{name:Type}`."""
    match given.anything("parameters"):
        case None:
            return
        case list() as positional:
            request.positional.SetInParent()
            request.positional.values.extend(_value(given, f"parameters[{i}]", v) for i, v in enumerate(positional))
        case dict() as named:
            request.named.SetInParent()
            for name, value in named.items():
                request.named.fields[name].CopyFrom(_value(given, f"parameters.{shown(name)}", value))
        case _:
            given.refuse("parameters", "must be a list for `?`, or an object for `{name:Type}`")


def _value(given: Given, path: str, value: Any, depth: int = 0) -> struct_pb2.Value:
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() if abs(value) > _LARGEST_EXACT:
            given.refuse(path, "is beyond 2^53, where numbers are not exact: send a text, and write {name:UInt64}")
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case list() if depth < _DEEPEST:
            items = [_value(given, path, item, depth + 1) for item in value]
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
        case _:
            given.refuse(path, "must be a text, a number, true, false, null, or a list of these")
    return struct_pb2.Value()

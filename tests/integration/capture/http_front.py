"""ClickHouse's HTTP interface over an embedded engine: ``python -m tests.integration.capture.http_front PORT DIR``.

Enough of it for clickhouse-connect: a statement in the body, in ``query`` or in a form; the data of an insert behind
its statement or in the body; ``database``, ``param_…`` and settings as parameters; any output format; errors with
``X-ClickHouse-Exception-Code``. It listens on loopback for one user, ``trellis`` with the password ``s3cret``.

``POST /fault?kind=…`` makes it fail on purpose: ``refuse`` (503), ``hang``, ``code-243`` (that error for every insert),
``drop`` (runs inserts, but closes the connection instead of answering), ``none``.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import chdb
import lz4.frame
from aiohttp import web

USER, PASSWORD = "trellis", "s3cret"
_RESERVED = frozenset(
    {
        "buffer_size",
        "client_protocol_version",
        "database",
        "decompress",
        "compress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_id",
        "user",
        "wait_end_of_query",
    }
)
_INSERT = re.compile(rb"(INSERT\s+INTO\s+.+?)\s+FORMAT\s+(\w+)\s*\n", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(r"Code: (\d+)")


class Engine:
    """Runs statements, each on a connection of its own, as HTTP requests are."""

    def __init__(self, directory: Path) -> None:
        self._address = f"{directory}?format_schema_path={directory}/format_schemas/"
        self._kept = chdb.connect(self._address)
        self._spool = directory / "front"
        self._spool.mkdir(exist_ok=True)
        self._pool = ThreadPoolExecutor(8)

    async def run(self, statement: bytes, parameters: Mapping[str, str]) -> bytes:
        """Return the output of a statement. Raises RuntimeError with the engine's text."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, statement, parameters)

    def _run(self, statement: bytes, parameters: Mapping[str, str]) -> bytes:
        with contextlib.closing(chdb.connect(self._address)) as connection:
            connection.query(f"USE `{parameters.get('database', 'default')}`")
            for name, value in parameters.items():
                if name not in _RESERVED and not name.startswith("param_"):
                    connection.query(f"SET {name} = '{_quoted(value)}'")
            insert = _INSERT.match(statement)
            if insert is not None:
                return self._insert(connection, insert[1].decode(), insert[2].decode(), statement[insert.end() :])
            bound = {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}
            answer: bytes = connection.query(statement.decode(), "TabSeparated", params=bound).bytes() or b""
            return answer

    def _insert(self, connection: Any, head: str, form: str, data: bytes) -> bytes:
        with tempfile.NamedTemporaryFile(dir=self._spool) as file:
            file.write(data)
            file.flush()
            connection.query(f"{head} FROM INFILE '{file.name}' FORMAT {form}")
        return b""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


class Front:
    """The HTTP side."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fault = "none"

    async def fault(self, request: web.Request) -> web.Response:
        """Fail on purpose from now on."""
        self._fault = request.query["kind"]
        return web.Response()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Run one statement."""
        if self._fault == "hang":
            await asyncio.sleep(3600)
        if self._fault == "refuse":
            return web.Response(status=503)
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            return _failure("Code: 516. DB::Exception: Authentication failed")
        parameters, statement = await _read(request)
        is_insert = statement[:6].upper() == b"INSERT"
        if is_insert and self._fault.startswith("code-"):
            return _failure(f"Code: {self._fault[5:]}. DB::Exception: made to fail")
        try:
            output = await self._engine.run(statement, parameters)
        except RuntimeError as error:
            return _failure(str(error))
        except UnicodeDecodeError as error:
            return _failure("Code: 469. DB::Exception: " + error.object.decode("utf-8", "surrogateescape"))
        if is_insert and self._fault == "drop" and request.transport is not None:
            request.transport.abort()
        headers = {"X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Summary": json.dumps({"written_rows": "0"})}
        if output:
            headers["X-ClickHouse-Format"] = "TabSeparated"
        return web.Response(body=output, headers=headers)


async def _read(request: web.Request) -> tuple[dict[str, str], bytes]:
    """Return a request's parameters and its statement with what follows it."""
    parameters = dict(request.query)
    if request.content_type.startswith("multipart/"):
        for name, value in (await request.post()).items():
            parameters[name] = value if isinstance(value, str) else ""
        return parameters, parameters.get("query", "").encode()
    body = await request.read()
    if request.headers.get("Content-Encoding") == "lz4":
        body = lz4.frame.decompress(body)
    query = parameters.get("query", "").encode()
    return parameters, (query + b"\n" + body) if query else body


def _failure(text: str) -> web.Response:
    found = _CODE.search(text)
    return web.Response(
        status=500,
        body=text.encode("utf-8", "surrogateescape"),
        headers={"X-ClickHouse-Exception-Code": found[1] if found else "1000"},
    )


async def main(port: int, directory: Path) -> None:
    """Serve until killed."""
    os.chdir(directory)  # the engine keeps inline schemas where it was started
    front = Front(Engine(directory))
    app = web.Application(client_max_size=2**28)
    app.add_routes([web.post("/", front.answer), web.get("/", front.answer), web.post("/fault", front.fault)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))

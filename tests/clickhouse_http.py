"""ClickHouse's HTTP interface in front of an embedded engine, so that tests take the way to a server.

It does what clickhouse-connect needs: statements in the body or the URL, settings and parameters in the URL, data in
the body, LZ4, the user and password in headers, errors with their code. A server's own behaviour under load, replicas
and users it does not have.
"""

import base64
import contextlib
import re
import tempfile
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame

USER = "trellis"
PASSWORD = "p@ss/word"
# What the transport itself is told, and the engine must not be.
_NOT_SETTINGS = frozenset(
    {
        "query",
        "query_id",
        "database",
        "session_id",
        "compress",
        "client_protocol_version",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "enable_http_compression",
        "wait_end_of_query",
        "buffer_size",
        "quota_key",
        "role",
    }
)
_INSERT = re.compile(rb"\s*(INSERT\s.*?\sFORMAT\s+\w+)\s*?\n", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)


class ClickHouseFront(ThreadingHTTPServer):
    """Listens on a port of its own; ``is_down`` makes it answer nothing."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.is_down = False
        self.statements: list[str] = []
        self.urls: list[dict[str, str]] = []
        self._directory = directory
        self._lock = threading.Lock()

    @property
    def dsn(self) -> str:
        """How to reach it, without a database."""
        return f"clickhouse://{USER}:{PASSWORD.replace('@', '%40').replace('/', '%2F')}@127.0.0.1:{self.server_port}"

    def answer(self, statement: str, data: bytes, url: dict[str, str]) -> bytes:
        """Run a statement on a connection of its own: nothing is kept between requests, as over HTTP."""
        self.statements.append(statement)
        self.urls.append(url)
        with self._lock, contextlib.closing(chdb.connect(str(self._directory))) as connection:
            if "database" in url:
                connection.query(f"USE `{url['database']}`")
            for name, value in self._settings(url).items():
                quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                connection.query(f"SET {name} = '{quoted}'")
            parameters = {name[6:]: value for name, value in url.items() if name.startswith("param_")}
            if data:
                return self._insert(connection, statement, data, parameters)
            asked = _FORMAT.search(statement)
            text = statement[: asked.start()] if asked else statement
            result: bytes = connection.query(text, asked[1] if asked else "TabSeparated", params=parameters).bytes()
            return result

    def _settings(self, url: dict[str, str]) -> dict[str, str]:
        found = {name: url[name] for name in url.keys() - _NOT_SETTINGS if not name.startswith("param_")}
        if found.get("format_schema_source") == "string":
            # A server keeps inline schemas with its data; the engine would where this process was started.
            file = self._directory / f"{zlib.crc32(found['format_schema'].encode())}.proto"
            file.write_text(found["format_schema"])
            found |= {"format_schema_source": "file", "format_schema": str(file)}
        return found

    def _insert(self, connection: Any, statement: str, data: bytes, parameters: dict[str, str]) -> bytes:
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:
            file.write(data)
            file.flush()
            asked = _FORMAT.search(statement)
            assert asked is not None, statement
            connection.query(
                f"{statement[: asked.start()]} FROM INFILE '{file.name}' FORMAT {asked[1]}", params=parameters
            )
        return b""


def _split(query: str, body: bytes) -> tuple[str, bytes]:
    """Return the statement and the data of a request: a URL's query, or the body up to its FORMAT, goes first."""
    if query:
        return query, body
    inserts = _INSERT.match(body)
    return (inserts[1].decode(), body[inserts.end() :]) if inserts else (body.decode(), b"")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ClickHouseFront

    def do_POST(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self._has_length() else self._chunks()
        if self.server.is_down:
            self.close_connection = True
            self.connection.close()
            return
        if self.headers.get("Content-Encoding") == "lz4":
            body = lz4.frame.decompress(body)
        url = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        try:
            self._check_user()
            statement, data = _split(url.get("query", ""), body)
            self._reply(200, self.server.answer(statement, data, url))
        except Exception as error:  # noqa: BLE001 - whatever it is, a server answers with it
            code = re.search(r"Code: (\d+)", str(error))
            self._reply(500, str(error).encode(), code[1] if code else "1001")

    do_GET = do_POST  # noqa: N815 - the library's name

    def _check_user(self) -> None:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expected}":
            raise PermissionError("Code: 516. DB::Exception: Authentication failed")

    def _has_length(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() != "chunked"

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status: int, body: bytes, code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Summary", "{}")
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running_clickhouse_front(directory: Path) -> Iterator[ClickHouseFront]:
    """Serve the engine in ``directory`` for the time of the block. One directory per process at a time."""
    keeper = chdb.connect(str(directory))
    front = ClickHouseFront(directory)
    thread = threading.Thread(target=front.serve_forever, name="clickhouse front", daemon=True)
    thread.start()
    try:
        yield front
    finally:
        front.shutdown()
        front.server_close()
        thread.join()
        keeper.close()

"""BigQuery's REST interface as far as the mirror uses it: tables.get/insert, jobs.get, and both kinds of upload.

The shapes are those of the REST reference (v2). A table takes rows as a load job does: all or nothing, checked against
its columns, an id once. Faults are planned by request, before or after its effect.
"""

import email.message
import gzip
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

_STATUSES = {
    "accessDenied": 403,
    "backendError": 503,
    "duplicate": 409,
    "internalError": 500,
    "invalid": 400,
    "notFound": 404,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
}
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_TABLE = re.compile(r"/bigquery/v2/projects/p/datasets/(\w+)/tables/(\w+)")
_TABLES = re.compile(r"/bigquery/v2/projects/p/datasets/(\w+)/tables")
_JOB = re.compile(r"/bigquery/v2/projects/p/jobs/([\w-]+)")
_UPLOAD = "/upload/bigquery/v2/projects/p/jobs"


@dataclass
class Fault:
    """What goes wrong with the next request that fits."""

    request: str
    """Pattern of ``METHOD path?query``."""
    reason: str = ""
    """An error of this reason; empty: the connection is cut without an answer."""
    is_after_effect: bool = False
    """Whether the request has its effect all the same."""
    delay_seconds: float = 0.0
    """How long nothing is heard first."""
    raw: bytes | None = None
    """This body, with 200, in the place of an answer."""


@dataclass
class Problem(Exception):  # noqa: N818 - an answer that is an error, by the interface's own word
    """An error answer."""

    reason: str
    message: str = "a message for people, which may quote SECRET rows"

    @property
    def body(self) -> Json:
        """The error as JSON."""
        code = _STATUSES[self.reason]
        item = {"message": self.message, "domain": "global", "reason": self.reason}
        return {"error": {"code": code, "message": self.message, "errors": [item], "status": "SOME_STATUS"}}


@dataclass
class BigQueryDouble:
    """The state behind the interface. One project ``p``, one dataset ``d``."""

    tables: dict[str, Json] = field(default_factory=dict)
    rows: dict[str, list[Json]] = field(default_factory=dict)
    jobs: dict[str, Json] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    job_fates: list[str] = field(default_factory=list)
    """Reasons by which the next jobs fail, whatever is in them; an empty one lets a job be."""
    polls_until_done: int = 0
    """How often a job is seen at work before it is seen done."""
    hidden_polls: int = 0
    """How often a job that exists is not found yet."""
    location: str = "EU"
    requests: list[str] = field(default_factory=list)
    uploads: dict[str, tuple[Json, bytearray]] = field(default_factory=dict)
    endpoint: str = ""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[Json, dict[str, str]]:
        """Return the answer's JSON and headers, or raise Problem."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == _UPLOAD:
            return self._upload(method, query, headers, body)
        if method == "GET" and (found := _TABLE.fullmatch(parts.path)):
            return self._get_table(found[2]), {}
        if method == "POST" and _TABLES.fullmatch(parts.path):
            return self._insert_table(json.loads(body)), {}
        if method == "GET" and (found := _JOB.fullmatch(parts.path)):
            return self._get_job(found[1], query.get("location")), {}
        raise AssertionError(f"the mirror does not use {method} {target}")

    def _get_table(self, name: str) -> Json:
        if name not in self.tables:
            raise Problem("notFound")
        return self.tables[name]

    def _insert_table(self, table: Json) -> Json:
        name = table["tableReference"]["tableId"]
        if table["tableReference"]["datasetId"] != "d":
            raise Problem("notFound")
        if name in self.tables:
            raise Problem("duplicate")
        self.tables[name] = {"kind": "bigquery#table", "location": self.location, **table}
        self.rows[name] = []
        return self.tables[name]

    def _get_job(self, job_id: str, location: str | None) -> Json:
        job = self.jobs.get(job_id)
        if self.hidden_polls or job is None or location != self.location:
            self.hidden_polls = max(0, self.hidden_polls - 1)
            raise Problem("notFound")
        if self.polls_until_done:
            self.polls_until_done -= 1
            return {**job, "status": {"state": "RUNNING" if self.polls_until_done else "PENDING"}}
        return job

    def _upload(self, method: str, query: dict[str, str], headers: Any, body: bytes) -> tuple[Json, dict[str, str]]:
        if method == "POST" and query["uploadType"] == "multipart":
            job, content = _two_parts(headers["content-type"], body)
            return self._insert_job(job, content), {}
        if method == "POST":
            upload_id = uuid.uuid4().hex
            self.uploads[upload_id] = (json.loads(body), bytearray())
            return {}, {"Location": f"{self.endpoint}{_UPLOAD}?uploadType=resumable&upload_id={upload_id}"}
        job, received = self.uploads[query["upload_id"]]
        received.extend(body)
        total = headers["content-range"].rpartition("/")[2]
        assert total == str(len(received)), "the mirror knows the size and sends one chunk"
        return self._insert_job(job, bytes(received)), {}

    def _insert_job(self, job: Json, content: bytes) -> Json:
        job_id, load = job["jobReference"]["jobId"], job["configuration"]["load"]
        name = load["destinationTable"]["tableId"]
        if job_id in self.jobs:
            raise Problem("duplicate")
        if name not in self.tables:
            raise Problem("notFound")
        reason, rows = self._judge(name, load, content)
        status: Json = {"state": "DONE"}
        if reason:
            error = {"reason": reason, "message": "SECRET"}
            status |= {"errorResult": error, "errors": [error]}
            rows = []
        self.rows[name].extend(rows)
        self.jobs[job_id] = {
            "kind": "bigquery#job",
            "id": f"p:{self.location}.{job_id}",
            "jobReference": {"projectId": "p", "jobId": job_id, "location": self.location},
            "configuration": {"jobType": "LOAD", "load": load},
            "status": status,
            "statistics": {"creationTime": "1795161600000", "load": {"outputRows": str(len(rows)), "badRecords": "0"}},
        }
        return {**self.jobs[job_id], "status": {"state": "RUNNING"}}

    def _judge(self, name: str, load: Json, content: bytes) -> tuple[str, list[Json]]:
        """Return why a job fails, or an empty reason and its rows."""
        assert load["writeDisposition"] == "WRITE_APPEND"
        assert load["createDisposition"] == "CREATE_NEVER"
        assert load["sourceFormat"] == "NEWLINE_DELIMITED_JSON"
        assert not load.get("maxBadRecords")
        if fate := self.job_fates.pop(0) if self.job_fates else "":
            return fate, []
        columns = {column["name"]: column for column in self.tables[name]["schema"]["fields"]}
        for given in load["schema"]["fields"]:
            if given["name"] not in columns or columns[given["name"]]["type"] != given["type"]:
                return "invalid", []
        plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        rows = [json.loads(line) for line in plain.splitlines()]
        return ("", rows) if all(_fits(row, columns) for row in rows) else ("invalid", [])


def _fits(row: Json, columns: dict[str, Json]) -> bool:
    if set(row) - set(columns):
        return False
    for name, column in columns.items():
        value = row.get(name)
        if value is None and column.get("mode") == "REQUIRED":
            return False
        if value is not None and column["type"] != "JSON" and not isinstance(value, str):
            return False
        if value is not None and column["type"] == "TIMESTAMP" and not _TIMESTAMP.fullmatch(value):
            return False
    return True


def _two_parts(content_type: str, body: bytes) -> tuple[Json, bytes]:
    header = email.message.Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    assert boundary is not None
    # By hand: a mail parser would take line ends inside gzip for its own.
    parts = body.split(b"--" + boundary.encode())
    assert len(parts) == 4, "a part before the first boundary, two, and the end"
    job, content = (part.partition(b"\r\n\r\n") for part in parts[1:3])
    assert b"content-type: */*" in content[0].lower()
    return json.loads(job[2]), content[2].removesuffix(b"\r\n")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one packet
    double: BigQueryDouble

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        request = f"{self.command} {self.path}"
        self.double.requests.append(request)
        fault = self._next_fault(request)
        if fault and not fault.is_after_effect:
            self._fail(fault)
            return
        try:
            answer, headers = self.double.answer(self.command, self.path, self.headers, body)
            status = 200
        except Problem as problem:
            answer, headers, status = problem.body, {}, _STATUSES[problem.reason]
        if fault:
            self._fail(fault)
            return
        self._send(status, json.dumps(answer).encode(), headers)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the base class's names

    def _next_fault(self, request: str) -> Fault | None:
        for fault in self.double.faults:
            if re.search(fault.request, request):
                self.double.faults.remove(fault)
                return fault
        return None

    def _fail(self, fault: Fault) -> None:
        time.sleep(fault.delay_seconds)
        if fault.raw is not None:
            self._send(200, fault.raw, {})
        elif fault.reason:
            self._send(_STATUSES[fault.reason], json.dumps(Problem(fault.reason).body).encode(), {})
        else:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def serving() -> Iterator[BigQueryDouble]:
    """Serve a double on a loopback port for the time of the block."""
    double = BigQueryDouble()
    handler = type("Handler", (_Handler,), {"double": double})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        double.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield double
        finally:
            server.shutdown()
            thread.join()

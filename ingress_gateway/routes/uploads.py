"""``/api/v1/conversions:upload``: a CSV file of conversions, whose good rows become events as a postback does."""

import asyncio
import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any, BinaryIO

import orjson
from aiohttp import web

from ingress_gateway.answer import JSON, Answer
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.journal.waiting import FutureWaiter
from ingress_gateway.organisations import Principal
from ingress_gateway.responses import respond
from ingress_gateway.routes.postback import ROUTE
from ingress_gateway.uploads.csv_file import CsvFile, inspect, rows_of
from ingress_gateway.uploads.csv_row import CheckedRow, check_row
from ingress_gateway.uploads.spool import spooled
from svc_runtime.errors import RateLimitedError

LONGEST_UPLOAD_ID = 128
MOST_UNDER_WAY = 8
"""Uploads that a worker takes at a time."""
MOST_OF_AN_ORGANIZATION = 2
MARK = "upload"
_ROWS_AT_ONCE = 500
_MOST_BYTES_AT_ONCE = 1024 * 1024
_WITHOUT_PAUSE = 50


class Uploads:
    """The handler. Files come in beside each other, and are recorded one after the other: people follow links here."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._under_way: Counter[str] = Counter()

    async def upload(self, call: Call) -> web.StreamResponse:
        """Record the good rows of a file and say of every row what became of it."""
        api = ApiCall(call, "conversions:write")
        with api.query() as given:
            is_dry_run = given.flag("dry_run") or False
            upload_id = given.text("upload_id") or ""
            if len(upload_id) > LONGEST_UPLOAD_ID:
                given.refuse("upload_id", f"has {len(upload_id)} characters; the limit is {LONGEST_UPLOAD_ID}")
        settings = call.gateway.settings
        with self._counted(api.organization_id):
            async with spooled(call.request, settings) as file, self._turn:
                found = await asyncio.to_thread(inspect, file, most_rows=settings.max_upload_rows)
                upload = _Upload(call, api.check(), upload_id or found.digest, is_dry_run=is_dry_run)
                return await upload.answer(file, found)

    @contextlib.contextmanager
    def _counted(self, organization_id: str) -> Iterator[None]:
        """Raise RateLimitedError where too many files are under way: they lie on the disk that the journal needs."""
        for count, limit in (
            (self._under_way[organization_id], MOST_OF_AN_ORGANIZATION),
            (self._under_way.total(), MOST_UNDER_WAY),
        ):
            if count >= limit:
                raise RateLimitedError(
                    f"{count} uploads are under way, the limit: send it again later", retry_after_seconds=5.0
                )
        self._under_way[organization_id] += 1
        try:
            yield
        finally:
            self._under_way[organization_id] -= 1
            if not self._under_way[organization_id]:
                del self._under_way[organization_id]


class _Upload:
    """One file."""

    def __init__(self, call: Call, principal: Principal, upload_id: str, *, is_dry_run: bool) -> None:
        self._call = call
        self._principal = principal
        self._upload_id = upload_id
        self._is_dry_run = is_dry_run
        self._most_bytes = call.gateway.settings.max_event_bytes
        self._now_ms = time.time_ns() // 1_000_000
        self._times: Counter[str] = Counter()
        """How often each row, by its digest, was there so far."""

    async def answer(self, file: BinaryIO, found: CsvFile) -> web.Response:
        """Record what is good, piece by piece, each on disk before the next."""
        items: list[bytes] = []
        good = 0
        async for piece in self._pieces(rows_of(file, found), found):
            outcomes = [self._refused(row) for row in piece if row.violations]
            outcomes += await self._record([row for row in piece if not row.violations])
            good += sum(outcome["outcome"] != "refused" for outcome in outcomes)
            items += map(orjson.dumps, sorted(outcomes, key=lambda outcome: outcome["row"]))
        head = {
            "upload_id": self._upload_id,
            "dry_run": self._is_dry_run,
            "encoding": found.encoding,
            "delimiter": found.delimiter,
            "columns": found.columns,
            "rows": found.row_count,
            "stored": 0 if self._is_dry_run else good,
            "refused": found.row_count - good,
        }
        body = b'%b,"items":[%b]}' % (orjson.dumps(head)[:-1], b",".join(items))
        return respond(Answer(200, JSON, [], body))

    async def _pieces(self, rows: Iterator[Any], found: CsvFile) -> AsyncIterator[list[CheckedRow]]:
        def checked() -> list[CheckedRow]:
            piece, size = [], 0
            for row in islice(rows, _ROWS_AT_ONCE):
                one = check_row(found, row, now_ms=self._now_ms, most_bytes=self._most_bytes)
                piece.append(one)
                size += len(one.payload.data)
                if size > _MOST_BYTES_AT_ONCE:
                    break
            return piece

        while piece := await asyncio.to_thread(checked):
            yield piece

    async def _record(self, rows: list[CheckedRow]) -> list[dict[str, Any]]:
        if self._is_dry_run:
            return [{"row": row.row.number, "line": row.row.line, "outcome": "valid"} for row in rows]
        waiter = FutureWaiter(asyncio.get_running_loop().create_future(), len(rows))
        outcomes = []
        for place, row in enumerate(rows):
            outcomes.append(self._record_row(row, waiter))
            if place % _WITHOUT_PAUSE == 0:
                await asyncio.sleep(0)
        if rows:
            await waiter.future
        return outcomes

    def _record_row(self, checked: CheckedRow, waiter: FutureWaiter) -> dict[str, Any]:
        call, payload, row = self._call, checked.payload, checked.row
        organization_id = self._principal.organization_id
        event_id = call.gateway.recorder.record(
            call.arrival,
            waiter,
            organization_id=organization_id,
            route=ROUTE,
            event_type=payload.event_type(b"conversion"),
            status=200,
            body=payload.data,
            external_click_id=payload.external_click_id(),
            user_id=call.gateway.visitors.of_server(call.arrival, organization_id),
            idempotency_key=self._key(checked),
            sender=MARK,
            item_index=row.number,
            marks=(MARK, "test") if self._principal.is_test else (MARK,),
            key_id=self._principal.key_id,
            trace_id=call.trace_id,
            traceparent=call.traceparent if row.number == 1 else "",
        )
        return {"row": row.number, "line": row.line, "outcome": "stored", "event_id": event_id}

    def _key(self, checked: CheckedRow) -> bytes:
        """Return the row's own id, wherever it stands: in the same upload the same row is the same event.

        One that is there twice is two; a corrected one is another.
        """
        digest = hashlib.sha256(checked.payload.data).hexdigest()[:16]
        self._times[digest] += 1
        return f"{self._upload_id}/{digest}/{self._times[digest]}".encode()

    @staticmethod
    def _refused(checked: CheckedRow) -> dict[str, Any]:
        return {
            "row": checked.row.number,
            "line": checked.row.line,
            "outcome": "refused",
            "errors": [{"field": one.field, "description": one.description} for one in checked.violations],
        }

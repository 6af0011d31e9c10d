"""``/events`` and ``/batch``: events that programs send."""

import asyncio
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from ingress_gateway.arrival import Arrival
from ingress_gateway.batches import batch_key, split_batch
from ingress_gateway.bodies import read_body
from ingress_gateway.gateway import Call
from ingress_gateway.journal.waiting import FutureWaiter
from ingress_gateway.payloads import Payload, parse_item
from ingress_gateway.receiving import content_type, idempotency_key, off_loop, receive, tenant_of, visitor_of
from ingress_gateway.recording import record_one
from ingress_gateway.responses import respond_json
from ingress_gateway.tenancy import Tenant
from svc_runtime.errors import TooLargeError

_MOST_AT_ONCE = 1000
_MOST_BYTES_AT_ONCE = 1024 * 1024
_MOST_WITHOUT_PAUSE = 100
_MOST_HEADER_BYTES = 64 * 1024 * 1024
"""Of a batch's events together: each of them keeps the headers of the request."""


async def events(call: Call) -> web.StreamResponse:
    """Store one event; a body that cannot be read is stored as its bytes and marked."""
    payload, tenant = await receive(call, route="events")
    event_id = await record_one(
        call,
        tenant,
        route="events",
        event_type=payload.event_type(b"event"),
        user_id=visitor_of(call, tenant.organization_id),
        external_click_id=payload.external_click_id(),
        idempotency_key=idempotency_key(call) or payload.idempotency_key(),
        marks=payload.marks,
    )
    body: dict[str, Any] = {"event_id": event_id, "outcome": "stored"}
    if payload.marks:
        body["marks"] = payload.marks
    return respond_json(body, headers={"X-Trellis-Event-Id": event_id, "X-Trellis-Outcome": "stored"})


async def batch(call: Call) -> web.StreamResponse:
    """Store many events: each item has its own outcome, and the odd ones are named by their index."""
    gateway, arrival = call.gateway, call.arrival
    body = arrival.body = await read_body(call.request, gateway.settings, gateway.settings.max_batch_bytes)
    items = await off_loop(len(body), split_batch, body, content_type(call), gateway.settings.max_batch_items)
    tenant = tenant_of(call, route="batch", body_key=await off_loop(len(body), batch_key, body))
    recording = _Recording(call, tenant)
    for begin, end in _pieces(items, _headers_per_item(arrival, len(items))):
        await recording.record(begin, items[begin:end])
    outcomes = recording.outcomes
    stored = sum(outcome["outcome"] == "stored" for outcome in outcomes)
    return respond_json(
        {
            "received": len(items),
            "stored": stored,
            "refused": len(items) - stored,
            "marked": sum("marks" in outcome for outcome in outcomes),
            "items": outcomes,
        },
        headers={"X-Trellis-Outcome": "stored"},
    )


def _headers_per_item(arrival: Arrival, count: int) -> int:
    """Return the bytes of headers that each item's event holds; raise TooLargeError where that grows out of bounds."""
    size = len(arrival.header_block())
    if size * count > _MOST_HEADER_BYTES:
        raise TooLargeError(
            f"{count} items with {size} bytes of headers each come to more than {_MOST_HEADER_BYTES} bytes, the limit"
        )
    return size


def _pieces(items: list[bytes], overhead: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of pieces that are small enough to wait in memory for the disk."""
    begin = size = 0
    for index, item in enumerate(items):
        if index > begin and (index - begin == _MOST_AT_ONCE or size + len(item) + overhead > _MOST_BYTES_AT_ONCE):
            yield begin, index
            begin, size = index, 0
        size += len(item) + overhead
    if items:
        yield begin, len(items)


class _Recording:
    """Records the items of a batch, piece by piece, each on disk before the next.

    A JournalFullError in between fails the request; its repeat is recognised where items carry ids of their own, or the
    request an Idempotency-Key.
    """

    def __init__(self, call: Call, tenant: Tenant) -> None:
        self._call = call
        self._tenant = tenant
        self._limit = call.gateway.settings.max_event_bytes
        self._user_id = visitor_of(call, tenant.organization_id)
        self._key = idempotency_key(call)
        self.outcomes: list[dict[str, Any]] = []
        """Of every item so far."""

    async def record(self, begin: int, items: list[bytes]) -> None:
        """Record the items from index ``begin`` on and wait until they are on disk."""
        fitting = [item for item in items if len(item) <= self._limit]
        parsed = iter(await off_loop(sum(map(len, fitting)), _parse_all, fitting))
        waiter = FutureWaiter(asyncio.get_running_loop().create_future(), len(fitting))
        for index, item in enumerate(items, start=begin):
            if len(item) > self._limit:
                detail = f"the item has {len(item)} bytes; the limit is {self._limit}"
                self.outcomes.append({"index": index, "outcome": "refused", "reason": "TOO_LARGE", "detail": detail})
            else:
                self.outcomes.append(self._record_item(index, next(parsed), waiter))
            if index % _MOST_WITHOUT_PAUSE == 0:
                await asyncio.sleep(0)
        if fitting:
            await waiter.future

    def _record_item(self, index: int, item: Payload, waiter: FutureWaiter) -> dict[str, Any]:
        tenant, call = self._tenant, self._call
        event_id = call.gateway.recorder.record(
            call.arrival,
            waiter,
            organization_id=tenant.organization_id,
            route="batch",
            event_type=item.event_type(b"event"),
            status=200,
            body=item.data,
            user_id=self._user_id,
            external_click_id=item.external_click_id(),
            idempotency_key=item.idempotency_key() or (b"%b/%d" % (self._key, index) if self._key else b""),
            item_index=index,
            marks=(*item.marks, "test") if tenant.is_test else item.marks,
            key_id=tenant.key_id,
            trace_id=call.trace_id,
            traceparent=call.traceparent if index == 0 else "",
        )
        outcome: dict[str, Any] = {"index": index, "event_id": event_id, "outcome": "stored"}
        if item.marks:
            outcome["marks"] = item.marks
        return outcome


def _parse_all(items: list[bytes]) -> list[Payload]:
    return [parse_item(item) for item in items]

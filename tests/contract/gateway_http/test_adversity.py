"""A disk that is full, fails or hangs; a start without services, or without anything; a drain."""

import asyncio
import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import pytest
from aiohttp import web

from ingress_gateway.app import App, HttpRoute
from ingress_gateway.gateway import Call
from ingress_gateway.journal.disk import OsDisk
from tests.contract.gateway_http.wire import Response, connection, request
from tests.contract.gateway_http.worker import PUBLISHABLE_KEY, Worker, running_worker
from tests.unit.gateway.journals import until

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
KEY = f"Authorization: Bearer {PUBLISHABLE_KEY}"
BUDGET = pytest.mark.parametrize("own_worker", [{"redirect_budget_ms": 20}], indirect=True)
POSTS = [
    request("/events", KEY, method="POST", body=b"{}"),
    request("/batch", KEY, method="POST", body=b"[1,2]"),
    request("/postback?cid=1"),
    request("/track", "Accept: application/json"),
]


class Disk:
    """What the real disk does while a test lasts: it may hang, or fail."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.error: int | None = None

    def replacing_the_real_one(self) -> AbstractContextManager[object]:
        """Replace it for a block inside the worker's own: the other way round the worker's replacement would stay."""
        return patch.object(OsDisk, "_write_synced", lambda _disk, *arguments: self.write(*arguments))

    def write(self, descriptor: int, view: memoryview, offset: int) -> int:
        assert self.goes_on.wait(20)
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return os.pwritev(descriptor, [view], offset)


@pytest.fixture
def disk(own_worker: Worker) -> Iterator[Disk]:
    disk = Disk()
    with disk.replacing_the_real_one():
        yield disk
        disk.goes_on.set()
        disk.error = None


async def _slow(worker: Worker, data: bytes) -> Response:
    """Ask over a connection that has left the fast lane."""
    async with connection(worker.port) as held:
        await held.ask(request("/healthz"))
        return await held.ask(data)


async def _check_nothing_is_recorded(worker: Worker) -> None:
    """A journal that takes nothing stops no person, and tells programs to come again."""
    counters = worker.gateway.counters
    before = counters.unrecorded_redirect_count
    click = request("/in/summer_sale?a=1")
    for ask in (worker.ask, lambda data: _slow(worker, data)):
        # The disk itself is asked, not the memory of its last failure.
        worker.gateway.journal._fail_until = 0.0
        response = await ask(click)
        assert response.status == 302
        assert response.location.startswith("https://shop.acmecorp.com/summer-sale?a=1&click_id=")
        # Nobody is told of an event that is not there.
        assert (response.outcome, response.event_id) == ("unrecorded", "")
        assert (response.header("Set-Cookie") or "").startswith("_tl_v=")
    assert counters.unrecorded_redirect_count == before + 2
    image = await worker.ask(request("/pixel.gif"))
    assert (image.status, image.body[:6], image.outcome, image.event_id) == (200, b"GIF89a", "unrecorded", "")
    page = await worker.ask(request("/in/unknown"))
    assert (page.status, page.outcome, page.event_id) == (404, "unrecorded", "")
    for data in POSTS:
        response = await worker.ask(data)
        assert response.status == 503
        assert json.loads(response.body)["reason"] == "JOURNAL_FULL"
        assert int(response.header("Retry-After") or 0) >= 1
    ready = await worker.ask(request("/readyz"))
    assert ready.status == 503
    assert json.loads(ready.body)["checks"]["store"]["ok"] is False


async def _check_all_is_recorded(worker: Worker) -> None:
    await until(lambda: worker.gateway.journal.is_accepting)
    before = len(await worker.events())
    assert (await worker.ask(request())).outcome == "stored"
    assert (await worker.ask(request("/pixel.gif"))).outcome == "stored"
    for data in POSTS:
        assert (await worker.ask(data)).status == 200
    assert len(await worker.events()) == before + 7


async def test_a_full_disk_stops_no_person_and_ends_by_itself(own_worker: Worker, disk: Disk) -> None:
    await _check_all_is_recorded(own_worker)
    disk.error = errno.ENOSPC
    await _check_nothing_is_recorded(own_worker)
    assert own_worker.gateway.counters.unrecorded_pixel_count == 1
    disk.error = None
    await _check_all_is_recorded(own_worker)


async def test_a_failing_disk_stops_no_person(own_worker: Worker, disk: Disk) -> None:
    disk.error = errno.EIO
    for _ in range(3):
        await _check_nothing_is_recorded(own_worker)
        await asyncio.sleep(0.11)
    disk.error = None
    await _check_all_is_recorded(own_worker)
    assert own_worker.gateway.journal.counters.abandoned_segment_count > 0


@pytest.mark.parametrize(
    "own_worker", [{"journal_disk_bytes": 32 * 1024**2, "journal_segment_bytes": 16 * 1024**2}], indirect=True
)
async def test_a_journal_at_its_bound_stops_no_person_and_goes_on_when_it_is_shipped(own_worker: Worker) -> None:
    body = b"x" * 1024 * 1000
    while (await own_worker.ask(request("/events", KEY, method="POST", body=body))).status == 200:
        pass
    await _check_nothing_is_recorded(own_worker)
    journal = own_worker.gateway.journal
    await journal.flush()
    journal.backlog.acknowledge([*journal.backlog][-1].sequence)
    await journal.checkpoint()
    await _check_all_is_recorded(own_worker)


@BUDGET
async def test_a_hanging_disk_holds_a_redirect_no_longer_than_its_budget(own_worker: Worker, disk: Disk) -> None:
    await own_worker.ask(request())
    disk.goes_on.clear()
    counters = own_worker.gateway.counters
    slowest = 0.0
    for number in range(30):
        # Every way to a redirect, over and over: the first group is being written, all others wait behind it.
        for asking in (own_worker.ask, lambda data: _slow(own_worker, data)):
            started = time.monotonic()
            response = await asking(request(f"/in/summer_sale?n={number}"))
            slowest = max(slowest, time.monotonic() - started)
            assert (response.status, response.outcome) == (302, "late")
            assert response.event_id
    page = await own_worker.ask(request("/in/unknown"))
    assert (page.status, page.outcome) == (404, "late")
    assert slowest < 1.0, "the disk hangs for ever; a busy machine is slow"
    assert counters.late_redirect_count == 61
    assert counters.unrecorded_redirect_count == 0
    disk.goes_on.set()
    await own_worker.gateway.journal.flush()
    assert len(await own_worker.events()) == 62


@BUDGET
async def test_a_hundred_clicks_at_once_behind_a_hanging_disk_all_leave_in_time(own_worker: Worker, disk: Disk) -> None:
    await own_worker.ask(request())
    disk.goes_on.clear()
    started = time.monotonic()
    responses = await asyncio.gather(*(own_worker.ask(request(f"/in/summer_sale?n={n}")) for n in range(100)))
    assert time.monotonic() - started < 0.5
    assert {response.status for response in responses} == {302}


@BUDGET
async def test_who_was_told_stored_waits_for_a_hanging_disk(own_worker: Worker, disk: Disk) -> None:
    """A redirect may leave early; a 2xx may not."""
    disk.goes_on.clear()
    asking = [asyncio.ensure_future(own_worker.ask(data)) for data in (*POSTS, request("/pixel.gif"))]
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in asking)
    disk.goes_on.set()
    assert {response.status for response in await asyncio.gather(*asking)} == {200}


@BUDGET
async def test_a_late_redirect_whose_write_then_fails_is_one_answer(own_worker: Worker, disk: Disk) -> None:
    disk.goes_on.clear()
    disk.error = errno.EIO
    async with connection(own_worker.port) as held:
        assert (await held.ask(request())).status == 302
        disk.goes_on.set()
        await until(lambda: own_worker.gateway.journal.counters.failed_event_count == 1)
        disk.error = None
        await until(lambda: own_worker.gateway.journal.is_accepting)
        assert (await held.ask(request())).status == 302
        assert held.left == b""


async def test_who_leaves_while_the_disk_hangs_is_recorded_all_the_same(own_worker: Worker, disk: Disk) -> None:
    disk.goes_on.clear()
    for data in (request(), *POSTS, request("/pixel.gif")):
        async with connection(own_worker.port) as held:
            await held.send(data)
            await asyncio.sleep(0.02)
            held.writer.transport.abort()
    disk.goes_on.set()
    await asyncio.sleep(0.05)
    assert len(await own_worker.events()) == 7


# -- start and end ----------------------------------------------------------------------------------------------------


async def test_it_starts_with_what_the_disk_remembers_while_no_service_is_there(tmp_path: Path) -> None:
    async with running_worker(tmp_path) as first:
        assert (await first.ask(request())).status == 302
        kept = await first.events()
    async with running_worker(tmp_path, has_snapshots=False) as second:
        assert (await second.ask(request())).status == 302
        assert (await second.ask(POSTS[0])).status == 200
        events = await second.events()
        assert events[0] == kept[0]
        assert [event.sequence for event in events] == sorted({event.sequence for event in events})
        assert second.gateway.journal.journal_id == first.gateway.journal.journal_id
        ready = json.loads((await second.ask(request("/readyz"))).body)
        assert ready["checks"]["redirect"] == {"ok": True}
        assert ready["checks"]["store"]["ok"] is False
        assert (await second.ask(request("/readyz?check=redirect"))).status == 200
        assert (await second.ask(request("/healthz"))).status == 200


async def test_it_starts_with_nothing_and_keeps_what_comes(tmp_path: Path) -> None:
    async with running_worker(tmp_path, has_snapshots=False) as worker:
        response = await worker.ask(request())
        assert (response.status, response.outcome) == (404, "unclaimed")
        # Nobody is told that a key is wrong before keys are known.
        assert (await worker.ask(POSTS[0])).status == 503
        assert (await worker.ask(request("/readyz?check=redirect"))).status == 503
        (event,) = await worker.events()
        assert list(event.marks) == ["unclaimed_host"]


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, bytes(1000)])
async def test_a_damaged_snapshot_does_not_stop_the_start(tmp_path: Path, content: bytes) -> None:
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    for name in ("keys-w0.pb", "routing-w0.pb"):
        (snapshots / name).write_bytes(content)
    async with running_worker(tmp_path, has_snapshots=False) as worker:
        assert (await worker.ask(request())).status == 404
        assert (await worker.ask(request("/healthz"))).status == 200


async def test_a_drain_answers_what_is_open_and_keeps_it(tmp_path: Path) -> None:
    disk = Disk()
    async with connection_to_a_worker(tmp_path) as (worker, stop):
        with disk.replacing_the_real_one():
            disk.goes_on.clear()
            data = [request("/in/summer_sale?n=1"), *POSTS, request("/pixel.gif")]
            asking = [asyncio.ensure_future(worker.ask(one)) for one in data]
            await until(lambda: worker.gateway.counters.slow_request_count >= 5)
            await asyncio.sleep(0.05)
            stopping = asyncio.ensure_future(stop())
            await asyncio.sleep(0.05)
            with pytest.raises(ConnectionRefusedError):
                await worker.ask(request())
            disk.goes_on.set()
        responses = await asyncio.gather(*asking)
        await stopping
    assert [response.status for response in responses] == [302, 200, 200, 200, 200, 200]
    async with running_worker(tmp_path) as second:
        assert len(await second.events()) == 7


async def test_a_drain_does_not_wait_for_idle_connections(tmp_path: Path) -> None:
    async with (
        connection_to_a_worker(tmp_path) as (worker, stop),
        connection(worker.port) as untouched,
        connection(worker.port) as fast,
        connection(worker.port) as slow,
    ):
        await fast.ask(request())
        await slow.ask(request("/healthz"))
        started = time.monotonic()
        await stop()
        assert time.monotonic() - started < 2
        for held in (untouched, fast, slow):
            assert await held.closed() == b""


class connection_to_a_worker:  # noqa: N801 - used like a function
    """A worker that the test itself stops."""

    def __init__(self, directory: Path) -> None:
        self._context = running_worker(directory)
        self._is_stopped = False

    async def __aenter__(self):
        return await self._context.__aenter__(), self.stop

    async def stop(self) -> None:
        self._is_stopped = True
        await self._context.__aexit__(None, None, None)

    async def __aexit__(self, *_rest: object) -> None:
        if not self._is_stopped:
            await self.stop()


async def test_journals_of_workers_that_are_no_more_are_shipped_by_the_first(tmp_path: Path) -> None:
    async with running_worker(tmp_path, worker=0, workers=2):
        pass
    async with running_worker(tmp_path, worker=1, workers=2, has_snapshots=False) as second:
        await second.ask(request())
        await second.gateway.journal.flush()
    async with running_worker(tmp_path, worker=0, workers=1):
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert len([name for name in names if name == "ship"]) == 1
        ships = [task for task in asyncio.all_tasks() if task.get_name() == "ship"]
        assert len(ships) == 2


# -- sampling ---------------------------------------------------------------------------------------------------------

TRACED = {"telemetry": {"exporter_otlp_traces_endpoint": "http://127.0.0.1:1", "traces_sampler_arg": 0.0}}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("own_worker", [TRACED], indirect=True)
async def test_a_sampled_click_is_answered_like_any_other_and_carries_its_trace(own_worker: Worker) -> None:
    sampled = f"traceparent: 00-{TRACE_ID}-b7ad6b7169203331-01"
    unsampled = f"traceparent: 00-{TRACE_ID}-b7ad6b7169203331-00"
    async with connection(own_worker.port) as held:
        first = await held.ask(request("/in/summer_sale?a=1", unsampled))
        assert own_worker.gateway.counters.fast_request_count == 1
        # What was decided about the first request is not what is decided about the second.
        second = await held.ask(request("/events", sampled, KEY, method="POST", body=b"{}"))
    third = await own_worker.ask(request("/in/summer_sale?a=1", sampled))
    fourth = await own_worker.ask(request("/in/summer_sale?a=1"))
    assert own_worker.gateway.counters.fast_request_count == 2
    assert [r.status for r in (first, second, third, fourth)] == [302, 200, 302, 302]
    events = await own_worker.events()
    assert [event.trace_id for event in events] == [TRACE_ID] * 3 + [""]
    traceparents = [t for batch in own_worker.gateway.journal.backlog.after(0) for t in batch.meta.traceparents]
    assert len(traceparents) == 2
    assert all(TRACE_ID in traceparent for traceparent in traceparents)


@pytest.mark.parametrize("own_worker", [TRACED], indirect=True)
async def test_what_is_sampled_is_decided_once(own_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking twice would sample a hundredth of a hundredth."""
    answers = [True, False, False, True]
    traced: list[str] = []
    original = App._traced

    async def counted(self: App, route: HttpRoute, call: Call) -> web.StreamResponse:
        traced.append(call.arrival.path)
        return await original(self, route, call)

    monkeypatch.setattr(type(own_worker.gateway.sampler), "wants", lambda *_: answers.pop(0))
    monkeypatch.setattr(App, "_traced", counted)
    for target in ("/in/summer_sale", "/in/summer_sale", "/in/unknown", "/in/unknown"):
        await own_worker.ask(request(target))
    assert not answers
    assert traced == ["/in/summer_sale", "/in/unknown"]


# -- everything else --------------------------------------------------------------------------------------------------


async def test_unknown_paths_and_methods_are_problems(worker: Worker) -> None:
    nothing = await worker.ask(request("/nothing"))
    assert (nothing.status, json.loads(nothing.body)["reason"]) == (404, "NOT_FOUND")
    assert nothing.header("Content-Type") == "application/problem+json"
    wrong = await worker.ask(request("/events"))
    assert (wrong.status, json.loads(wrong.body)["reason"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.header("Allow") == "POST"
    assert not await worker.events()


async def test_a_defect_in_the_fast_lane_is_a_500_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(tmp_path) as worker:

        def broken(*_arguments: object, **_more: object) -> None:
            raise RuntimeError("what nobody may read")

        monkeypatch.setattr(type(worker.gateway.recorder), "record", broken)
        for data in (request(), request("/pixel.gif")):
            raw = await worker.talk_until_closed(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert raw.startswith(b"HTTP/1.1 500 ")
            assert b"nobody may read" not in raw
        assert worker.gateway.counters.server_error_count == 2
        monkeypatch.undo()
        assert (await worker.ask(request())).status == 302

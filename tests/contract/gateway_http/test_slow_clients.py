"""Slowloris, from both sides: a dribbler is cut, an honest slow client is served."""

import asyncio
import json
import socket
import time

import pytest

from tests.contract.gateway_http.wire import connection, parse, request
from tests.contract.gateway_http.worker import PUBLISHABLE_KEY, Worker
from tests.unit.gateway.journals import until

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
KEY = f"Authorization: Bearer {PUBLISHABLE_KEY}"
QUICK = {"header_seconds": 0.6, "body_seconds": 0.4, "body_bytes_per_second": 1000, "idle_seconds": 1.0}
quick = pytest.mark.parametrize("own_worker", [QUICK], indirect=True)
# The sweep comes twice a second.
GRACE = 0.8


async def _dribble(worker: Worker, data: bytes, pause: float, first: bytes = b"") -> tuple[bytes, float]:
    """Send bytes one by one; return what came before the connection was closed, and after how long."""
    async with connection(worker.port) as held:
        if first:
            await held.ask(first)
        started = time.monotonic()
        closed = asyncio.ensure_future(held.closed(seconds=10))
        for position in range(len(data)):
            if closed.done():
                break
            try:
                await held.send(data[position : position + 1])
            except ConnectionError:
                break
            await asyncio.wait([closed], timeout=pause)
        return await closed, time.monotonic() - started


@quick
async def test_who_dribbles_headers_is_cut_in_both_lanes(own_worker: Worker) -> None:
    data = request("/in/summer_sale", "X-Long: " + "x" * 300)
    found = await asyncio.gather(
        _dribble(own_worker, data, 0.02),
        _dribble(own_worker, data, 0.02, first=request("/in/summer_sale")),
        _dribble(own_worker, data, 0.02, first=request("/healthz")),
        _dribble(own_worker, b"\r\n" * 200, 0.02),
    )
    for raw, seconds in found:
        (response,), rest = parse(raw)
        assert (response.status, response.closes, rest) == (408, True, b"")
        assert QUICK["header_seconds"] <= seconds < QUICK["header_seconds"] + GRACE
    assert own_worker.gateway.counters.timed_out_connection_count == 4
    assert len([e for e in await own_worker.events() if b"X-Long" in e.headers]) == 0


@quick
async def test_who_is_slow_within_the_limit_is_served(own_worker: Worker) -> None:
    data = request("/in/summer_sale", "X: " + "x" * 20)

    async def one(first: bytes) -> None:
        async with connection(own_worker.port) as held:
            if first:
                await held.ask(first)
            for start in range(0, len(data), 10):
                await held.send(data[start : start + 10])
                await asyncio.sleep(0.04)
            assert (await held.receive())[0].status == 302

    await asyncio.gather(*(one(first) for first in (b"", request("/in/summer_sale"), request("/healthz"))))


@quick
async def test_a_connection_that_was_opened_in_advance_is_closed_without_a_word(own_worker: Worker) -> None:
    async with connection(own_worker.port) as held:
        started = time.monotonic()
        assert await held.closed() == b""
        assert time.monotonic() - started < QUICK["header_seconds"] + GRACE


@quick
async def test_an_idle_connection_is_kept_for_its_time_and_closed_without_a_word(own_worker: Worker) -> None:
    # The end of a body is no beginning of a header: the last one comes in two pieces.
    async def one(data: bytes, rest: bytes = b"") -> None:
        async with connection(own_worker.port) as held:
            await held.send(data)
            await asyncio.sleep(0.05)
            await held.ask(rest)
            started = time.monotonic()
            assert await held.closed() == b""
            assert QUICK["idle_seconds"] - 0.1 <= time.monotonic() - started < QUICK["idle_seconds"] + GRACE

    post = request("/events", KEY, method="POST", body=b'{"a":1}')
    await asyncio.gather(one(request("/in/summer_sale")), one(request("/healthz")), one(post[:-5], post[-5:]))
    assert own_worker.gateway.counters.timed_out_connection_count == 0


@quick
async def test_a_connection_in_use_is_not_idle(own_worker: Worker) -> None:
    async def one(data: bytes) -> None:
        async with connection(own_worker.port) as held:
            started = time.monotonic()
            while time.monotonic() - started < 2.2 * QUICK["idle_seconds"]:
                assert (await held.ask(data)).status in (200, 302)
                await asyncio.sleep(0.2)

    await asyncio.gather(*(one(request(target)) for target in ("/in/summer_sale", "/healthz", "/pixel.gif")))


# -- bodies -----------------------------------------------------------------------------------------------------------


def _post(length: int) -> bytes:
    return request("/events", KEY, f"Content-Length: {length}", method="POST")


@quick
async def test_who_dribbles_a_body_is_cut(own_worker: Worker) -> None:
    async def one(head: bytes) -> None:
        async with connection(own_worker.port) as held:
            await held.send(head)
            started = time.monotonic()
            closed = asyncio.ensure_future(held.closed(seconds=10))
            while not closed.done():
                try:
                    await held.send(b"1\r\nx\r\n" if b"chunked" in head else b"x")
                except ConnectionError:
                    break
                await asyncio.wait([closed], timeout=0.05)
            (response,), rest = parse(await closed)
        assert (response.status, response.closes, rest) == (504, True, b"")
        assert json.loads(response.body)["reason"] == "DEADLINE_EXCEEDED"
        assert time.monotonic() - started < QUICK["body_seconds"] + 3

    await asyncio.gather(one(_post(5000)), one(request("/events", KEY, "Transfer-Encoding: chunked", method="POST")))
    assert not await own_worker.events()


@quick
async def test_a_body_at_an_honest_pace_is_stored_however_long_it_takes(own_worker: Worker) -> None:
    body = b'{"a":"' + b"x" * 2000 + b'"}'
    async with connection(own_worker.port) as held:
        await held.send(_post(len(body)))
        started = time.monotonic()
        for start in range(0, len(body), 200):
            await asyncio.sleep(0.15)
            await held.send(body[start : start + 200])
        assert (await held.receive())[0].status == 200
        assert time.monotonic() - started > QUICK["body_seconds"] + QUICK["header_seconds"]
    assert (await own_worker.event()).body == body


@quick
async def test_slow_clients_stop_nobody_else(own_worker: Worker) -> None:
    dribbling = [
        asyncio.ensure_future(_dribble(own_worker, request("/in/summer_sale", "X: " + "x" * 400), 0.01))
        for _ in range(50)
    ]
    started = time.monotonic()
    for _ in range(50):
        assert (await own_worker.ask(request())).status == 302
    assert time.monotonic() - started < 1
    await asyncio.gather(*dribbling)


async def test_who_reads_no_answers_is_answered_no_further(worker: Worker) -> None:
    """Answers that nobody reads must neither pile up in memory nor stop others."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(client, ("127.0.0.1", worker.port))
        counters = worker.gateway.journal.counters
        already = counters.written_event_count
        for number in range(1, 50_000):
            await loop.sock_sendall(client, request("/in/summer_sale?a=" + "x" * 900))
            await until(lambda number=number: counters.written_event_count == already + number)
            if worker.gateway.counters.fast_request_count < number:
                break
        # What the kernel buffers, and 64 KiB of ours.
        assert number < 40_000
        for _ in range(100):
            await loop.sock_sendall(client, request())
        await asyncio.sleep(0.1)
        assert worker.gateway.counters.redirect_count <= number + 1
        assert (await worker.ask(request())).status == 302

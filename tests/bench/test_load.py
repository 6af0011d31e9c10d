"""The load generator: what it counts as an answer, and whom it charges for a stall."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable

import pytest

from tests.bench.load import Generator, Plan, Report

pytestmark = pytest.mark.loopback

_GOOD = b"HTTP/1.1 302 Found\r\nLocation: https://shop.example/x?a=1\r\nContent-Length: 0\r\n\r\n"
_REQUEST = "GET /in/x HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def _server(answer: Callable[[int], bytes]) -> AsyncIterator[tuple[int, list[asyncio.Transport]]]:
    """Serve ``answer`` of the number of each request; yield the port and every connection that was made."""
    connections: list[asyncio.Transport] = []
    count = 0

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            connections.append(transport)

        def data_received(self, data: bytes) -> None:
            nonlocal count
            count += 1
            self.transport.write(answer(count))

    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], connections
    finally:
        server.close()
        # A connection that was accepted a moment ago has its transport a turn of the loop later, and a transport is
        # closed a turn after its abort.
        for _ in range(5):
            for transport in connections:
                transport.abort()
            await asyncio.sleep(0.01)


async def _run(plan: Plan) -> Report:
    return await asyncio.to_thread(Generator(plan).run)


def _plan(port: int, *, rate: float = 0.0, new_connection_each: bool = False) -> Plan:
    return Plan(
        port=port,
        requests=(_REQUEST,),
        location="https://shop.example/",
        connection_count=4,
        seconds=0.4,
        warmup_seconds=0.0,
        rate=rate,
        new_connection_each=new_connection_each,
    )


async def test_right_answers_are_counted() -> None:
    async with _server(lambda _: _GOOD) as (port, connections):
        report = await _run(_plan(port))
    assert report.answered_count > 50
    assert report.errors == {}
    assert len(connections) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        _GOOD.replace(b"302 Found", b"503 No"),
        _GOOD.replace(b"shop.example", b"evil.example"),
        _GOOD.replace(b"\r\nLocation: https://shop.example/x?a=1", b""),
        _GOOD + _GOOD,
    ],
    ids=["status", "location", "no location", "two answers"],
)
async def test_a_wrong_answer_is_an_error(wrong: bytes) -> None:
    async with _server(lambda count: wrong if count == 20 else _GOOD) as (port, _):
        report = await _run(_plan(port))
    assert report.errors == {"bad answer": 1}
    assert report.answered_count > 20


# The generator's last connections are gone before asyncio has made their transports, which it then leaves unclosed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_new_connection_for_each_request() -> None:
    async with _server(lambda _: _GOOD) as (port, connections):
        report = await _run(_plan(port, new_connection_each=True))
    gc.collect()  # here, and not in the test that comes next
    assert report.errors == {}
    assert len(connections) >= report.answered_count > 20


async def test_an_open_loop_keeps_its_rate() -> None:
    async with _server(lambda _: _GOOD) as (port, _):
        report = await _run(_plan(port, rate=200))
    assert report.errors == {}
    assert 40 < report.answered_count <= 81


async def test_an_open_loop_charges_a_stall_to_every_request_that_was_due() -> None:
    def stall(count: int) -> bytes:
        if count == 20:
            time.sleep(0.2)
        return _GOOD

    async with _server(stall) as (port, _):
        report = await _run(_plan(port, rate=200))
    assert report.max_ms > 190
    # 0.2 of 0.4 s: half of the requests were due meanwhile, and waited half as long in the middle.
    assert report.p50_ms > 2
    assert report.p99_ms > 150

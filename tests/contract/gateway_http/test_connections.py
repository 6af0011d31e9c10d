"""What a connection carries: keep-alive, pipelining, pieces, forms of targets, and leaving."""

import asyncio
import json
import re

import pytest

from tests.contract.gateway_http.wire import Connection, connection, parse, request
from tests.contract.gateway_http.worker import PUBLISHABLE_KEY, Worker
from tests.unit.gateway.journals import until

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
KEY = f"Authorization: Bearer {PUBLISHABLE_KEY}"


def click(number: int, *headers: str) -> bytes:
    """Return a click that is told by its number."""
    return request(f"/in/summer_sale?n={number}", *headers)


def number_in(location: str) -> int:
    """Return the number of a click's answer."""
    found = re.search(r"[?&]n=(\d+)", location)
    assert found, location
    return int(found[1])


def event_request(number: int, *headers: str) -> bytes:
    body = b'{"event":"e","n":%d}' % number
    return request("/events", KEY, "Content-Type: application/json", *headers, method="POST", body=body)


async def test_a_connection_carries_many_clicks(worker: Worker) -> None:
    async with connection(worker.port) as held:
        for number in range(50):
            assert number_in((await held.ask(click(number))).location) == number
    assert worker.gateway.counters.fast_request_count == 50
    assert worker.gateway.counters.slow_request_count == 0
    assert len(await worker.events()) == 50


async def test_a_connection_carries_many_requests_of_all_kinds(worker: Worker) -> None:
    async with connection(worker.port) as held:
        for number in range(40):
            if number % 4 == 1:
                assert (await held.ask(event_request(number))).status == 200
            elif number % 4 == 2:
                assert (await held.ask(request(f"/pixel.gif?n={number}"))).status == 200
            elif number % 4 == 3:
                assert (await held.ask(request(f"/in/nowhere?n={number}"))).status == 404
            else:
                assert number_in((await held.ask(click(number))).location) == number
    assert len(await worker.events()) == 40


@pytest.mark.parametrize("slow_first", [False, True])
async def test_who_asks_for_it_is_closed_after_the_answer(worker: Worker, slow_first: bool) -> None:
    async with connection(worker.port) as held:
        if slow_first:
            await held.ask(request("/healthz"))
        response = await held.ask(click(1, "Connection: close"))
        assert response.closes
        assert await held.closed() == b""


@pytest.mark.parametrize(
    ("data", "closes"),
    [
        (request(version="1.0"), True),
        (request("/in/summer_sale", "Connection: keep-alive", version="1.0"), False),
        (request("/in/summer_sale", "Connection: close", version="1.0"), True),
        (request("/pixel.gif", version="1.0"), True),
    ],
)
async def test_http_1_0_is_answered_and_closed_unless_it_asks_otherwise(
    worker: Worker, data: bytes, closes: bool
) -> None:
    async with connection(worker.port) as held:
        response = await held.ask(data)
        assert response.status in (200, 302)
        assert (await worker.event()).http_version == "1.0"
        if closes:
            assert await held.closed() == b""
        else:
            assert (await held.ask(data)).status == 302


async def test_http_1_0_needs_no_host(worker: Worker) -> None:
    response = await worker.ask(request(host=None, version="1.0"))
    assert response.status == 404
    assert list((await worker.event()).marks) == ["unclaimed_host"]


async def test_a_hundred_pipelined_clicks_are_answered_in_order(worker: Worker) -> None:
    data = b"".join(click(number) for number in range(100))
    responses = await worker.talk(data, 100)
    assert [number_in(response.location) for response in responses] == list(range(100))
    assert len({response.event_id for response in responses}) == 100
    assert [event.target for event in await worker.events()] == [
        b"/in/summer_sale?n=%d" % number for number in range(100)
    ]


@pytest.mark.parametrize("piece", [1000, 3000, 8191, 65536])
async def test_a_thousand_pipelined_requests_of_all_kinds_are_answered_in_order(worker: Worker, piece: int) -> None:
    requests = [(click, event_request)[number % 3 == 0](number) for number in range(1000)]
    data = b"".join(requests)
    async with connection(worker.port) as held:

        async def send() -> None:
            for start in range(0, len(data), piece):
                await held.send(data[start : start + piece])

        sending = asyncio.ensure_future(send())
        responses = await held.receive(1000, seconds=20)
        await sending
    for number, response in enumerate(responses):
        if number % 3:
            assert number_in(response.location) == number
        else:
            assert json.loads(response.body)["outcome"] == "stored"
    events = await worker.events()
    assert len(events) == 1000
    assert [e.event_id for e in events if e.route == "events"] == [
        json.loads(r.body)["event_id"] for r in responses if r.status == 200
    ]


async def test_a_click_is_pipelined_behind_one_that_waits_for_the_disk(worker: Worker) -> None:
    """The second packet arrives while the first click waits: it must be neither lost nor answered first."""
    async with connection(worker.port) as held:
        for turn in range(30):
            await held.send(click(2 * turn))
            await held.send(click(2 * turn + 1))
            responses = await held.receive(2)
            assert [number_in(response.location) for response in responses] == [2 * turn, 2 * turn + 1]


SPLIT = [
    click(1),
    click(2, "Connection: close", "X-Long: " + "x" * 50),
    b"\r\n" + click(3),
    event_request(4),
    request(
        "/events", KEY, "Transfer-Encoding: chunked", method="POST", body=b'3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\n\r\n'
    ),
    request("/pixel.gif?a=\xe9t\xe9"),
    request("/in/summer_sale?a=\xe9t\xe9"),
]


@pytest.mark.parametrize("data", SPLIT, ids=range(len(SPLIT)))
async def test_a_request_may_come_in_any_two_pieces(worker: Worker, data: bytes) -> None:
    async def one(cut: int) -> None:
        async with connection(worker.port) as held:
            await held.send(data[:cut])
            await asyncio.sleep(0.02)
            await held.send(data[cut:])
            (response,) = await held.receive()
            assert response.status in (200, 302), cut

    await asyncio.gather(*(one(cut) for cut in range(1, len(data))))
    events = await worker.events()
    assert len(events) == len(data) - 1
    assert len({(e.target, e.headers, e.body) for e in events}) == 1


@pytest.mark.parametrize("data", SPLIT, ids=range(len(SPLIT)))
async def test_a_request_may_come_byte_by_byte(worker: Worker, data: bytes) -> None:
    async with connection(worker.port) as held:
        for position in range(len(data)):
            await held.send(data[position : position + 1])
            await asyncio.sleep(0)
        (response,) = await held.receive()
        assert response.status in (200, 302)
    assert len(await worker.events()) == 1


async def test_two_requests_byte_by_byte_over_one_connection(worker: Worker) -> None:
    async with connection(worker.port) as held:
        for data in (click(1), event_request(2), click(3)):
            for position in range(len(data)):
                await held.send(data[position : position + 1])
                await asyncio.sleep(0)
            assert (await held.receive())[0].status in (200, 302)
    assert len(await worker.events()) == 3


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("http://track.acmecorp.com/in/summer_sale?n=7", "track.acmecorp.com", 302),
        ("http://track.acmecorp.com/in/summer_sale?n=7", "unknown.example", 302),
        ("http://TRACK.acmecorp.com:8080/in/summer_sale?n=7", "unknown.example", 302),
        ("HTTPS://track.acmecorp.com/in/summer_sale?n=7", "x", 302),
        ("http://user:pw@track.acmecorp.com/in/summer_sale?n=7", "x", 302),
        ("http://unknown.example/in/summer_sale?n=7", "track.acmecorp.com", 404),
        ("http://track.acmecorp.com?n=7", "track.acmecorp.com", 404),
        ("http://track.acmecorp.com", "track.acmecorp.com", 404),
        ("http://track.acmecorp.com//in/summer_sale", "track.acmecorp.com", 404),
        ("http://exa\u2100mple.com/in/x".encode("utf-8").decode("latin-1"), "track.acmecorp.com", 404),
    ],
)
async def test_a_target_in_absolute_form_names_its_host_itself(
    worker: Worker, target: str, host: str, expected: int
) -> None:
    response = await worker.ask(request(target, host=host))
    assert response.status == expected
    if "in/" in target and "//in" not in target:
        event = await worker.event()
        assert event.target == target.encode("latin-1")
        assert b"Host: " + host.encode() in event.headers
    if expected == 302:
        assert number_in(response.location) == 7


@pytest.mark.parametrize("target", ["http://", "http:///in/x", "http://[::1/", "*", "in/summer_sale", "ftp://x/", ""])
async def test_an_impossible_target_is_refused(worker: Worker, target: str) -> None:
    raw = await worker.talk_until_closed(request(target, "Connection: close"))
    (response,), rest = parse(raw)
    assert 400 <= response.status < 500
    assert rest == b""


@pytest.mark.parametrize("target", ["/in/summer_sale", "/pixel.gif", "/healthz", "/in/unknown", "/nothing", "/batch"])
async def test_head_is_answered_like_get_without_a_body(worker: Worker, target: str) -> None:
    async with connection(worker.port) as held:
        await held.send(request(target, method="HEAD"))
        (head,) = await held.receive(methods=["HEAD"])
        get = await held.ask(request(target))
        assert held.left == b""
    assert head.status == get.status
    assert head.header("Content-Type") == get.header("Content-Type")


async def test_a_client_that_waits_for_a_word_gets_it(worker: Worker) -> None:
    async with connection(worker.port) as held:
        for number in range(3):
            await held.send(request("/events", KEY, "Expect: 100-continue", "Content-Length: 7", method="POST"))
            async with asyncio.timeout(2):
                assert await held.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            await held.send(b'{"a":%d}' % number)
            assert (await held.receive())[0].status == 200


async def test_who_announces_too_much_is_not_told_to_go_on(worker: Worker) -> None:
    data = request("/events", KEY, "Expect: 100-continue", "Content-Length: 9999999", method="POST")
    raw = await worker.talk_until_closed(data)
    assert raw.startswith(b"HTTP/1.1 413")
    assert raw.count(b"HTTP/1.1") == 1


WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
HTTP_2 = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


@pytest.mark.parametrize("upgrade", [WEBSOCKET, HTTP_2])
async def test_an_upgrade_is_not_taken_and_the_connection_goes_on(worker: Worker, upgrade: tuple[str, ...]) -> None:
    async with connection(worker.port) as held:
        assert number_in((await held.ask(click(1, *upgrade))).location) == 1
        assert number_in((await held.ask(click(2))).location) == 2
    assert len(await worker.events()) == 2


async def test_what_follows_an_upgrade_that_is_not_taken_is_answered(worker: Worker) -> None:
    responses = await worker.talk(click(3, *WEBSOCKET) + click(4), 2)
    assert [number_in(response.location) for response in responses] == [3, 4]


async def test_connect_opens_nothing(worker: Worker) -> None:
    raw = await worker.talk_until_closed(
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert raw.startswith(b"HTTP/1.1 4")
    assert raw.count(b"HTTP/1.1") == 1


# -- leaving ----------------------------------------------------------------------------------------------------------


async def test_who_leaves_before_the_answer_has_clicked_all_the_same(worker: Worker) -> None:
    for number in range(20):
        async with connection(worker.port) as held:
            await held.send(click(number))
            held.writer.transport.abort()
    await until(lambda: worker.gateway.counters.redirect_count == 20)
    assert len(await worker.events()) == 20


async def test_who_leaves_in_the_midst_of_a_body_is_no_defect_and_no_event(worker: Worker) -> None:
    started = worker.gateway.counters.slow_request_count
    for aborts in (True, False) * 5:
        async with connection(worker.port) as held:
            await held.send(request("/events", KEY, "Content-Length: 100", method="POST") + b'{"a":')
            await asyncio.sleep(0.005)
            if aborts:
                held.writer.transport.abort()
    await until(lambda: worker.gateway.counters.slow_request_count == started + 10)
    await asyncio.sleep(0.05)
    assert not await worker.events()


async def test_who_leaves_with_requests_still_pipelined_stops_nobody(worker: Worker) -> None:
    for _ in range(5):
        async with connection(worker.port) as held:
            await held.send(b"".join(event_request(number) for number in range(60)))
            held.writer.transport.abort()
    assert (await worker.ask(click(1))).status == 302


async def _open_many(worker: Worker, count: int) -> list[Connection]:
    held = []
    for _ in range(count // 500):
        pairs = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", worker.port) for _ in range(500)))
        held += [Connection(*pair) for pair in pairs]
    return held


async def test_five_thousand_idle_connections_stop_nobody(own_worker: Worker) -> None:
    held = await _open_many(own_worker, 5000)
    try:
        assert (await own_worker.ask(click(1))).status == 302
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number in range(20):
            assert (await held[number * 100].ask(click(number))).status == 302
        assert loop.time() - started < 2
    finally:
        for connected in held:
            connected.writer.transport.abort()


@pytest.mark.parametrize("own_worker", [{"max_connections": 10}], indirect=True)
async def test_one_connection_too_many_is_closed_at_once(own_worker: Worker) -> None:
    held = [Connection(*await asyncio.open_connection("127.0.0.1", own_worker.port)) for _ in range(12)]
    try:
        for connected in held[:10]:
            assert (await connected.ask(click(1))).status == 302
        for connected in held[10:]:
            assert await connected.closed(seconds=2) == b""
        assert own_worker.gateway.counters.refused_connection_count == 2
    finally:
        for connected in held:
            connected.writer.transport.abort()
    await until(lambda: own_worker.gateway.counters.refused_connection_count == 2)
    await asyncio.sleep(0.05)
    assert (await own_worker.ask(click(2))).status == 302


async def test_a_connection_comes_back_to_the_fast_lane(worker: Worker) -> None:
    counters = worker.gateway.counters
    before = counters.fast_request_count
    async with connection(worker.port) as held:
        for _ in range(3):
            assert (await held.ask(request("/healthz"))).status == 200
            assert (await held.ask(request("/in/summer_sale"))).status == 302
    assert counters.fast_request_count == before + 3

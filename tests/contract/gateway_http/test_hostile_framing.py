"""HTTP that two parsers could read in two ways, and requests out of all bounds: 400 or 413, and close."""

import asyncio

import pytest

from tests.contract.gateway_http.wire import connection, parse, request
from tests.contract.gateway_http.worker import PUBLISHABLE_KEY, Worker

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
HEAD = b"POST /events HTTP/1.1\r\nHost: track.acmecorp.com\r\n"
KEY = f"Authorization: Bearer {PUBLISHABLE_KEY}"
HIDDEN = b"GET /in/summer_sale?smuggled=1 HTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n"
BODY = b'{"a":1}'

SMUGGLING = {
    "two lengths": HEAD + b"Content-Length: 7\r\nContent-Length: 0\r\n\r\n" + BODY + HIDDEN,
    "two equal lengths": HEAD + b"Content-Length: 7\r\nContent-Length: 7\r\n\r\n" + BODY,
    "a list of lengths": HEAD + b"Content-Length: 7, 7\r\n\r\n" + BODY,
    "a signed length": HEAD + b"Content-Length: +7\r\n\r\n" + BODY,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "a hexadecimal length": HEAD + b"Content-Length: 0x7\r\n\r\n" + BODY,
    "a length of words": HEAD + b"Content-Length: seven\r\n\r\n" + BODY,
    "an empty length": HEAD + b"Content-Length: \r\n\r\n" + BODY + HIDDEN,
    "a length with a blank inside": HEAD + b"Content-Length: 1 7\r\n\r\n" + BODY,
    "a length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n" + BODY,
    "a length with digits of another script": HEAD + b"Content-Length: \xd9\xa7\r\n\r\n" + BODY,
    "length and chunks": HEAD + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding that only begins so": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding twice in a list": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + HIDDEN,
    "a coding with a tab inside": HEAD + b"Transfer-Encoding:\tchun\tked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding with a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding in quotes": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + HIDDEN,
    "a bare line feed after the line": b"GET /in/summer_sale HTTP/1.1\nHost: track.acmecorp.com\r\n\r\n",
    "a bare line feed after a header": b"GET / HTTP/1.1\r\nHost: track.acmecorp.com\nX: y\r\n\r\n" + HIDDEN,
    "bare line feeds at the end": HEAD + b"Content-Length: 7\n\n" + BODY,
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: track.acmecorp.com\rX: y\r\n\r\n" + HIDDEN,
    "a carriage return in a value": HEAD + b"X: a\rContent-Length: 7\r\n\r\n" + BODY,
    "a space before the colon": HEAD + b"Content-Length : 7\r\n\r\n" + BODY,
    "a tab before the colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a space before the name": b"POST /events HTTP/1.1\r\n Host: track.acmecorp.com\r\n\r\n",
    "a folded header": HEAD + b"X-Folded: a\r\n b\r\n\r\n" + HIDDEN,
    "a folded coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "NUL in a value": HEAD + b"X: a\0b\r\n\r\n" + HIDDEN,
    "NUL in a name": HEAD + b"X\0: ab\r\n\r\n" + HIDDEN,
    "NUL in the target": b"GET /in/summer\0_sale HTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n",
    "NUL in the method": b"G\0ET /in/summer_sale HTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n",
    "a control character in a value": HEAD + b"X: a\x01b\r\n\r\n",
    "no name": HEAD + b": value\r\n\r\n" + HIDDEN,
    "no colon": HEAD + b"nonsense\r\n\r\n" + HIDDEN,
    "an odd character in a name": HEAD + b"X(y): z\r\n\r\n" + HIDDEN,
    "a byte beyond ASCII in a name": HEAD + b"X\xe9: z\r\n\r\n" + HIDDEN,
    "two hosts": b"GET /in/summer_sale HTTP/1.1\r\nHost: track.acmecorp.com\r\nHost: evil.example\r\n\r\n",
    "two equal hosts": b"GET / HTTP/1.1\r\nHost: track.acmecorp.com\r\nhost: track.acmecorp.com\r\n\r\n",
    "no host": b"GET /in/summer_sale HTTP/1.1\r\n\r\n",
    "no version": b"GET /in/summer_sale\r\nHost: track.acmecorp.com\r\n\r\n",
    "a version of two digits": b"GET /in/summer_sale HTTP/1.10\r\nHost: track.acmecorp.com\r\n\r\n",
    "a version of the future": b"GET /in/summer_sale HTTP/3.0\r\nHost: track.acmecorp.com\r\n\r\n",
    "a version of words": b"GET /in/summer_sale HTTP/one\r\nHost: track.acmecorp.com\r\n\r\n",
    "another protocol": b"GET /in/summer_sale ICE/1.0\r\nHost: track.acmecorp.com\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tab in the line": b"GET\t/in/summer_sale\tHTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n",
    "a space in the target": b"GET /in/summer sale HTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n",
    "a method in small letters": b"get /in/summer_sale HTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n",
    "an unknown method": b"FROBNICATE /in/summer_sale HTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "nothing of HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "bytes beyond ASCII around a target": b"G\xc9T /in/\xe9 HTTP/1.1\r\nHost: track.acmecorp.com\r\n\r\n",
    "a line feed behind an odd target": b"GET /in/\xe9\nHost: track.acmecorp.com\r\n\r\n",
    "four words and an odd target": b"GET /in/\xe9 /in/summer_sale HTTP/1.1\r\nHost: x\r\n\r\n",
    "an odd target and two lengths": HEAD.replace(b"events", b"\xe9") + b"Content-Length: 7\r\n" * 2 + b"\r\n" + BODY,
}
BROKEN_BODIES = {
    "a chunk length that is none": b"zz\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than it says": b"3\r\nabcdef\r\n0\r\n\r\n",
    "a chunk shorter than it says": b"5\r\nabc\r\n0\r\n\r\n",
    "a chunk length with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a negative chunk length": b"-3\r\nabc\r\n0\r\n\r\n",
    "a signed chunk length": b"+3\r\nabc\r\n0\r\n\r\n",
    "a chunk length beyond 64 bits": b"fffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
    "a bare line feed after a chunk length": b"3\nabc\r\n0\r\n\r\n",
    "a bare line feed after a chunk": b"3\r\nabc\n0\r\n\r\n",
    "a line feed in an extension": b"3;a=\nb\r\nabc\r\n0\r\n\r\n",
    "a blank before a chunk length": b" 3\r\nabc\r\n0\r\n\r\n",
    "no chunk length": b"\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_ambiguous_http_is_refused_once_and_the_connection_closed(worker: Worker, name: str) -> None:
    raw = await worker.talk_until_closed(SMUGGLING[name])
    (response,), rest = parse(raw)
    assert (response.status, response.body, rest) == (400, b"", b"")
    assert not await worker.events()


@pytest.mark.parametrize("name", SMUGGLING)
async def test_ambiguous_http_is_refused_behind_a_good_request_too(worker: Worker, name: str) -> None:
    for first in (request("/healthz"), request("/in/summer_sale")):
        async with connection(worker.port) as held:
            assert (await held.ask(first)).status in (200, 302)
            await held.send(SMUGGLING[name])
            raw = await held.closed()
        (response,), rest = parse(raw)
        assert (response.status, rest) == (400, b"")
    assert len(await worker.events()) == 1


@pytest.mark.parametrize("name", SMUGGLING)
async def test_ambiguous_http_in_the_packet_of_a_good_request_answers_no_third(worker: Worker, name: str) -> None:
    raw = await worker.talk_until_closed(request("/in/summer_sale?first=1") + SMUGGLING[name])
    responses, rest = parse(raw)
    assert rest == b""
    assert [response.status for response in responses] in ([400], [302, 400])
    assert not any(b"smuggled" in event.target for event in await worker.events())


@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_a_broken_body_that_nobody_reads_makes_no_second_answer(worker: Worker, name: str) -> None:
    for method in ("GET", "OPTIONS"):
        async with connection(worker.port) as held:
            await held.send(request("/healthz", "Transfer-Encoding: chunked", method=method))
            await asyncio.sleep(0.01)
            await held.send(BROKEN_BODIES[name] + HIDDEN)
            responses, rest = parse(await held.closed(seconds=4))
        assert rest == b""
        assert len(responses) == 1
    assert not await worker.events()


@pytest.mark.parametrize("pause", [0.0, 0.02])
@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_a_broken_body_is_refused_at_once_and_the_connection_closed(
    worker: Worker, name: str, pause: float
) -> None:
    async with connection(worker.port) as held:
        await held.send(request("/events", KEY, "Transfer-Encoding: chunked", method="POST"))
        await asyncio.sleep(pause)
        await held.send(BROKEN_BODIES[name] + HIDDEN)
        raw = await held.closed(seconds=4)
    (response,), rest = parse(raw)
    assert (response.status, rest) == (400, b"")
    assert response.closes
    assert not await worker.events()


# -- bounds -----------------------------------------------------------------------------------------------------------

LONG = "x" * (16 * 1024 + 100)
BOUNDS = {
    "a line": request(f"/in/summer_sale?a={LONG}"),
    "a line without an end": b"GET /" + b"x" * 100_000,
    "a line of bytes beyond ASCII": request(b"/in/summer_sale?a=" + b"\xe9" * 6000),
    "a line of bytes beyond ASCII without an end": b"GET /" + b"\xe9" * 100_000,
    "a header": request("/in/summer_sale", f"X-Long: {LONG}"),
    "a header name": request("/in/summer_sale", f"{LONG}: x"),
    "a header without an end": b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
    "129 headers": request("/in/summer_sale", *(f"X-{number}: y" for number in range(128))),
    "ten thousand headers": request("/in/summer_sale", *(f"X-{number}: y" for number in range(10_000))),
    "many headers without an end": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
}


@pytest.mark.parametrize("name", BOUNDS)
async def test_what_is_out_of_bounds_is_refused_and_the_connection_closed(worker: Worker, name: str) -> None:
    raw = await worker.talk_until_closed(BOUNDS[name])
    # A client that goes on sending may have its connection reset before it reads.
    assert raw.startswith(b"HTTP/1.1 400 ") or not raw
    assert raw.count(b"HTTP/1.1") <= 1
    assert not await worker.events()
    assert worker.gateway.counters.refused_request_count == 1


@pytest.mark.parametrize(
    "data",
    [
        request("/in/summer_sale?a=" + "x" * 16_000),
        request("/in/summer_sale", "X-Long: " + "x" * 16_000),
        request("/in/summer_sale", *(f"X-{number}: y" for number in range(127))),
        request("/in/summer_sale", *(f"X-{number}: {'y' * 8000}" for number in range(127))),
    ],
    ids=range(4),
)
async def test_what_is_just_within_bounds_is_served(worker: Worker, data: bytes) -> None:
    assert (await worker.ask(data)).status == 302


@pytest.mark.parametrize(
    ("target", "limit"), [("/events", 1024**2), ("/postback", 1024**2), ("/pixel", 1024**2), ("/batch", 16 * 1024**2)]
)
async def test_a_body_too_large_is_413_with_the_limit(worker: Worker, target: str, limit: int) -> None:
    announced = request(target, KEY, f"Content-Length: {limit + 1}", method="POST")
    chunked = request(target, KEY, "Transfer-Encoding: chunked", method="POST")
    chunked += (b"10000\r\n" + b"x" * 65536 + b"\r\n") * (limit // 65536 + 1)
    for data in (announced, announced + b"x" * 1000, chunked):
        async with connection(worker.port) as held:
            sending = asyncio.ensure_future(held.send(data))
            (response,) = await held.receive()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert (response.status, response.closes) == (413, True)
            assert str(limit).encode() in response.body
            assert b'"reason":"TOO_LARGE"' in response.body
    assert not await worker.events()


async def test_a_body_at_its_limit_is_stored(worker: Worker) -> None:
    body = b'{"a":"' + b"x" * (1024**2 - 8) + b'"}'
    assert len(body) == 1024**2
    assert (await worker.ask(request("/events", KEY, method="POST", body=body))).status == 200
    assert (await worker.event()).body == body


@pytest.mark.parametrize("length", [b"8", b"100"])
async def test_a_body_shorter_than_announced_is_no_event(worker: Worker, length: bytes) -> None:
    async with connection(worker.port) as held:
        await held.send(request("/events", KEY, b"Content-Length: " + length, method="POST") + BODY)
        held.writer.write_eof()
        raw = await held.closed()
    assert raw == b"" or raw.startswith(b"HTTP/1.1 4")
    assert not await worker.events()


async def test_a_body_longer_than_announced_is_the_next_request(worker: Worker) -> None:
    data = request("/events", KEY, "Content-Length: 7", method="POST") + BODY + b"xyz\r\n\r\n"
    raw = await worker.talk_until_closed(data)
    # The parser refuses the whole packet; in two packets the first request is served.
    assert raw.startswith(b"HTTP/1.1 400")
    assert not await worker.events()
    async with connection(worker.port) as held:
        assert (await held.ask(data[:-7])).status == 200
        await held.send(data[-7:])
        (response,), rest = parse(await held.closed())
    assert (response.status, rest) == (400, b"")
    (event,) = await worker.events()
    assert event.body == BODY

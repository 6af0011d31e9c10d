"""What programs send: stored as it came, marked where it is odd, and refused only for its size or its sender."""

import asyncio
import gzip
import json
import resource
import uuid
import zlib
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
import zstandard

from ingress_gateway.ids import keyed_event_id
from tests.contract.gateway_http.wire import Response, request
from tests.contract.gateway_http.worker import (
    EXPIRED_KEY,
    OTHER_KEY,
    OTHER_SECRET_KEY,
    PUBLISHABLE_KEY,
    READ_KEY,
    REVOKED_KEY,
    SECRET_KEY,
    TEST_KEY,
    Worker,
)

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
KEY = f"Authorization: Bearer {PUBLISHABLE_KEY}"
JSON = "Content-Type: application/json"
MIB = 1024 * 1024


async def post(worker: Worker, target: str, body: bytes, *headers: str, host: str = "localhost") -> Response:
    return await worker.ask(request(target, *headers, method="POST", body=body, host=host))


def content(response: Response) -> Any:
    return json.loads(response.body)


DEEP = 10_000
ODD_BODIES = {
    "good": (b'{"event":"purchase","value":1.50}', []),
    "white space kept": (b' \r\n{ "a" : 1 }\n\n', []),
    "malformed": (b'{"event": "x", }', ["malformed_json"]),
    "cut": (b'{"event": "x', ["malformed_json"]),
    "no JSON": (b"hello, world", ["malformed_json"]),
    "invalid UTF-8": (b'{"a":"\xff\xfe"}', ["invalid_utf8"]),
    "UTF-16": ('{"a":1}'.encode("utf-16"), ["invalid_utf8", "nul"]),
    "surrogates as bytes": (b'{"a":"\xed\xa0\x80"}', ["invalid_utf8"]),
    "overlong": (b'{"a":"\xc0\xaf"}', ["invalid_utf8"]),
    "NUL": (b'{"a":"b\0c"}', ["malformed_json", "nul"]),
    "escaped NUL": (b'{"a":"b\\u0000c"}', ["nul"]),
    "lone surrogate": (b'{"a":"\\ud800"}', ["lone_surrogate"]),
    "pair of surrogates": (b'{"a":"\\ud83d\\ude00"}', []),
    "deep arrays": (b"[" * DEEP + b"]" * DEEP, ["too_deep"]),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, ["too_deep"]),
    "deep and cut": (b"[" * 500_000, ["too_deep"]),
    "deep and mixed": (b'[{"a":' * DEEP, ["too_deep"]),
    "brackets in texts": (b'{"a":"' + b"[" * DEEP + b'"}', []),
    "wide": (b'{"a":[' + b"[]," * 100_000 + b"[]]}", []),
    "1e400": (b'{"a":1e400}', ["nonstandard_number"]),
    "NaN": (b'{"a":NaN,"b":-Infinity}', ["nonstandard_number"]),
    "a long number": (b'{"a":' + b"9" * 5000 + b"}", ["malformed_json"]),
    "a number beyond 64 bits": (b'{"a":123456789012345678901234567890}', []),
    "duplicate keys": (b'{"event":"first","event":"second","event_id":"1","event_id":"2"}', []),
    "byte order mark": (b'\xef\xbb\xbf{"event":"x"}', ["byte_order_mark"]),
    "a text": (b'"hello"', ["not_an_object"]),
    "a number": (b"42", ["not_an_object"]),
    "null": (b"null", []),
    "an array": (b'[{"event":"x"}]', ["not_an_object"]),
    "blanks": (b" \r\n\t ", ["empty_body"]),
    "nothing": (b"", ["empty_body"]),
    "control characters": (bytes(range(1, 32)), ["malformed_json"]),
    "every byte": (bytes(range(256)), ["invalid_utf8", "nul"]),
    "odd members": (b'{"event":{"a":1},"type":null,"name":5,"click_id":true,"cid":[1],"idempotency_key":7,"k":9}', []),
    "empty members": (b'{"event":"","click_id":"","":""}', []),
    "a long type": (b'{"event":"' + b"x" * 10_000 + b'"}', []),
    "an odd type": ('{"event":"Käufe\\u0001\\ud800🛒"}'.encode(), ["lone_surrogate"]),
}


@pytest.mark.parametrize("name", ODD_BODIES)
async def test_any_body_is_stored_byte_for_byte_and_marked(worker: Worker, name: str) -> None:
    body, marks = ODD_BODIES[name]
    response = await post(worker, "/events", body, KEY, JSON)
    assert response.status == 200
    answer = content(response)
    assert answer["outcome"] == response.outcome == "stored"
    assert answer.get("marks", []) == marks
    event = await worker.event()
    assert (event.body, list(event.marks), event.event_id) == (body, marks, answer["event_id"])
    assert event.event_id == response.event_id
    assert (event.method, event.route, event.target, event.status) == ("POST", "events", b"/events", 200)
    assert len(event.event_type) <= 128


@pytest.mark.parametrize("name", ODD_BODIES)
@pytest.mark.parametrize("content_type", ["", "Content-Type: application/x-www-form-urlencoded", JSON])
async def test_any_body_is_a_postback_a_pixel_and_a_click(worker: Worker, name: str, content_type: str) -> None:
    body, _ = ODD_BODIES[name]
    for target, status in (("/postback?k=" + PUBLISHABLE_KEY, 200), ("/pixel", 200), ("/in/summer_sale", 302)):
        response = await worker.ask(request(target, content_type or "X: y", method="POST", body=body))
        assert response.status == status, target
        event = await worker.event()
        assert (event.body, event.event_id) == (body, response.event_id)


@pytest.mark.parametrize(
    ("body", "event_type", "external", "idempotency"),
    [
        (b'{"event":"purchase","click_id":"Fb_1","event_id":"e-1"}', b"purchase", b"Fb_1", b"e-1"),
        (b'{"event_type":"lead","gclid":"G","messageId":"m"}', b"lead", b"G", b"m"),
        (b'{"type":"t","name":"n","GCLID":"G","cid":"C","message_id":"m"}', b"t", b"C", b"m"),
        (b'{"name":"n","click_id":"{click_id}","fbclid":"F","idempotency_key":"i","event_id":"e"}', b"n", b"F", b"i"),
        (b'{"click_id":12345}', b"event", b"12345", b""),
        (b"{}", b"event", b"", b""),
    ],
)
async def test_the_client_s_own_words_are_found(
    worker: Worker, body: bytes, event_type: bytes, external: bytes, idempotency: bytes
) -> None:
    response = await post(worker, "/events", body, KEY)
    event = await worker.event()
    assert (event.event_type, event.external_click_id, event.idempotency_key) == (event_type, external, idempotency)
    if idempotency:
        assert event.event_id == response.event_id == keyed_event_id("org_acmecorp", idempotency)
        assert uuid.UUID(event.event_id).version == 5


async def test_an_idempotency_key_gives_every_repeat_one_id(worker: Worker) -> None:
    ids = {(await post(worker, "/events", b'{"n":%d}' % n, KEY, "Idempotency-Key: abc")).event_id for n in range(3)}
    other = await post(worker, "/events", b"{}", f"Authorization: Bearer {OTHER_KEY}", "Idempotency-Key: abc")
    assert len(ids) == 1
    assert other.event_id not in ids, "another organisation's key is another key"
    await worker.gateway.journal.flush()
    assert [*worker.gateway.journal.backlog][-1].meta.is_keyed


# -- encodings --------------------------------------------------------------------------------------------------------


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}
PLAIN = b'{"event":"zipped","text":"' + b"abc " * 5000 + b'"}'


@pytest.mark.parametrize("encoding", ENCODERS)
async def test_a_content_encoding_is_undone(worker: Worker, encoding: str) -> None:
    response = await post(worker, "/events", ENCODERS[encoding](PLAIN), KEY, f"Content-Encoding: {encoding.upper()}")
    assert response.status == 200
    event = await worker.event()
    assert (event.body, event.event_type) == (PLAIN, b"zipped")
    assert f"Content-Encoding: {encoding.upper()}".encode() in event.headers


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (_raw_deflate(PLAIN), "deflate"),
        (gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:]), "gzip"),
        (b"".join(gzip.compress(PLAIN[n : n + 100]) for n in range(0, len(PLAIN), 100)), "gzip"),
        (gzip.compress(PLAIN) + bytes(1000), "gzip"),
        (zstandard.compress(PLAIN[:100]) + zstandard.compress(PLAIN[100:]), "zstd"),
        (gzip.compress(zlib.compress(PLAIN)), "deflate, gzip"),
        (brotli.compress(gzip.compress(PLAIN)), "gzip,br"),
        (gzip.compress(PLAIN), "identity, gzip"),
    ],
    ids=range(8),
)
async def test_members_and_layers_are_undone(worker: Worker, data: bytes, encoding: str) -> None:
    assert (await post(worker, "/events", data, KEY, f"Content-Encoding: {encoding}")).status == 200
    assert (await worker.event()).body == PLAIN


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        *[(encode(PLAIN)[:-6], name) for name, encode in ENCODERS.items() if name != "identity"],
        *[(b"not " + encode(PLAIN), name) for name, encode in ENCODERS.items() if name not in ("identity", "br")],
        (gzip.compress(PLAIN) + b"trailing nonsense", "gzip"),
        (gzip.compress(PLAIN)[:-4] + b"abcd", "gzip"),
        (zstandard.compress(PLAIN) + b"trailing nonsense", "zstd"),
        (b"\xff" * 100, "br"),
        (PLAIN, "lzma"),
        (PLAIN, "gzip, gzip, gzip"),
        (PLAIN, "\xe9\xff"),
        (gzip.compress(b"") * 1200, "gzip"),
        (zstandard.compress(b"") * 1200, "zstd"),
    ],
    ids=range(18),
)
async def test_what_does_not_decode_is_415(worker: Worker, data: bytes, encoding: str) -> None:
    response = await post(worker, "/events", data, KEY, f"Content-Encoding: {encoding}")
    assert response.status == 415
    assert content(response)["reason"] == "ENCODING_UNSUPPORTED"
    assert not await worker.events()


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


ZEROS = bytes(200 * MIB)
BOMBS = {
    "gzip": (gzip.compress(ZEROS, 9), "gzip"),
    "deflate": (zlib.compress(ZEROS, 9), "deflate"),
    "br": (brotli.compress(ZEROS, quality=5), "br"),
    "zstd": (zstandard.compress(ZEROS), "zstd"),
    "nested": (gzip.compress(gzip.compress(ZEROS, 9), 9), "gzip, gzip"),
    "many members": (gzip.compress(ZEROS[: 2 * MIB], 9) * 100, "gzip"),
    "many frames": (zstandard.compress(ZEROS[: 2 * MIB]) * 100, "zstd"),
}
del ZEROS


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_413_and_memory_stays_flat(worker: Worker, name: str) -> None:
    data, encoding = BOMBS[name]
    before = _peak_kib()
    for target in ("/events", "/batch"):
        response = await post(worker, target, data, KEY, f"Content-Encoding: {encoding}")
        assert response.status == 413
        assert content(response)["reason"] == "TOO_LARGE"
    assert _peak_kib() - before < 60 * 1024
    assert not await worker.events()


async def test_a_zstd_frame_that_asks_for_gigabytes_is_refused(worker: Worker) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, write_content_size=False)
    data = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = data.compress(PLAIN) + data.flush()
    assert (await post(worker, "/events", body, KEY, "Content-Encoding: zstd")).status == 415


async def test_clicks_go_on_while_bodies_are_taken_apart(worker: Worker) -> None:
    """The loop that redirects people does nothing else for long."""
    heavy = [
        request("/batch", KEY, method="POST", body=b"[" + b'{"a":[1,2,3],"event":"x"},' * 9_999 + b"{}]"),
        request("/events", KEY, method="POST", body=b'{"a":[' + b"[]," * 300_000 + b"[]]}"),
        request("/events", KEY, method="POST", body=b"[" * MIB),
        request("/events", KEY, method="POST", body=b"[]" * (MIB // 2)),
        request("/events", KEY, "Content-Encoding: gzip", method="POST", body=BOMBS["gzip"][0]),
    ]
    asking = [asyncio.ensure_future(worker.ask(data, seconds=20)) for data in heavy]
    loop = asyncio.get_running_loop()
    slowest = 0.0
    while not all(task.done() for task in asking):
        started = loop.time()
        await asyncio.sleep(0.001)
        slowest = max(slowest, loop.time() - started)
    assert [task.result().status for task in asking] == [200, 200, 200, 200, 413]
    assert slowest < 0.25


# -- batches ----------------------------------------------------------------------------------------------------------

ITEMS = [b'{"event":"a","n":1}', b'{ "event" : "b" , "n":[1, {"x":"]},["}] }', b'{"event":"c\\"[{","n":"\xc3\xa9"}']
BATCHES = {
    "array": (b"[" + b",".join(ITEMS) + b"]", ITEMS),
    "array with blanks": (b" \r\n[\n" + b" ,\t\n".join(ITEMS) + b" \n]\n ", ITEMS),
    "events": (b'{"events":[' + b",".join(ITEMS) + b"]}", ITEMS),
    "batch among others": (b'{"k":"x","sent":{"events":[1]},"batch": [' + b",".join(ITEMS) + b'],"z":[2]}', ITEMS),
    "data": (b'{"data":[' + b", ".join(ITEMS) + b"]}", ITEMS),
    "lines": (b"\n".join(ITEMS), ITEMS),
    "lines with blanks": (b"\r\n\r\n".join(ITEMS) + b"\r\n\r\n", ITEMS),
    "byte order mark": (b"\xef\xbb\xbf[" + b",".join(ITEMS) + b"]", ITEMS),
    "one object": (ITEMS[0], ITEMS[:1]),
    "an object with other arrays": (b'{"items":[1,2]}', [b'{"items":[1,2]}']),
    "events that are no array": (b'{"events":{"a":[1]}}', [b'{"events":{"a":[1]}}']),
    "empty array": (b"[]", []),
    "empty events": (b'{"events":[ ]}', []),
    "scalars": (b'[1, "two", null, [], true]', [b"1", b'"two"', b"null", b"[]", b"true"]),
    "a bad item": (b'[{"a":1},{bad: [x]},{"b":2}]', [b'{"a":1}', b"{bad: [x]}", b'{"b":2}']),
    "an item of bad bytes": (b'[{"a":1},{"a":"\xff\xfe"},{"b":2}]', [b'{"a":1}', b'{"a":"\xff\xfe"}', b'{"b":2}']),
    "a deep item": (
        b'[{"a":1},' + b"[" * DEEP + b"]" * DEEP + b',{"b":2}]',
        [b'{"a":1}', b"[" * DEEP + b"]" * DEEP, b'{"b":2}'],
    ),
    "an empty item": (b'[{"a":1},,{"b":2}]', [b'{"a":1}', b"", b'{"b":2}']),
    "a comma too many": (b'[{"a":1},]', [b'{"a":1}']),
    "a bad line": (b'{"a":1}\nbad\n{"b":2}', [b'{"a":1}', b"bad", b'{"b":2}']),
    "cut": (b'[{"a":1},{"b":', [b'[{"a":1},{"b":']),
    "followed by nonsense": (b'[{"a":1}] x', [b'[{"a":1}] x']),
    "nothing": (b"", [b""]),
    "no JSON": (b"hello\nworld", [b"hello\nworld"]),
    "a scalar": (b"42", [b"42"]),
    "an open text": (b'["a\\"]', [b'["a\\"]']),
    "repeated names": (b'{"events":[{"a":1}],"events":[{"b":2}]}', [b'{"a":1}']),
}


@pytest.mark.parametrize("name", BATCHES)
async def test_a_batch_is_taken_apart_and_each_item_keeps_its_bytes(worker: Worker, name: str) -> None:
    body, items = BATCHES[name]
    response = await post(worker, "/batch", body, KEY, JSON)
    assert response.status == 200
    answer = content(response)
    events = await worker.events()
    assert [event.body for event in events] == items
    assert [event.item_index for event in events] == list(range(len(items)))
    assert (answer["received"], answer["stored"], answer["refused"]) == (len(items), len(items), 0)
    assert [item["event_id"] for item in answer["items"]] == [event.event_id for event in events]
    assert [item.get("marks", []) for item in answer["items"]] == [list(event.marks) for event in events]
    assert answer["marked"] == sum(bool(event.marks) for event in events)
    assert {event.route for event in events} <= {"batch"}


@pytest.mark.parametrize("name", ["array", "events", "lines"])
@pytest.mark.parametrize("encoding", [name for name in ENCODERS if name != "identity"])
async def test_a_batch_may_be_compressed(worker: Worker, name: str, encoding: str) -> None:
    body, items = BATCHES[name]
    response = await post(worker, "/batch", ENCODERS[encoding](body), KEY, f"Content-Encoding: {encoding}")
    assert content(response)["stored"] == len(items)
    assert [event.body for event in await worker.events()] == items


async def test_bad_items_are_named_by_their_index(worker: Worker) -> None:
    body = b'[{"a":1},{bad},{"a":"\xff"},7,{"b":"\\ud800"},{"big":"' + b"x" * MIB + b'"},{"c":3}]'
    answer = content(await post(worker, "/batch", body, KEY))
    assert (answer["received"], answer["stored"], answer["refused"], answer["marked"]) == (7, 6, 1, 4)
    odd = {item["index"]: item.get("marks") or item.get("reason") for item in answer["items"] if len(item) > 3}
    assert odd == {
        1: ["malformed_json"],
        2: ["invalid_utf8"],
        3: ["not_an_object"],
        4: ["lone_surrogate"],
        5: "TOO_LARGE",
    }
    assert [event.item_index for event in await worker.events()] == [0, 1, 2, 3, 4, 6]


async def test_ndjson_is_told_by_its_content_type(worker: Worker) -> None:
    body = b'[{"a":1}]\n"two"\n\n{"c":3}'
    for content_type in ("application/x-ndjson", "application/ndjson; charset=utf-8", "application/jsonl"):
        await post(worker, "/batch", body, KEY, f"Content-Type: {content_type}")
    assert [event.body for event in await worker.events()] == [b'[{"a":1}]', b'"two"', b'{"c":3}'] * 3


async def test_items_have_ids_of_their_own_or_of_the_request(worker: Worker) -> None:
    body = b'[{"event_id":"mine"},{"n":2},{"n":3}]'
    first, second = [content(await post(worker, "/batch", body, KEY, "Idempotency-Key: r1")) for _ in range(2)]
    assert [item["event_id"] for item in first["items"]] == [item["event_id"] for item in second["items"]]
    keys = [event.idempotency_key for event in await worker.events()]
    assert keys == [b"mine", b"r1/1", b"r1/2"] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 10_000 + b"1]",
        b"1\n" * 2_000_000,
        b"[" + b"1," * 2_000_000 + b"1]",
        b'{"events":[' + b"{}," * 2_000_000 + b"{}]}",
    ],
    ids=["10001", "lines", "array", "events"],
)
async def test_too_many_items_are_413_and_memory_stays_flat(worker: Worker, body: bytes) -> None:
    before = _peak_kib()
    content_type = "Content-Type: application/x-ndjson" if body.startswith(b"1\n") else JSON
    response = await post(worker, "/batch", body, KEY, content_type)
    assert response.status == 413
    assert "10000 items" in content(response)["detail"]
    assert _peak_kib() - before < 120 * 1024
    assert not await worker.events()


@pytest.mark.parametrize("own_worker", [{"journal_pending_bytes": 2 * MIB}], indirect=True)
async def test_a_batch_larger_than_the_journal_s_memory_is_stored_piece_by_piece(own_worker: Worker) -> None:
    items = b",".join(b'{"n":%d}' % n for n in range(5000))
    data = request("/batch", KEY, "X-Long: " + "x" * 4000, method="POST", body=b"[" + items + b"]")
    response = await own_worker.ask(data, seconds=20)
    assert content(response)["stored"] == 5000
    events = await own_worker.events()
    assert [event.item_index for event in events] == list(range(5000))
    assert len({event.event_id for event in events}) == 5000


async def test_many_items_times_many_headers_are_413(worker: Worker) -> None:
    """Each event keeps the headers of its request: two megabytes of them must not become gigabytes on disk."""
    headers = [f"X-{number}: {'x' * 8000}" for number in range(20)]
    data = request("/batch", KEY, *headers, method="POST", body=b"[" + b"1," * 999 + b"1]")
    response = await worker.ask(data)
    assert (response.status, content(response)["reason"]) == (413, "TOO_LARGE")
    assert not await worker.events()
    data = request("/batch", KEY, *headers, method="POST", body=b"[" + b"1," * 99 + b"1]")
    assert content(await worker.ask(data))["stored"] == 100


# -- whose is it? -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "target", "body"),
    [
        ((KEY,), "/events", b"{}"),
        ((f"authorization: bearer {PUBLISHABLE_KEY}",), "/events", b"{}"),
        ((f"Authorization: Bearer   {PUBLISHABLE_KEY}  ",), "/events", b"{}"),
        (("Authorization: Basic d2RuX3BrX2xpdmVfYWNtZWNvcnBfa2V5Og==",), "/events", b"{}"),
        ((f"X-Write-Key: {PUBLISHABLE_KEY}",), "/events", b"{}"),
        ((), f"/events?k={PUBLISHABLE_KEY}", b"{}"),
        ((), f"/events?a=1&api_key={PUBLISHABLE_KEY}", b"{}"),
        ((), "/events", b'{"write_key":"%b"}' % PUBLISHABLE_KEY.encode()),
        ((), "/batch", b'{"write_key":"%b","events":[{}]}' % PUBLISHABLE_KEY.encode()),
        ((), "/batch", b'{"events":[{}], "writeKey" : "%b"}' % PUBLISHABLE_KEY.encode()),
        ((f"Authorization: Bearer {SECRET_KEY}",), "/batch", b"[{}]"),
        (("Content-Type: application/x-www-form-urlencoded",), "/postback", b"a=1&k=" + PUBLISHABLE_KEY.encode()),
        ((), f"/track?key={PUBLISHABLE_KEY}", b""),
    ],
    ids=range(13),
)
async def test_a_key_is_found_wherever_it_may_be(
    worker: Worker, headers: tuple[str, ...], target: str, body: bytes
) -> None:
    assert (await post(worker, target, body, *headers)).status == 200
    event = await worker.event()
    assert event.organization_id == "org_acmecorp"
    assert event.key_id


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        ("", "ORGANIZATION_UNKNOWN"),
        ("Authorization: Bearer wdn_pk_live_nobody", "KEY_UNKNOWN"),
        (f"Authorization: Bearer {PUBLISHABLE_KEY[:-1]}", "KEY_UNKNOWN"),
        (f"Authorization: Bearer {TEST_KEY[:-1]}", "KEY_MALFORMED"),
        (f"Authorization: Bearer {TEST_KEY.swapcase()}", "KEY_MALFORMED"),
        (f"Authorization: Bearer {REVOKED_KEY}", "KEY_REVOKED"),
        (f"Authorization: Bearer {EXPIRED_KEY}", "KEY_EXPIRED"),
        ("Authorization: Bearer nonsense", "KEY_MALFORMED"),
        ("Authorization: Bearer \xff\xfe", "KEY_MALFORMED"),
        ("Authorization: Basic \xff\xfe", "KEY_MALFORMED"),
        ("Authorization: Basic %%%", "KEY_MALFORMED"),
        ("Authorization: Basic ////", "KEY_MALFORMED"),
        ("X-Write-Key: wdn_pk_live_" + "x" * 41, "KEY_MALFORMED"),
        ("X-Write-Key: \xe9", "KEY_MALFORMED"),
    ],
    ids=range(14),
)
async def test_who_is_not_known_is_told_so_and_the_request_is_kept(
    worker: Worker, credential: str, reason: str
) -> None:
    for target in ("/events", "/batch", "/postback"):
        response = await post(worker, target, b'{"a":1}', credential or "X: y")
        assert response.status == 401
        assert response.header("Content-Type") == "application/problem+json"
        assert response.header("WWW-Authenticate") == 'Bearer realm="trellis"'
        assert content(response)["reason"] == reason
        event = await worker.event()
        assert (event.organization_id, event.body, event.status) == ("", b'{"a":1}', 401)
        assert list(event.marks) == ["unclaimed_host" if not credential else "unclaimed_key"]
        assert PUBLISHABLE_KEY[12:].encode() not in response.body
    image = await worker.ask(request("/pixel.gif", credential or "X: y", host="localhost"))
    assert (image.status, image.body[:6], image.outcome) == (200, b"GIF89a", "unclaimed")
    link = await worker.ask(request("/in/summer_sale", credential or "X: y", host="localhost"))
    assert (link.status, link.outcome) == (404, "unclaimed")


async def test_what_is_unclaimed_is_kept_at_a_bounded_rate(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress_gateway.unclaimed.time", SimpleNamespace(monotonic=lambda: 5.0))
    for _ in range(80):
        assert (await post(worker, "/events", b"{}")).status == 401
    counters = worker.gateway.counters
    assert counters.unclaimed_count == 80
    assert counters.unclaimed_dropped_count == 30
    assert len(await worker.events()) == 50


async def test_a_key_of_another_organisation_than_the_host_s_is_unknown(worker: Worker) -> None:
    response = await post(worker, "/events", b"{}", KEY, host="go.other.example")
    assert (response.status, content(response)["reason"]) == (401, "KEY_UNKNOWN")
    response = await post(worker, "/events", b"{}", f"Authorization: Bearer {OTHER_KEY}", host="go.other.example")
    assert response.status == 200
    assert (await worker.event()).organization_id == "org_other"


async def test_a_key_without_the_scope_is_forbidden_and_a_test_key_marks(worker: Worker) -> None:
    response = await post(worker, "/events", b"{}", f"Authorization: Bearer {READ_KEY}")
    assert (response.status, content(response)["reason"]) == (403, "SCOPE_MISSING")
    assert (await post(worker, "/events", b"{}", f"Authorization: Bearer {TEST_KEY}")).status == 200
    assert list((await worker.event()).marks) == ["test"]
    assert (await post(worker, "/batch", b"[1]", f"Authorization: Bearer {TEST_KEY}")).status == 200
    assert list((await worker.event()).marks) == ["not_an_object", "test"]


# -- secrets ----------------------------------------------------------------------------------------------------------


CAPTURES = ("/in/summer_sale", "/in/nowhere", "/pixel.gif", "/track", "/events", "/batch", "/postback")


def _is_on_disk(worker: Worker, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in worker.directory.rglob("*.segment"))


@pytest.mark.parametrize("target", CAPTURES)
async def test_no_secret_is_kept_wherever_it_comes(worker: Worker, target: str) -> None:
    secret = OTHER_SECRET_KEY.removeprefix("wdn_sk_")
    session = "5e55i0n"
    data = request(
        f"{target}?k={OTHER_SECRET_KEY}&click_id={OTHER_SECRET_KEY}&event={OTHER_SECRET_KEY}&x=a{OTHER_SECRET_KEY}%26b",
        f"Authorization: Bearer {OTHER_SECRET_KEY}",
        f"Proxy-Authorization: Basic {session}",
        f"Cookie: sid={session}; k={OTHER_SECRET_KEY}",
        f"cookie: more={session}",
        f"X-Write-Key: {OTHER_SECRET_KEY}",
        f"Referer: https://x.example/?k={OTHER_SECRET_KEY}&y={OTHER_SECRET_KEY}",
        f"X-{OTHER_SECRET_KEY}: x",
        f"Idempotency-Key: {OTHER_SECRET_KEY}",
        f"User-Agent: {OTHER_SECRET_KEY}",
        method="POST",
        body=b'{"write_key":"%b","event":"%b","click_id":"%b"}' % ((OTHER_SECRET_KEY.encode(),) * 3),
    )
    response = await worker.ask(data)
    assert response.status in (200, 302, 404)
    event = await worker.event()
    kept = event.SerializeToString()
    assert secret.encode() not in kept
    assert session.encode() not in kept
    assert b"Authorization: [redacted]\r\n" in event.headers
    assert b"Cookie: [redacted]\r\ncookie: [redacted]\r\n" in event.headers
    assert b"wdn_sk_[redacted]" in event.target
    assert b"wdn_sk_[redacted]" in event.body
    assert not _is_on_disk(worker, secret)


async def test_no_secret_is_in_a_log(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    await post(worker, "/events", b'{"k":"%b"}' % SECRET_KEY.encode(), f"Authorization: Bearer {SECRET_KEY}x")
    await worker.talk_until_closed(f"GET /\x01{SECRET_KEY} HTTP/1.1\r\n\r\n".encode())
    printed = capfd.readouterr()
    assert SECRET_KEY not in printed.out + printed.err


# -- pixels, tracks, postbacks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("target", ["/pixel", "/pixel.gif"])
async def test_an_image_always_comes(worker: Worker, target: str, method: str) -> None:
    (response,) = await worker.talk(request(f"{target}?event=view&gclid=G", method=method), methods=[method])
    assert response.status == 200
    assert response.header("Content-Type") == "image/gif"
    assert response.header("Cross-Origin-Resource-Policy") == "cross-origin"
    if method != "HEAD":
        assert (response.body[:6], len(response.body), response.body[-1:]) == (b"GIF89a", 43, b";")
    event = await worker.event()
    assert (event.event_type, event.external_click_id, event.route) == (b"view", b"G", "pixel")
    assert (response.header("Set-Cookie") or "").startswith(f"_tl_v={event.user_id};")


async def test_a_track_is_an_image_or_json_for_who_asks(worker: Worker) -> None:
    image = await worker.ask(request("/track?e=signup&idempotency_key=i-1"))
    assert (image.status, image.header("Content-Type")) == (200, "image/gif")
    wants_json = "Accept: text/html, application/json;q=0.9"
    answer = await worker.ask(request("/track?e=signup&idempotency_key=i-1", wants_json))
    assert content(answer) == {"event_id": image.event_id, "outcome": "stored"}
    assert answer.header("Content-Type") == "application/json; charset=utf-8"
    refused = await worker.ask(request("/track", "Accept: application/json", host="localhost"))
    assert refused.status == 401


@pytest.mark.parametrize(
    ("data", "event_type", "external"),
    [
        (request("/postback?cid=abc&et=lead"), b"lead", b"abc"),
        (request("/postback?click_id={click_id}&sub_id=s"), b"conversion", b"s"),
        (request("/postback", JSON, method="POST", body=b'{"event":"sale","clickid":"c"}'), b"sale", b"c"),
        (
            request(
                "/postback?event=upsell",
                "Content-Type: application/x-www-form-urlencoded",
                method="POST",
                body=b"clickid=c%20d+e&payout=1&clickid=second",
            ),
            b"upsell",
            b"c d e",
        ),
    ],
    ids=range(4),
)
async def test_a_postback_is_stored_as_it_came(worker: Worker, data: bytes, event_type: bytes, external: bytes) -> None:
    response = await worker.ask(data)
    assert response.status == 200
    event = await worker.event()
    assert (event.event_type, event.external_click_id) == (event_type, external)
    if b"json" in data:
        assert content(response)["event_id"] == event.event_id
    else:
        assert response.body == b"OK"


# -- other origins ----------------------------------------------------------------------------------------------------


async def test_pages_of_any_origin_may_send_events(worker: Worker) -> None:
    preflight = await worker.ask(
        request(
            "/events",
            "Origin: https://page.example",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: content-type, x-write-key",
            method="OPTIONS",
        )
    )
    assert preflight.status == 204
    assert preflight.header("Access-Control-Allow-Origin") == "https://page.example"
    assert preflight.header("Access-Control-Allow-Headers") == "content-type, x-write-key"
    response = await post(worker, "/events", b"{}", KEY, "Origin: https://page.example")
    assert response.header("Access-Control-Allow-Origin") == "https://page.example"
    refused = await post(worker, "/events", b"{}", "Origin: https://page.example")
    assert (refused.status, refused.header("Access-Control-Allow-Origin")) == (401, "https://page.example")


@pytest.mark.parametrize(
    "header",
    ["Origin: \xff", "Access-Control-Request-Headers: \xff\xe9", "Access-Control-Request-Method: \xff", "Accept: \xff"],
)
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
async def test_odd_bytes_in_any_header_break_nothing(worker: Worker, header: str, method: str) -> None:
    for target in ("/events", "/in/summer_sale", "/pixel.gif", "/nothing", "/track", "/healthz"):
        origin = "X: y" if "Origin" in header else "Origin: https://x"
        response = await worker.ask(request(target, header, origin, method=method))
        assert response.status < 500


@pytest.mark.parametrize(
    "header",
    [
        "Content-Type: \xff/\xfe; charset=\xff",
        "Idempotency-Key: \xff\xe9",
        "User-Agent: \xff\xe9\x80",
        # Digits, but not ours.
        "Cookie: \xff; _tl_v=usr_" + "\xef\xbc\x91" * 13,
        "X-Forwarded-For: fe80::1%\xff\xfe",
        "X-Forwarded-For: \xff, 1.2.3.4",
        "X-Forwarded-Proto: \xff",
        "traceparent: \xff",
        "Referer: \xff\xfe",
    ],
    ids=range(9),
)
async def test_odd_bytes_are_kept_as_they_came(worker: Worker, header: str) -> None:
    for data in (
        request("/in/summer_sale", header),
        request("/in/nowhere", header),
        request("/pixel.gif", header),
        request("/events", header, KEY, method="POST", body=b"{}"),
    ):
        response = await worker.ask(data)
        assert response.status in (200, 302, 404)
        event = await worker.event()
        if "Cookie" not in header:
            assert header.encode("latin-1") in event.headers
        assert event.user_id.isascii()
        assert event.ip in ("127.0.0.1", "fe80::1", "1.2.3.4")

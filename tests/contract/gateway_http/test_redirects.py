"""Tracking links over the wire: both lanes, one answer."""

import re
import time

import pytest

from tests.contract.gateway_http.wire import Response, connection, request
from tests.contract.gateway_http.worker import SHOP, Worker
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
CLICK_ID = re.compile(r"[A-Za-z0-9_-]{22}")
OURS = "<ours>"


def _location(response: Response) -> str:
    """Return the Location with our click id made recognisable."""
    return re.sub(r"(?<=[?&]click_id=)[A-Za-z0-9_-]{22}(?=[&#]|$)", OURS, response.location)


async def _fast(worker: Worker, target: str | bytes, *headers: str | bytes) -> Response:
    """Ask in the fast lane."""
    before = worker.gateway.counters.fast_request_count
    response = await worker.ask(request(target, *headers))
    assert worker.gateway.counters.fast_request_count == before + 1, "it was not in the fast lane"
    return response


async def _slow(worker: Worker, target: str | bytes, *headers: str | bytes) -> Response:
    """Ask for the same in the slow lane: what comes in the packet of another request is no lone click."""
    before = worker.gateway.counters.fast_request_count
    async with connection(worker.port) as held:
        await held.send(request("/healthz") + request(target, *headers))
        health, response = await held.receive(2)
        assert health.status == 200
    assert worker.gateway.counters.fast_request_count == before, "it was not in the slow lane"
    return response


REDIRECTS = [
    ("/in/summer_sale", f"{SHOP}?click_id={OURS}"),
    ("/in/summer_sale?", f"{SHOP}?click_id={OURS}"),
    ("/in/summer_sale?click_id=fb_123abc&source=facebook", f"{SHOP}?click_id=fb_123abc&source=facebook"),
    ("/in/summer_sale?source=facebook&click_id=X", f"{SHOP}?source=facebook&click_id=X"),
    ("/in/summer_sale?a=1&a=2&b=&a=1&c", f"{SHOP}?a=1&a=2&b=&a=1&c&click_id={OURS}"),
    ("/in/summer_sale?b=2&a=1", f"{SHOP}?b=2&a=1&click_id={OURS}"),
    ("/in/summer_sale?x=%E2%82%AC%20%2B+%26%3D", f"{SHOP}?x=%E2%82%AC%20%2B+%26%3D&click_id={OURS}"),
    ("/in/summer_sale?x=%zz%&y=%", f"{SHOP}?x=%zz%&y=%&click_id={OURS}"),
    ("/in/summer_sale?x='(*)~!;:@,$[]{}|^`", f"{SHOP}?x='(*)~!;:@,$[]{{}}|^`&click_id={OURS}"),
    ("/in/summer_sale?&&a=1&&", f"{SHOP}?&&a=1&&&click_id={OURS}"),
    ("/in/summer_sale??a=1?b", f"{SHOP}??a=1?b&click_id={OURS}"),
    ("/in/summer_sale?a=1#b", f"{SHOP}?a=1%23b&click_id={OURS}"),
    (b"/in/summer_sale?x=\xff\xfe\xe2\x82\xac", f"{SHOP}?x=%FF%FE%E2%82%AC&click_id={OURS}"),
    ("/in/summer_sale?click_id=", f"{SHOP}?click_id="),
    ("/in/summer_sale?CLICK_ID=x&xclick_id=y", f"{SHOP}?CLICK_ID=x&xclick_id=y&click_id={OURS}"),
    ("/in/s%75mmer_sale?a=1", f"{SHOP}?a=1&click_id={OURS}"),
    ("/in/a.b~c-d_E", f"https://shop.acmecorp.com/odd?click_id={OURS}"),
    (
        "/in/own?utm_source=theirs&b=2&utm%5Fsource=again&a=3&c=%61",
        f"https://shop.acmecorp.com/own?utm_source=ours&a=1&b=2&c=%61&click_id={OURS}#top",
    ),
    ("/in/own", f"https://shop.acmecorp.com/own?utm_source=ours&a=1&click_id={OURS}#top"),
    ("/in/none?a=1&click_id=x", f"https://shop.acmecorp.com/none?click_id={OURS}"),
    ("/in/summer_sale?k=wdn_pk_live_acmecorp_key&a=1", f"{SHOP}?a=1&click_id={OURS}"),
    ("/in/summer_sale?a=1&api_key=wdn_pk_live_x&b=2", f"{SHOP}?a=1&b=2&click_id={OURS}"),
    ("/in/summer_sale?k=mine&key=yours", f"{SHOP}?k=mine&key=yours&click_id={OURS}"),
]
_ids = [str(number) for number in range(len(REDIRECTS))]


@pytest.mark.parametrize(("target", "expected"), REDIRECTS, ids=_ids)
async def test_both_lanes_give_one_answer(worker: Worker, target: str | bytes, expected: str) -> None:
    fast = await _fast(worker, target)
    # A target with bytes beyond ASCII is read alone in its packet, and so in the fast lane only.
    is_odd = isinstance(target, bytes) and not target.isascii()
    slow = await _fast(worker, target) if is_odd else await _slow(worker, target)
    for response in (fast, slow):
        assert response.status == 302
        assert _location(response) == expected
        assert response.body == b""
        assert UUID7.fullmatch(response.event_id)
        assert response.outcome == "stored"
    assert _comparable(fast) == _comparable(slow)
    first, second = [event for event in await worker.events() if event.route == "in"]
    assert _facts(first) == _facts(second)
    raw = target if isinstance(target, bytes) else target.encode("latin-1")
    assert first.target == raw
    assert first.location.decode() == fast.location
    assert (first.event_id, second.event_id) == (fast.event_id, slow.event_id)
    assert CLICK_ID.fullmatch(first.click_id)
    assert first.click_id != second.click_id


def _comparable(response: Response) -> list[tuple[str, str]]:
    """Return the headers, sorted, without what differs by nature."""
    differs = {"date", "server", "x-trellis-event-id", "location", "set-cookie"}
    names = sorted((name.lower(), value) for name, value in response.pairs if name.lower() not in differs)
    return [*names, ("set-cookie", re.sub(r"usr_\d+", "usr", response.header("Set-Cookie") or ""))]


def _facts(event: event_pb2.Event) -> event_pb2.Event:
    """Return an event without what differs from request to request."""
    copy = event_pb2.Event()
    copy.CopyFrom(event)
    for name in ("event_id", "event_time_ms", "click_id", "user_id", "location", "peer_address", "sequence"):
        copy.ClearField(name)
    return copy


HEADERS = [
    (),
    ("User-Agent: Mozilla/5.0", "Accept-Language: en-US", "Referer: https://www.facebook.com/"),
    ("Cookie: a=b; _tl_v=usr_1234567890123; c=d",),
    ("DNT: 1", "User-Agent: x"),
    ("Sec-GPC: 1",),
    ("X-Forwarded-For: 198.51.100.42", "X-Forwarded-Proto: https"),
    ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",),
    ("traceparent: nonsense",),
    ("Origin: https://page.example",),
    ("Authorization: Bearer wdn_sk_live_wrong", "Proxy-Authorization: Basic eA=="),
    ("X-Repeated: 1", "x-repeated: 2", "X-REPEATED:   3  "),
    (b"X-Bytes: \xff\x80\xc3\xa9", "X-Empty:"),
    ("Connection: keep-alive",),
    ("Connection: close",),
    ("Accept: application/json",),
    ("If-None-Match: *", "Range: bytes=0-1", "If-Modified-Since: Sat, 29 Oct 2050 19:43:31 GMT"),
]


@pytest.mark.parametrize("headers", HEADERS, ids=range(len(HEADERS)))
async def test_no_header_makes_the_lanes_differ(worker: Worker, headers: tuple[str | bytes, ...]) -> None:
    fast = await worker.ask(request("/in/summer_sale?a=1", *headers))
    slow = await _slow(worker, "/in/summer_sale?a=1", *headers)
    assert (fast.status, slow.status) == (302, 302)
    assert _comparable(fast) == _comparable(slow)
    first, second = [event for event in await worker.events() if event.route == "in"]
    assert _facts(first) == _facts(second)


async def test_an_answer_is_never_cached_and_says_no_version(worker: Worker) -> None:
    for response in (await _fast(worker, "/in/summer_sale"), await _slow(worker, "/in/summer_sale")):
        assert response.header("Cache-Control") == "no-store, no-cache, must-revalidate, private"
        assert (response.header("Pragma"), response.header("Expires")) == ("no-cache", "0")
        assert response.header("Referrer-Policy") == "strict-origin-when-cross-origin"
        assert response.header("X-Robots-Tag") == "noindex, nofollow"
        assert response.header("Content-Length") == "0"
        assert response.header("Content-Type") is None
        assert b"python" not in response.head.lower()
        assert b"aiohttp" not in response.head.lower()
        sent = time.mktime(time.strptime(response.header("Date") or "", "%a, %d %b %Y %H:%M:%S GMT"))
        assert abs(sent - time.mktime(time.gmtime())) < 3


async def test_a_click_is_kept_as_it_came(worker: Worker) -> None:
    headers = (
        "user-AGENT: Mozilla/5.0 (iPhone)",
        "X-Twice: 1",
        b"X-Odd: \xff \x80tab\there",
        "X-Twice: 2",
        "Cookie: _tl_v=usr_1234567890123; session=secret",
        "Referer: https://www.facebook.com/",
    )
    target = b"/in/summer_sale?click_id=Fb_123ABC&source=facebook&x=\xff"
    response = await _fast(worker, target, *headers)
    event = await worker.event()
    assert event.organization_id == "org_acmecorp"
    assert event.event_id == response.event_id
    assert abs(event.event_time_ms / 1000 - time.time()) < 5
    assert (event.event_type, event.route, event.method, event.http_version) == (b"click", "in", "GET", "1.1")
    assert event.target == target
    expected = [b"Host: track.acmecorp.com", *(h if isinstance(h, bytes) else h.encode() for h in headers)]
    expected[5] = b"Cookie: [redacted]"
    assert event.headers == b"\r\n".join(expected) + b"\r\n"
    assert event.body == b""
    assert event.peer_address.startswith("127.0.0.1:")
    assert (event.ip, event.scheme, event.host) == ("127.0.0.1", "http", b"track.acmecorp.com")
    assert event.external_click_id == b"Fb_123ABC"
    assert event.user_id == "usr_1234567890123"
    assert (event.campaign_id, event.campaign_version, event.status) == ("summer_sale", 3, 302)
    assert event.location == response.location.encode()
    assert (list(event.marks), event.trace_id, event.key_id, event.idempotency_key) == ([], "", "", b"")
    assert event.journal_id == worker.gateway.journal.journal_id
    assert event.item_index == 0


# -- never an open redirect ------------------------------------------------------------------------------------------

EVIL = [
    b"//evil.example",
    b"/\\evil.example",
    b"https://evil.example",
    b"%0d%0aSet-Cookie:%20evil=1",
    b"%0aLocation:%20https://evil.example",
    b"%E5%98%8A%E5%98%8DSet-Cookie:%20evil",
    "嘊嘍Set-Cookie: evil".replace(" ", "%20").encode(),
    b"@evil.example",
    b"#@evil.example",
    b"?//evil.example",
    b"\\\\evil.example\\",
    b"..%2f..%2f%2fevil.example",
    b"%00",
    b"%5c%5cevil.example",
    b"\xef\xbc\x8f\xef\xbc\x8fevil\xe3\x80\x82example",
    b"javascript:alert(1)",
    b"\xff\xfe",
    b"\xe2\x80\xa8Set-Cookie:evil",
    b"\xc2\x85Set-Cookie:evil",
    b"x\x7fy",
]
_evil_ids = [str(number) for number in range(len(EVIL))]


@pytest.mark.parametrize("evil", EVIL, ids=_evil_ids)
@pytest.mark.parametrize(
    "form",
    [b"a=%b", b"%b=1", b"%b", b"click_id=%b", b"utm_source=%b&source=%b", b"url=%b", b"destination=%b", b"_tl_v=%b"],
)
async def test_no_parameter_leads_elsewhere_or_into_the_headers(worker: Worker, evil: bytes, form: bytes) -> None:
    query = form.replace(b"%b", evil)
    for slug in (b"summer_sale", b"own"):
        data = request(b"/in/%b?%b" % (slug, query))
        raw = await worker.talk_until_closed(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert raw.count(b"\r\n\r\n") == 1
        assert raw.count(b"HTTP/1.1") == 1
        head = raw.split(b"\r\n\r\n")[0]
        if b"\x7f" in evil:
            assert head.startswith(b"HTTP/1.1 400")
            continue
        assert head.startswith(b"HTTP/1.1 302")
        locations = [line for line in head.split(b"\r\n") if line.lower().startswith(b"location:")]
        assert len(locations) == 1
        assert locations[0].startswith(b"Location: https://shop.acmecorp.com/")
        assert not re.search(rb"[^\x21-\x7e]", locations[0].removeprefix(b"Location: "))
        assert sum(line.lower().startswith(b"set-cookie:") for line in head.split(b"\r\n")) == 1


@pytest.mark.parametrize("evil", EVIL, ids=_evil_ids)
async def test_no_slug_leads_anywhere(worker: Worker, evil: bytes) -> None:
    for path in (b"/in/%b", b"/in//%b", b"/in/%b/summer_sale", b"/in/summer_sale/%b", b"//in/%b", b"/in/summer_sal%b"):
        raw = await worker.talk_until_closed(request(path.replace(b"%b", evil), "Connection: close"))
        assert raw.count(b"HTTP/1.1 ") == 1
        assert not raw.startswith((b"HTTP/1.1 3", b"HTTP/1.1 5"))
        assert b"\r\nlocation:" not in raw.lower()


# -- links that lead nowhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        *("/in/unknown", "/in/SUMMER_SALE", "/in/summer_sale%20", "/in/a:b", "/in/a/b", "/in/", "/in", "/in/%2e%2e"),
        *("/in/:x", "/in/%", "/in/%ff", "/in//", "/in/%2Fsummer_sale", "/in/summer_sale/", "/in/\xe9t\xe9"),
    ],
)
async def test_an_unknown_slug_is_a_404_page_and_the_request_is_kept(worker: Worker, target: str) -> None:
    response = await worker.ask(request(target + "?click_id=x1"))
    assert response.status == 404
    assert response.header("Content-Type") == "text/html; charset=utf-8"
    assert response.event_id.encode() in response.body
    event = await worker.event()
    assert event.event_id == response.event_id
    assert (event.organization_id, event.status, list(event.marks)) == ("org_acmecorp", 404, ["unknown_slug"])
    assert event.target == target.encode("latin-1") + b"?click_id=x1"
    assert event.external_click_id == b"x1"
    assert response.outcome == "stored"


@pytest.mark.parametrize(
    "host", ["unknown.example", "", "127.0.0.1", "track.acmecorp.com.evil.example", "acmecorp.com", "\xff"]
)
async def test_an_unknown_host_is_a_404_page_and_the_request_is_kept_unclaimed(worker: Worker, host: str) -> None:
    response = await worker.ask(request("/in/summer_sale?a=1", host=host))
    assert response.status == 404
    assert response.outcome == "unclaimed"
    event = await worker.event()
    assert (event.organization_id, list(event.marks)) == ("", ["unclaimed_host"])
    assert event.host == host.encode("latin-1")
    assert worker.gateway.counters.unclaimed_count == 1


@pytest.mark.parametrize(
    "host", ["TRACK.AcmeCorp.com", "track.acmecorp.com:8080", "track.acmecorp.com.", "track.acmecorp.com.:443"]
)
async def test_a_host_is_known_in_any_case_with_a_port_and_with_a_dot(worker: Worker, host: str) -> None:
    assert (await worker.ask(request(host=host))).status == 302


async def test_another_organisation_s_slug_is_unknown_under_this_host(worker: Worker) -> None:
    response = await worker.ask(request(host="go.other.example"))
    assert response.status == 404
    assert (await worker.event()).organization_id == "org_other"


async def test_a_paused_campaign_goes_to_its_fallback_or_nowhere(worker: Worker) -> None:
    there = await worker.ask(request("/in/paused_elsewhere?a=1"))
    assert there.status == 302
    assert there.location.startswith("https://shop.acmecorp.com/fallback?a=1&click_id=")
    assert list((await worker.event()).marks) == ["campaign_paused"]
    nowhere = await worker.ask(request("/in/paused"))
    assert (nowhere.status, (await worker.event()).campaign_id) == (404, "paused")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/in?slug=summer_sale", SHOP),
        ("/in?a=1&slug=by-id", "https://shop.acmecorp.com/by-id"),
        ("/in?campaign_id=summer_sale", SHOP),
        ("/in?campaign_id=cmp_4711", "https://shop.acmecorp.com/by-id"),
    ],
)
async def test_a_link_may_name_its_campaign_in_the_query(worker: Worker, target: str, expected: str) -> None:
    response = await worker.ask(request(target))
    assert response.status == 302
    assert response.location.startswith(expected + "?")


async def test_a_publishable_key_names_the_organisation_where_the_host_does_not(worker: Worker) -> None:
    response = await worker.ask(request("/in/summer_sale?k=wdn_pk_live_acmecorp_key&a=1", host="localhost:8080"))
    assert response.status == 302
    assert "wdn_pk" not in response.location
    event = await worker.event()
    assert event.organization_id == "org_acmecorp"
    assert event.key_id


async def test_a_stray_key_does_not_stop_a_person_under_a_known_host(worker: Worker) -> None:
    for key in ("wdn_pk_live_unknown", "wdn_pk_live_", "nonsense"):
        assert (await worker.ask(request(f"/in/summer_sale?k={key}", f"Authorization: Bearer {key}"))).status == 302


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_redirected_and_kept_as_what_they_are(worker: Worker, method: str) -> None:
    body = b"" if method == "HEAD" else b"a=1"
    (response,) = await worker.talk(request("/in/summer_sale", method=method, body=body), methods=[method])
    assert response.status == 302
    event = await worker.event()
    assert event.method == method
    assert list(event.marks) == (["head"] if method == "HEAD" else [])
    assert event.body == body

"""Events as the internet sends them: every shape that a rule looks at, and bytes that nobody expects, by chance."""

import json
import random
import re
import uuid

from trellis.capture.v1 import event_pb2

START_MS = 1_767_225_600_000
MAPPED = "org_mapped"
NAMES = (
    "click_id",
    "clickid",
    "cid",
    "subid",
    "sub1",
    "s2",
    "utm_term",
    "external_id",
    "gclid",
    "fbclid",
    "FBCLID",
    "ScCid",
    "yclid",
    "transaction_id",
    "tid",
    "order_id",
    "orderid",
    "payout",
    "revenue",
    "amount",
    "sum",
    "value",
    "price",
    "status",
    "conv_status",
    "goal",
    "type",
    "event",
    "currency",
    "cur",
    "cost",
    "cpc",
    "bid",
    "zoneid",
    "placement",
    "utm_source",
    "source",
    "ref",
    "via",
    "utm_medium",
    "medium",
    "utm_campaign",
    "campaign",
    "keyword",
    "term",
    "utm_content",
    "content",
    "utm_id",
    "campaign_id",
    "ts",
    "timestamp",
    "client_time",
    "referrer",
    "document_referrer",
    "dr",
    "urlref",
    "p3",
    "P3",
    "x",
    "X",
    "y",
    "%78",
    "a%20b",
    "a+b",
    "tag[]",
    "msclkid",
    "irclickid",
    "awc",
    "igshid",
    "gad_source",
)
VALUES = (
    b"",
    b"1",
    b"facebook",
    b"Facebook",
    b"FB",
    b"cpc",
    b"CPC",
    b"email",
    b"propeller",
    b"newsletter",
    b"fb.1.2.3",
    b"IwAR0x_-",
    b"{clickid}",
    b"%7Bclickid%7D",
    b"[CLICK_ID]",
    b"REPLACE",
    b"null",
    b"NaN",
    b"undefined",
    b"%25guid%25",
    b"__SID__",
    b"##x##",
    b"-source-",
    b"OPTIONAL",
    b"x_placeholder",
    b"x_placeholder_{y}",
    b"$100",
    b"50%25",
    b"50%",
    b"%",
    b"%4",
    b"%zz",
    b"%2%35",
    b"%%41",
    b"a%2520b",
    b"a%20b",
    b"a+b",
    b"+",
    b"%20",
    b"%09x%0A",
    b"%0b%0c",
    b"%ff",
    b"\xff",
    b"%ff%fe\x00",
    b"%00",
    b"\x00",
    b"%C3%BC",
    b"\xc3\xbc",
    b"%C2%A0x%C2%A0",
    b"%E2%82%AC5",
    b"0.0123",
    b"99.99",
    b"99,99",
    b"1.234,56",
    b"1,234",
    b"$5",
    b"5USD",
    b"1e-05",
    b"-5",
    b"abc",
    b"999999999999999999",
    b"9223372036854.775807",
    b"USD",
    b"usd",
    b"eur",
    b"XXX",
    b"1776000000",
    b"1767225600123",
    b"0",
    b"-1",
    b"4102444800",
    b"99999999999999999999",
    b"2026-01-01T10:00:00Z",
    b"2026-01-01 10:00",
    b"2099-01-01",
    b"1970-01-01",
    b"approved",
    b"rejected",
    b"trash",
    b"test",
    b"Pending",
    b"1",
    b"sale,paid",
    b"https%3A%2F%2Fwww.google.com%2Fsearch%3Fq%3D1",
    b"https://t.co/x",
    b"http://shop.example/a",
    b"//x.example/",
    b"android-app://com.google.android.gm/",
    b"summer%202024",
    b"a=b",
    b"=",
    b"v" * 600,
    b"w" * 20_000,
)
_TAME = tuple(value for value in VALUES if not re.search(rb"%25|%(?![0-9A-Fa-f]{2})|\xff", value))
TYPES = (
    b"click",
    b"click",
    b"click",
    b"Click",
    b"pageview",
    b"page_view",
    b"impression",
    b"pixel",
    b"track",
    b"event",
    b"purchase",
    b"Order Completed",
    b"add_to_cart",
    b"lead",
    b"conversion",
    b"",
    b"\xff\xfe",
    b"a\x00b",
    b"test",
    b" Sale ",
    b"x" * 128,
)
ROUTES = ("in", "in", "in", "in", "pixel", "track", "events", "batch", "postback", "rpc", "")
AGENTS = (
    (
        b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4"
        b" Mobile/15E148 Safari/604.1"
    ),
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    b"Googlebot/2.1 (+http://www.google.com/bot.html)",
    b"curl/8.0",
    b"python-requests/2.31",
    b"",
    b"\xff\xfe",
    b"A" * 3000,
    b"x\x00y",
)
REFERERS = (
    b"https://www.google.com/search?q=x",
    b"https://l.facebook.com/l.php?u=1",
    b"https://go.example/in/x",
    b"https://shop.example/p?utm_source=z",
    b"http://blog.example",
    b"not a url",
    b"",
    b"\xff",
    b"https://" + b"a" * 600 + b".example/x",
    b"android-app://com.google.android.gm/",
    b"\x0b https://t.co/",
)
LANGUAGES = (b"en-US,en;q=0.9", b"de", b"zh-Hant-TW", b"*", b"", b"EN_gb;q=1", b"\xff", b"x" * 500)
HOSTS = (b"go.example", b"GO.example:8443", b"", b"\xff.example", b"[::1]:80")
IPS = ("81.2.69.160", "2001:218::1", "10.0.0.1", "", "nonsense", "81.2.69.161")
TARGETS = (
    b"/in/sale",
    b"/in/sale",
    b"/",
    b"/in/%ff\xff",
    b"/in/a?b",
    b"https://go.example/in/x",
    b"https://go.example",
    b"*",
    b"",
)


class Nasty:
    """Makes events; the same seed makes the same."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def events(self, count: int) -> list[event_pb2.Event]:
        """Return so many events with ids of their own."""
        return [self.event() for _ in range(count)]

    def event(self) -> event_pb2.Event:
        """Return one."""
        chance = self._chance
        is_tame = chance.random() < 0.7  # so that many take the engine's way
        values = _TAME if is_tame else VALUES
        query = b"&".join(self._piece(values) for _ in range(chance.choice((0, 1, 3, 8, 8, 12))))
        event = event_pb2.Event(
            organization_id=chance.choice(("org_a", "org_b", "org_c", MAPPED)),
            event_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            event_time_ms=START_MS + chance.randint(-5 * 86_400_000, 5 * 86_400_000),
            event_type=b"click" if is_tame and chance.random() < 0.7 else chance.choice(TYPES),
            route=chance.choice(("in", "in", "pixel", "track")) if is_tame else chance.choice(ROUTES),
            method="GET",
            target=(b"/in/x" if is_tame else chance.choice(TARGETS))
            + (b"?" + query if query or chance.random() < 0.1 else b""),
            headers=self._headers(is_tame=is_tame),
            body=b"" if is_tame or chance.random() < 0.5 else self._body(),
            ip=chance.choice(IPS),
            scheme=chance.choice(("https", "http", "")),
            host=chance.choice(HOSTS),
            click_id=chance.choice(("", "c" * 22)),
            external_click_id=chance.choice((b"", b"fb_1", b"\xff", b"e" * 512)),
            user_id=chance.choice(("", "usr_1", "usr_2")),
            campaign_id=chance.choice(("", "cmp_1")),
            campaign_version=chance.choice((0, 3, 2**32 - 1)),
            rule_id=chance.choice(("", "r1")),
            destination_id=chance.choice(("", "d1")),
            tags=chance.choice(([], ["a", "ä"])),
            marks=chance.choice(([], ["late"], ["test"], ["literal_macro", "late"], ["refused_sender"])),
            trace_id=chance.choice(("", "0" * 32)),
        )
        if event.route == "postback":
            event.partner_id, event.network = chance.choice((("", ""), ("ptr_1", "cj"), ("ptr_2", "awin")))
        return event

    def _piece(self, values: tuple[bytes, ...] = VALUES) -> bytes:
        name, value = self._chance.choice(NAMES).encode(), self._chance.choice(values)
        return self._chance.choice((name + b"=" + value,) * 12 + (name, b"=" + value, b"", value))

    def _headers(self, *, is_tame: bool) -> bytes:
        chance = self._chance
        lines = [
            b"Host: go.example",
            b"User-Agent: " + chance.choice(AGENTS),
            b"Referer: " + chance.choice(REFERERS),
            b"Accept-Language: " + chance.choice(LANGUAGES),
            b"Accept: */*",
            b"X-Empty:",
            b"content-type: application/json",
            b"Content-Type: application/x-www-form-urlencoded; charset=utf-8",
        ]
        odd = [
            b"no colon",
            b":starts with one",
            b"X: \t a\tb \t",
            b"\xff\xfe: \xff",
            b"x-empty: again",
            b"USER-AGENT: second",
            b"Sec-Purpose: prefetch",
            b"Purpose: nothing",
            b"X-Moz: prefetch",
            b"a\rb: c",
            b"X-Long: " + b"l" * 30_000,
            b"",
        ]
        chosen = chance.sample(lines, chance.randint(0, 6))
        if not is_tame:
            chosen += chance.sample(odd, chance.choice((0, 0, 1, 3)))
        chance.shuffle(chosen)
        return b"".join(line + b"\r\n" for line in chosen) + chance.choice((b"", b"\r\n", b"cut off"))

    def _body(self) -> bytes:
        chance = self._chance
        members = {chance.choice(NAMES): self._member() for _ in range(chance.randint(0, 6))}
        return chance.choice(
            (
                json.dumps(members).encode(),
                json.dumps(members).encode(),
                json.dumps(members, ensure_ascii=False).encode("utf-8", "replace"),
                b"&".join(self._piece() for _ in range(5)),
                b"\xef\xbb\xbf" + json.dumps(members).encode(),
                b"[1, 2]",
                b"{",
                b"\xff\xfe",
                b"null",
                b'{"value": 1e400, "price": NaN, "sum": 12345678901234567890123, "cost": 0.10}',
                b"[" * 100_000,
                b'{"a":' * 5000 + b"1" + b"}" * 5000,
                b'{"event_id": "e1", "order_id": "\\ud800"}',
                b'{"properties": {"revenue": 99.9, "currency": "EUR", "order_id": "o-1"}}',
            )
        )

    def _member(self) -> object:
        chance = self._chance
        return chance.choice(
            (
                "x",
                "99.99",
                "",
                " ",
                "{macro}",
                "100%25",
                5,
                0.1,
                -1,
                True,
                None,
                [1, "a", None, 0.10],
                {"b": 1, "value": 3},
                "ü\u2028",
                "approved",
            )
        )

"""The visitor of a request."""

import re

import pytest

from ingress_gateway.ids import VisitorIds
from ingress_gateway.visitors import Visitors
from tests.unit.gateway.arrivals import arrival

VISITORS = Visitors(VisitorIds("salt" * 4))


def _of(*headers: tuple[str, str]) -> tuple[str, str]:
    return VISITORS.of_browser(arrival("/", *headers), "org_a")


def test_a_new_visitor_gets_a_first_party_cookie() -> None:
    visitor_id, cookie = _of()
    assert re.fullmatch(r"usr_\d+", visitor_id)
    assert cookie == f"_tl_v={visitor_id}; Max-Age=33696000; Path=/; HttpOnly; SameSite=Lax"
    assert _of()[0] != visitor_id


@pytest.mark.parametrize(
    "cookie", ["_tl_v=usr_1234567890123", "a=b; _tl_v=usr_1234567890123", "a=b;_tl_v=usr_1234567890123;c=d"]
)
def test_a_known_visitor_is_known_and_gets_no_new_cookie(cookie: str) -> None:
    assert _of(("Cookie", cookie)) == ("usr_1234567890123", "")
    assert _of(("Cookie", cookie), ("DNT", "1")) == ("usr_1234567890123", "")


@pytest.mark.parametrize(
    "cookie",
    [
        "_tl_v=usr_123",
        "_tl_v=usr_123456789012345678901",
        "_tl_v=usr_12345678901x3",
        "_tl_v=usr_1234567890123x",
        "x_tl_v=usr_1234567890123",
        "a=_tl_v=usr_1234567890123x",
        "_tl_v=usr_h00112233445566778899aabb",
        "_tl_v=",
        "_tl_v=usr_\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10",
        "_tl_v=usr_1234567890123\r\nSet-Cookie: x",
        "\udcff",
    ],
)
def test_a_cookie_that_is_not_ours_is_no_visitor(cookie: str) -> None:
    visitor_id, fresh = _of(("Cookie", cookie))
    assert fresh.startswith(f"_tl_v={visitor_id};")
    assert visitor_id not in cookie


@pytest.mark.parametrize("header", [("DNT", "1"), ("Sec-GPC", "1")])
def test_who_asks_not_to_be_tracked_gets_no_cookie(header: tuple[str, str]) -> None:
    visitor_id, cookie = _of(header, ("User-Agent", "x"))
    assert cookie == ""
    assert visitor_id.startswith("usr_h")
    assert _of(header, ("User-Agent", "x"))[0] == visitor_id
    assert _of(header, ("User-Agent", "y"))[0] != visitor_id


def test_a_cookie_of_a_secure_page_is_secure() -> None:
    import ipaddress

    found = arrival("/", ("X-Forwarded-Proto", "https"), peer="10.0.0.1", trusted=(ipaddress.ip_network("10.0.0.0/8"),))
    assert "; Secure; HttpOnly" in VISITORS.of_browser(found, "org_a")[1]

"""Who is the client, and what is kept of a request."""

import ipaddress

import pytest

from ingress_gateway.arrival import Peers
from ingress_gateway.sampling import Sampler
from tests.unit.gateway.arrivals import arrival

PROXIES = tuple(ipaddress.ip_network(n) for n in ("10.0.0.0/8", "127.0.0.0/8", "::1/128", "fd00::/8"))
FORWARDED = "X-Forwarded-For"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1,10.0.0.2", "10.0.0.3"], "198.51.100.1"),
        ("10.0.0.1", ["10.9.9.9, 10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [",,"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0:0::1"], "2001:db8::1"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", ["fe80::1%\udcff"], "fe80::1"),
        ("10.0.0.1", ["198.51.100.1\udcff"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4.5"], "10.0.0.1"),
        ("10.0.0.1", ["0x7f.1"], "10.0.0.1"),
        ("10.0.0.1", ["::ffff:10.0.0.7, ::ffff:198.51.100.1"], "198.51.100.1"),
        ("::1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("fe80::1%eth0", ["198.51.100.1"], "fe80::1"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy_of_ours(peer: str, forwarded: list[str], expected: str) -> None:
    found = arrival("/", *((FORWARDED, value) for value in forwarded), peer=peer, trusted=PROXIES)
    assert found.ip == expected


@pytest.mark.parametrize(
    ("peer", "value", "expected"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", " HTTPS ", "https"),
        ("10.0.0.1", "http", "http"),
        ("10.0.0.1", "https,http", "http"),
        ("10.0.0.1", "gopher", "http"),
        ("203.0.113.9", "https", "http"),
    ],
)
def test_the_scheme_is_believed_of_a_proxy_of_ours_only(peer: str, value: str, expected: str) -> None:
    assert arrival("/", ("X-Forwarded-Proto", value), peer=peer, trusted=PROXIES).scheme() == expected


def test_a_peer_has_an_address_and_what_has_no_ip_address_is_nobody() -> None:
    peers = Peers(PROXIES)
    assert peers.of(("198.51.100.1", 80)).address == "198.51.100.1:80"
    assert peers.of(("2001:db8::1", 80, 0, 0)).address == "[2001:db8::1]:80"
    for nameless in (None, "", "/run/socket"):
        peer = peers.of(nameless)
        assert (peer.ip, peer.is_trusted) == ("", False)
    assert peers.of(("10.0.0.1", 1)).is_trusted
    assert not peers.of(("11.0.0.1", 1)).is_trusted


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ("0af7651916cd43dd8448eb211c80319c", True)),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", ("0af7651916cd43dd8448eb211c80319c", False)),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", ("0af7651916cd43dd8448eb211c80319c", True)),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", ("", False)),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ("", False)),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ("", False)),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ("", False)),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", ("", False)),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", ("", False)),
        ("", ("", False)),
        ("\udcff", ("", False)),
    ],
)
def test_a_traceparent_is_valid_or_nothing(value: str, expected: tuple[str, bool]) -> None:
    found = arrival("/", ("traceparent", value))
    assert found.trace() == expected
    assert Sampler(0.0, is_enabled=True).wants(found) is expected[1]
    # What is not valid does not decide: the ratio does.
    assert Sampler(1.0, is_enabled=True).wants(found) is (expected[1] or not expected[0])
    assert not Sampler(1.0, is_enabled=False).wants(found)


def test_sampling_keeps_to_its_ratio() -> None:
    wanted = sum(Sampler(0.1, is_enabled=True).wants(arrival()) for _ in range(5000))
    assert 350 < wanted < 650
    assert not any(Sampler(0.0, is_enabled=True).wants(arrival()) for _ in range(100))


def test_the_header_block_is_what_came_but_for_credentials() -> None:
    found = arrival("/", ("Host", "x"), ("X-A", "1"), ("cOOKIE", "a=b"), ("x-a", "2"), ("AUTHORIZATION", "Bearer x"))
    assert found.header_block() == (
        b"Host: x\r\nX-A: 1\r\ncOOKIE: [redacted]\r\nx-a: 2\r\nAUTHORIZATION: [redacted]\r\n"
    )
    assert arrival("/", ("Host", "x")).header_block() == b"Host: x\r\n"


def test_target_path_and_query_are_bytes_again() -> None:
    found = arrival("/in/a?b=\udcff&c=%20?d")
    assert (found.target, found.path, found.query) == (b"/in/a?b=\xff&c=%20?d", "/in/a", b"b=\xff&c=%20?d")

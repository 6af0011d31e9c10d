"""Where we go, and where not."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.webhooks.guard import Guard, RefusedAddressError, is_inner, networks_from

INNER = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "2001:db8::1", "2001::1", "2001:10::1",
    "3fff::1", "5f00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::a9fe:a9fe",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1",
    "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.1.2.3", "64:ff9b:1::1",
    "2001:0:7f00:1::1",
]  # fmt: skip
OUTER = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8",
         "64:ff9b::8.8.8.8"]  # fmt: skip


@pytest.mark.parametrize("text", INNER)
def test_what_only_we_can_reach_is_refused(text: str) -> None:
    assert is_inner(ipaddress.ip_address(text))
    with pytest.raises(RefusedAddressError):
        Guard().check_address(text, 443)
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(RefusedAddressError):
        Guard().check_url(f"https://{host}/")


@pytest.mark.parametrize("text", OUTER)
def test_the_internet_is_open(text: str) -> None:
    Guard().check_address(text, 443)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_the_same_in_every_ipv6_form(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    nat64 = ipaddress.IPv6Address((0x64FF9B << 96) | int(address))
    assert is_inner(mapped) == is_inner(nat64) == is_inner(address)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_open(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        mapped = getattr(address, "ipv4_mapped", None)
        assert is_inner(address) or mapped is not None


@pytest.mark.parametrize("text", ["", "localhost", "0x7f.1", "2130706433", "127.1", "fe80::1%eth0", "8.8.8.8%1"])
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    with pytest.raises(RefusedAddressError):
        Guard().check_address(text, 443)


def test_only_some_ports_are_open() -> None:
    for port in (80, 443, 8080, 8443):
        Guard().check_address("8.8.8.8", port)
    for port in (0, 22, 25, 6379, 9200, 65536):
        with pytest.raises(RefusedAddressError, match=f"port {port}"):
            Guard().check_address("8.8.8.8", port)
    Guard(allowed_ports=(9200,)).check_address("8.8.8.8", 9200)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/", "gopher://a.example/", "file:///etc/passwd", "https://", "https:///x", "//a.example/",
        "https://a.example:22/", "https://a.example:99999/", "http://[::1]/", "http://127.0.0.1:8080/",
        "http://[::ffff:10.0.0.1]/",
    ],
)  # fmt: skip
def test_what_a_url_alone_tells_is_refused_at_once(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        Guard().check_url(url)


def test_a_name_is_checked_when_it_is_resolved() -> None:
    Guard().check_url("https://localhost/")


def test_an_operator_may_open_networks() -> None:
    guard = Guard(networks_from(["10.1.0.0/16", " fd00::/8 ", ""]))
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7"):
        guard.check_address(text, 443)
    for text in ("10.2.0.1", "127.0.0.1", "fe80::1"):
        with pytest.raises(RefusedAddressError):
            guard.check_address(text, 443)

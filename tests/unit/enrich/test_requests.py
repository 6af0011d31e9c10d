"""Taking a request apart."""

import pytest

from enrichment.requests import first_values, header_pairs, hostname, path_of, url_of


def test_headers_keep_their_order_and_their_first_value_counts() -> None:
    pairs = header_pairs(b"Host: a\r\nX-A:\t 1 \r\nno header\r\n: none\r\nx-a: 2\r\nB:c:d")
    assert pairs == [(b"host", b"a"), (b"x-a", b"1"), (b"x-a", b"2"), (b"b", b"c:d")]
    assert first_values(pairs) == {b"host": b"a", b"x-a": b"1", b"b": b"c:d"}


@pytest.mark.parametrize(
    ("target", "path", "url"),
    [
        (b"/in/x?a=b?c", b"/in/x", b"https://h.example/in/x?a=b?c"),
        (b"/", b"/", b"https://h.example/"),
        (b"http://other.example/p?q", b"/p", b"http://other.example/p?q"),
        (b"http://other.example", b"/", b"http://other.example"),
        (b"*", b"*", b"*"),
        (b"", b"", b""),
    ],
)
def test_paths_and_urls(target: bytes, path: bytes, url: bytes) -> None:
    assert path_of(target) == path
    assert url_of("https", b"h.example", target) == url


@pytest.mark.parametrize(
    ("host", "name"), [(b"Go.Example:8443", "go.example"), (b"", ""), (b"\xff", ""), (b"[::1]:80", "")]
)
def test_names_of_hosts(host: bytes, name: str) -> None:
    assert hostname(host) == name

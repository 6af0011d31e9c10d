"""The members of a body."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.bodies import MOST_MEMBERS, body_pairs

JSON = b"application/json"
FORM = b"Application/X-WWW-Form-urlencoded; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        (b'{"a": "x", "b": 1.10, "c": true, "d": null, "e": [1, "2", null, 0.50]}',
         [(b"a", b"x"), (b"b", b"1.10"), (b"c", b"true"), (b"e", b'[1,"2",null,0.50]')]),
        (b'{"sum": 12345678901234567890123, "x": 1e400, "y": NaN}',
         [(b"sum", b"12345678901234567890123"), (b"x", b"1e400"), (b"y", b"NaN")]),
        (b'{"context": {"ip": "1", "page": {"url": "u"}}}', [(b"context.ip", b"1"), (b"context.page.url", b"u")]),
        (b'{"event": "e", "properties": {"revenue": 9.90}}',
         [(b"event", b"e"), (b"properties.revenue", b"9.90"), (b"revenue", b"9.90")]),
        (b'\xef\xbb\xbf{"a": "\\ud800"}', [(b"a", b"\xed\xa0\x80")]),
        (b'{"a": [{"b": "\xc3\xbc"}]}', [(b"a", '[{"b":"ü"}]'.encode())]),
        (b'["a"]', []), (b'"a"', []), (b"", []), (b"{", []), (b"\xff", []), (b"a=1", []),
        (b'{"a":' * 100_000, []), (b"[" * 100_000, []),
    ],
)  # fmt: skip
def test_members_of_json(body: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    assert body_pairs(body, JSON) == pairs


def test_a_form_is_read_as_a_query_is() -> None:
    assert body_pairs(b"a=1&b=x%20y+z&a=2", FORM) == [(b"a", b"1"), (b"b", b"x y z"), (b"a", b"2")]


def test_what_is_too_deep_or_too_much_is_not_read() -> None:
    assert body_pairs(b'{"a":{"b":{"c":{"d":{"e":1}}}}}', JSON) == []
    assert len(body_pairs(json.dumps({str(n): n for n in range(5000)}).encode(), JSON)) == MOST_MEMBERS


@given(st.binary(max_size=200), st.sampled_from([JSON, FORM, b""]))
def test_no_bytes_break_it(body: bytes, content_type: bytes) -> None:
    for name, value in body_pairs(body, content_type):
        assert isinstance(name, bytes)
        assert isinstance(value, bytes)


@given(st.dictionaries(st.text(), st.text()))
def test_texts_come_back(members: dict[str, str]) -> None:
    pairs = body_pairs(json.dumps(members).encode(), JSON)
    assert pairs == [
        (name.encode("utf-8", "surrogatepass"), value.encode("utf-8", "surrogatepass"))
        for name, value in members.items()
    ]

"""Taking a batch apart: what a JSON parser finds, at the bytes where it is."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_gateway.batches import batch_key, split_batch
from ingress_gateway.payloads import parse_form, parse_item, query_fields
from svc_runtime.errors import TooLargeError

NAMES = ("events", "batch", "data")
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_space = st.text(" \t\r\n", max_size=3)


def _split(data: bytes, content_type: str = "", limit: int = 10_000) -> list[bytes]:
    return split_batch(data, content_type, limit)


@given(items=st.lists(_json, max_size=6), space=_space, is_ascii=st.booleans(), indent=st.sampled_from([None, 2]))
def test_the_items_of_an_array_are_what_a_parser_finds(
    items: list[Any], space: str, is_ascii: bool, indent: int | None
) -> None:
    texts = [json.dumps(item, ensure_ascii=is_ascii, indent=indent) for item in items]
    body = f"{space}[{space}{f'{space},{space}'.join(texts)}{space}]{space}"
    data = body.encode("utf-8", "surrogatepass")
    assert _split(data) == [text.encode("utf-8", "surrogatepass") for text in texts]


@given(
    items=st.lists(_json, max_size=5),
    others=st.dictionaries(
        st.text(max_size=6).filter(lambda n: n not in ("events", "batch", "data")), _json, max_size=4
    ),
    name=st.sampled_from(NAMES),
    at_end=st.booleans(),
)
def test_the_items_of_an_object_are_found_among_other_members(
    items: list[Any], others: dict[str, Any], name: str, at_end: bool
) -> None:
    body = {**others, name: items} if at_end else {name: items, **others}
    data = json.dumps(body).encode()
    assert [json.loads(item) for item in _split(data)] == items
    assert all(item in data for item in _split(data))


@given(items=st.lists(st.dictionaries(st.text(max_size=6), _json, max_size=3), min_size=1, max_size=5))
def test_lines_are_items(items: list[dict[str, Any]]) -> None:
    lines = [json.dumps(item).encode() for item in items]
    assert _split(b"\n".join(lines), "application/x-ndjson") == lines
    if len(lines) > 1:
        assert _split(b"\r\n".join(lines) + b"\n") == lines


@given(data=st.binary(max_size=200) | st.text('[]{}",:\\ \nae1', max_size=60).map(str.encode))
def test_any_bytes_can_be_taken_apart_and_nothing_is_invented(data: bytes) -> None:
    items = _split(data)
    position = 0
    for item in items:
        found = data.find(item, position)
        assert found >= position
        position = found + len(item)
        parse_item(item)
    batch_key(data)


@pytest.mark.parametrize(
    "data",
    [
        b'"' * 1_000_000,
        b'["' + b'\\"' * 1_000_000,
        b"[" * 1_000_000,
        b"{" * 1_000_000,
        b"[]" * 500_000,
        b'{"a":' * 200_000,
        b"[" + b"," * 9_000,
        b'{"events":' * 100_000,
        b"\\" * 1_000_000,
        b" " * 1_000_000,
    ],
    ids=range(10),
)
def test_nothing_takes_longer_than_its_length(data: bytes) -> None:
    started = time.perf_counter()
    assert len(_split(data)) == 1
    batch_key(data + b"wdn_")
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("data", [b"[1,2,3,4]", b'{"events":[1,2,3,4]}', b"{}\n{}\n{}\n{}"])
def test_one_item_too_many_is_too_large(data: bytes) -> None:
    assert len(_split(data, limit=4)) == 4
    with pytest.raises(TooLargeError, match="more than 3 items"):
        _split(data, limit=3)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"write_key":"wdn_pk_live_x","events":[]}', "wdn_pk_live_x"),
        (b'{"events":[{"k":"wdn_pk_live_inner"}],"api_key" : "wdn_pk_live_x"}', "wdn_pk_live_x"),
        (b'{"events":[{"k":"wdn_pk_live_inner"}]}', ""),
        (b'{"k":"mine","key":"wdn_pk_live_x"}', ""),
        (b'{"k":7,"key":"wdn_pk_live_x"}', "wdn_pk_live_x"),
        (b'{"k":["wdn_pk_live_x"]}', ""),
        (b'{"k":"wdn_pk_live_x"', ""),
        (b'{"k":"wdn_pk_live_x', ""),
        (b'[{"k":"wdn_pk_live_x"}]', ""),
        (b"wdn_pk_live_x", ""),
        (b'\xef\xbb\xbf{"k":"wdn_pk_live_x"}', "wdn_pk_live_x"),
    ],
)
def test_a_key_is_found_beside_the_items_only(data: bytes, expected: str) -> None:
    assert batch_key(data) == expected


# -- forms and queries ------------------------------------------------------------------------------------------------


def test_the_first_value_of_a_name_wins() -> None:
    assert query_fields(b"a=1&b=2&a=3&c=&d&=x") == {"a": "1", "b": "2", "c": "", "d": "", "": "x"}
    assert parse_form(b"a=1&a=2").fields == {"a": "1"}


@given(data=st.binary(max_size=200))
def test_any_query_and_any_form_can_be_read(data: bytes) -> None:
    query_fields(data)
    assert parse_form(data).data == data


def test_a_query_of_too_many_fields_is_none_and_a_form_of_them_is_marked() -> None:
    data = b"&".join(b"a=1" for _ in range(10_001))
    assert query_fields(data) == {}
    assert parse_form(data).marks == ["malformed_form"]

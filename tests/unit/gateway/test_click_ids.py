"""The source's own click id."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_gateway.click_ids import in_object, in_query, is_macro


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", b""),
        (b"a=1", b""),
        (b"click_id=Fb_123ABC", b"Fb_123ABC"),
        (b"gclid=G&click_id=C", b"C"),
        (b"fbclid=F&gclid=G", b"G"),
        (b"CLICKID=x", b"x"),
        (b"click_id=first&click_id=second", b"first"),
        (b"click_id=&gclid=G", b"G"),
        (b"click_id={click_id}&gclid=G", b"G"),
        (b"click_id=%7Bclick_id%7D&sub1=s", b"s"),
        (b"click_id=a%20b+c%2B", b"a b c+"),
        (b"click_id=%ff%00", b"\xff\x00"),
        (b"click_id=\xff", b"\xff"),
        (b"my_click_id=x", b""),
        (b"click_idx=x", b""),
        (b"x=click_id=y", b""),
        (b"click_id=" + b"x" * 600, b"x" * 512),
        (b"click_id==", b"="),
        (b"a=1&click_id=x=y", b"x=y"),
    ],
)
def test_the_first_name_that_is_there_wins(query: bytes, expected: bytes) -> None:
    assert in_query(query) == expected


@given(query=st.binary(max_size=300))
def test_any_query_can_be_looked_at(query: bytes) -> None:
    assert len(in_query(query)) <= 512


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({}, b""),
        ({"click_id": "C", "gclid": "G"}, b"C"),
        ({"gclid": "G", "ClickID": "C"}, b"C"),
        ({"click_id": 17}, b"17"),
        ({"click_id": 0}, b"0"),
        ({"click_id": True, "cid": "c"}, b"c"),
        ({"click_id": None, "cid": "c"}, b"c"),
        ({"click_id": ["x"], "cid": "c"}, b"c"),
        ({"click_id": "", "cid": "c"}, b"c"),
        ({"click_id": "{click_id}", "cid": "c"}, b"c"),
        ({"click_id": "\ud800"}, b"\xed\xa0\x80"),
        ({"click_id": "x" * 600}, b"x" * 512),
    ],
)
def test_an_object_s_click_id_is_found(item: dict[str, Any], expected: bytes) -> None:
    assert in_object(item) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("{click_id}", "{{clickid}}", "${CLICK_ID}", "[CLICK_ID]", "[[clickid]]", "%click_id%"),
        *("__CLICKID__", "#clickid#", "{%clickid%}", "$CLICKID", "(S_CLICKID)", "#{click.id}", "REPLACE", "null"),
        *("undefined", "NaN", "{gclid}", "{$subid}"),
    ],
)
def test_a_macro_that_nobody_replaced_is_no_click_id(value: str) -> None:
    assert is_macro(value.encode())


@pytest.mark.parametrize("value", ["abc", "fb.1.1595-x", "nullable", "NaNny", "{unfinished", "_a_", "$", "%41", "Rx1"])
def test_what_only_looks_like_a_macro_is_a_click_id(value: str) -> None:
    assert not is_macro(value.encode())


def test_a_long_value_that_begins_like_a_macro_takes_no_time() -> None:
    assert in_query(b"click_id=" + b"{" * 100_000) == b"{" * 512

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given as for_any
from hypothesis import strategies as some

from ingress_gateway.given import Given
from svc_runtime.errors import InvalidArgumentError


def violations(given: Given, ask: Callable[[Given], object]) -> dict[str, str]:
    with pytest.raises(InvalidArgumentError) as caught, given:
        ask(given)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_a_query_is_read_by_name() -> None:
    with Given.of_query(b"text=a+b%26&octets=%ff%00&number=007&flag=true&word=two&&page_token=") as given:
        assert given.text("text") == "a b&"
        assert given.octets("octets") == b"\xff\0"
        assert given.number("number", 1, 9) == 7
        assert given.flag("flag") is True
        assert given.choice("word", {"one": 1, "two": 2}) == 2
        assert given.page_token() == ""
        assert given.page_size() == 0
        assert given.instant("missing") is None
        assert given.octets("missing2") is None


def test_a_json_object_is_read_by_name() -> None:
    with Given.of_json(
        b'{"text":"","number":3,"flag":false,"texts":["a"],"at":"2026-11-03t10:00:00.5+01:00"}'
    ) as given:
        assert given.text("text") == ""
        assert given.number("number", 0, 3) == 3
        assert given.flag("flag") is False
        assert given.texts("texts") == ["a"]
        instant = given.instant("at")
        assert instant is not None
        assert instant.isoformat() == "2026-11-03T09:00:00.500000+00:00"
        assert given.texts("missing") == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is not JSON at line 1, column 1: Input is a zero-length, empty document"),
        (b"nul", "is not JSON at line 1, column 4: unexpected end of data"),
        (b'{"a":\n\n  1,}', "is not JSON at line 3, column 4: trailing comma is not allowed"),
        (b'{"a":\n "\xff"}', "is not UTF-8 at line 2, column 3"),
        (b'"a"', "is a text, must be a JSON object"),
        (b"null", "is null, must be a JSON object"),
        (b"1", "is a number, must be a JSON object"),
        (b"true", "is a truth value, must be a JSON object"),
    ],
)
def test_what_is_no_object_is_told(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Given.of_json(body)
    assert [(v.field, v.description) for v in caught.value.violations] == [("body", problem)]


def test_everything_wrong_is_told_at_once_and_names_nobody_asked_for_too() -> None:
    def ask(given: Given) -> None:
        given.number("page_size", 1, 1000)
        given.instant("at")
        given.text("name", is_required=True)

    told = violations(Given.of_query(b"page_size=x&at=now&pagesize=5&at=later"), ask)
    assert told == {
        "at": "is 'later', must be RFC 3339, for example 2026-11-03T10:00:00Z",
        "page_size": "is 'x', must be a whole number from 1 to 1000",
        "name": "is required",
        "pagesize": "is not a parameter of this call; there are: page_size, at, name",
    }


def test_null_is_not_the_same_as_nothing() -> None:
    def ask(given: Given) -> None:
        given.text("a")
        given.number("b", 0, 1)
        given.texts("c")
        given.choice("d", {"x": 1})

    told = violations(Given.of_json(b'{"a":null,"b":null,"c":null,"d":null}'), ask)
    assert {field: text.partition(",")[0] for field, text in told.items()} == dict.fromkeys("abcd", "is null")


def test_a_flood_of_problems_is_cut_off() -> None:
    query = b"&".join(b"x%d=1" % n for n in range(5000))
    assert len(violations(Given.of_query(query), lambda given: None)) == 20


def test_leaving_by_an_error_keeps_that_error() -> None:
    with pytest.raises(KeyError), Given.of_query(b"unknown=1"):
        raise KeyError


_JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**63), 2**64 - 1) | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


def _ask_everything(given: Given, names: list[str]) -> None:
    asks: list[Callable[[str], Any]] = [
        given.text,
        lambda name: given.number(name, 0, 5),
        given.flag,
        given.instant,
        given.texts,
        lambda name: given.choice(name, {"a": 1}),
    ]
    with given:
        for name in names:
            for ask in asks:
                ask(name)


@for_any(some.dictionaries(some.text(), _JSON, max_size=4), some.booleans())
def test_any_json_is_read_or_refused_in_words_that_can_be_sent(members: dict[str, Any], is_known: bool) -> None:
    try:
        body = orjson.dumps(members)
    except TypeError:
        return
    try:
        _ask_everything(Given.of_json(body), list(members) if is_known else [])
    except InvalidArgumentError as error:
        orjson.dumps([error.message, *((v.field, v.description) for v in error.violations)])


@for_any(some.binary(max_size=200), some.booleans())
def test_any_query_is_read_or_refused_in_words_that_can_be_sent(query: bytes, is_known: bool) -> None:
    given = Given.of_query(query)
    try:
        _ask_everything(given, [name for name in given._values if name.isascii()] if is_known else [])
    except InvalidArgumentError as error:
        orjson.dumps([error.message, *((v.field, v.description) for v in error.violations)])


@for_any(some.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        _ask_everything(Given.of_json(body), [])
    except InvalidArgumentError as error:
        orjson.dumps([error.message, *((v.field, v.description) for v in error.violations)])

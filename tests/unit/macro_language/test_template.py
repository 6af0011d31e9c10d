"""Macros: what is one, what is none, and that a value stays in its place."""

from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macro_language.names import ALIASES, CLICK, CONVERSION
from macro_language.template import Macro, Template, read_template, without_macros


def read(text: str) -> tuple[Template, list[str]]:
    problems: list[str] = []
    return read_template(text, CLICK, ALIASES, problems), problems


@pytest.mark.parametrize(
    ("text", "macro"),
    [
        ("{source}", Macro("source")),
        ("{clickid}", Macro("click_id")),
        ("{country|unknown}", Macro("country", default=b"unknown")),
        ("{ip|sha256}", Macro("ip", ("sha256",))),
        ("{source|lower|none}", Macro("source", ("lower",), b"none")),
        ("{source|none|lower}", Macro("source", ("lower",), b"none")),
        ("{source|default:lower}", Macro("source", (), b"lower")),
        ("{param:Zone Id}", Macro("param:Zone Id")),
        ("{header:X-Forwarded-Proto}", Macro("header:x-forwarded-proto")),
    ],
)
def test_a_macro_is_a_name_with_transforms_and_a_default(text: str, macro: Macro) -> None:
    assert read(text) == (Template((macro,)), [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{sauce}", "has the macro {sauce}"),
        ("{}", "has the macro {}"),
        ("{param:}", "has the macro {param:}"),
        ("{source|a|b}", "two defaults"),
        ("{source", "belongs to no macro"),
        ("source}", "belongs to no macro"),
        ("{{source}}", "belongs to no macro"),
        ("{source}" * 51, "more than 50 macros"),
    ],
)
def test_what_is_no_macro_is_told(text: str, problem: str) -> None:
    assert any(problem in told for told in read(text)[1])


def test_a_template_is_filled_in_order() -> None:
    template, _ = read("a={source}&b={country|xx}&c={ip|sha256}&d={medium|upper}")
    values = {"source": b"face book", "medium": b"cpc"}
    assert template.fill(lambda name: values.get(name, b"")) == b"a=face%20book&b=xx&c=&d=CPC"


@given(st.binary(max_size=100), st.sampled_from(sorted(CLICK)))
def test_a_value_fills_its_place_and_nothing_else(value: bytes, name: str) -> None:
    template, problems = read(f"a=1&b={{{name}}}&c=2")
    assert not problems
    filled = template.fill(lambda _: value)
    first, middle, last = filled.split(b"&")
    assert (first, last) == (b"a=1", b"c=2")
    assert unquote_to_bytes(middle.removeprefix(b"b=")) == value
    assert len(parse_qsl(filled.decode(), keep_blank_values=True)) == 3


def test_every_alias_is_of_a_name() -> None:
    assert set(ALIASES.values()) <= CONVERSION
    assert not set(ALIASES) & CLICK


def test_a_plain_word_can_stand_for_each_macro() -> None:
    assert without_macros("https://a.example/?x={source|b}&y={ip}") == "https://a.example/?x=macro&y=macro"

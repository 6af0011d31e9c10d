"""Pages: sizes and tokens."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_runtime.errors import InvalidArgumentError
from svc_runtime.paging import PageTokens, check_page_size

TOKENS = PageTokens("s" * 32, "campaigns_svc")
POSITION = ("2026-11-20T08:01:02.345678+00:00", 17, "cmp_1")
SCOPE = ("campaigns", "org_a", "")


@dataclass(frozen=True)
class Filter:
    """What a list may be filtered by."""

    mark: bytes


@given(st.lists(st.integers(-(2**70), 2**70) | st.text()), st.lists(st.text() | st.none() | st.binary()))
def test_a_position_comes_back_from_its_token(position: list[str | int], scope: list[object]) -> None:
    token = TOKENS.seal(position, *scope)
    assert TOKENS.open(token, *scope) == tuple(position)
    assert token.isascii()
    assert not set(token) & set("+/=")


def refuses(token: str, *, tokens: PageTokens = TOKENS, scope: tuple[object, ...] = SCOPE) -> bool:
    try:
        tokens.open(token, *scope)
    except InvalidArgumentError as error:
        return [violation.field for violation in error.violations] == ["page_token"]
    return False


def test_a_token_that_was_changed_anywhere_is_refused() -> None:
    token = TOKENS.seal(POSITION, *SCOPE)
    assert not refuses(token)
    for index in range(len(token)):
        other = "A" if token[index] != "A" else "B"
        assert refuses(token[:index] + other + token[index + 1 :]), index
        assert refuses(token[:index] + token[index + 1 :]), index
        assert refuses(token[:index] + "!" + token[index:]), index


@pytest.mark.parametrize("token", ["x", "AAAA", "=" * 8, "é", "A" * 10_000, "\x00", "////", "WzFd", "\ud800"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    assert refuses(token)


@given(st.text(min_size=1))
def test_any_other_text_is_refused(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "scope",
    [
        ("campaigns", "org_b", ""),
        ("campaigns", "org_a", "paused"),
        ("campaigns", "org_a", None),
        ("campaigns", "org_a"),
        ("campaigns", "org_a,", ""),
        ("campaigns', 'org_a", ""),
        ("domains", "org_a", ""),
        (),
    ],
)
def test_a_token_of_another_list_is_refused(scope: tuple[object, ...]) -> None:
    assert refuses(TOKENS.seal(POSITION, *SCOPE), scope=scope)


def test_a_token_is_of_lists_with_equal_filters() -> None:
    token = TOKENS.seal(POSITION, "events", Filter(b"\xff"))
    assert not refuses(token, scope=("events", Filter(b"\xff")))
    assert refuses(token, scope=("events", Filter(b"\xfe")))


def test_a_token_of_another_installation_or_service_is_refused() -> None:
    token = TOKENS.seal(POSITION, *SCOPE)
    assert not refuses(token, tokens=PageTokens("s" * 32, "campaigns_svc"))
    assert refuses(token, tokens=PageTokens("t" * 32, "campaigns_svc"))
    assert refuses(token, tokens=PageTokens("s" * 32, "other_svc"))


def test_the_first_page_has_no_token() -> None:
    assert TOKENS.open("", *SCOPE) is None


@pytest.mark.parametrize(("wanted", "size"), [(0, 100), (1, 1), (1000, 1000)])
def test_a_page_has_the_wanted_size_or_the_usual_one(wanted: int, size: int) -> None:
    assert check_page_size(wanted) == size


@pytest.mark.parametrize("wanted", [-1, 1001])
def test_a_size_out_of_bounds_is_refused(wanted: int) -> None:
    with pytest.raises(InvalidArgumentError):
        check_page_size(wanted)

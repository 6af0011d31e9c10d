"""Page tokens."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.page_token import PageTokens
from attribution_svc.store import Position
from svc_runtime.errors import InvalidArgumentError

TOKENS = PageTokens("s" * 32)
POSITION = Position(datetime(2026, 11, 20, 8, 1, 2, 345678, tzinfo=UTC), "cmp_1")


@given(
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants naive limits
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.text(),
)
def test_a_position_comes_back_from_its_token(time: datetime, campaign_id: str, scope: str) -> None:
    position = Position(time, campaign_id)
    token = TOKENS.seal(position, scope=scope)
    assert TOKENS.open(token, scope=scope) == position
    assert token.isascii()
    assert not set(token) & set("+/=")


def refuses(token: str, *, tokens: PageTokens = TOKENS, scope: str = "org_a\n") -> bool:
    try:
        tokens.open(token, scope=scope)
    except InvalidArgumentError as error:
        return [violation.field for violation in error.violations] == ["page_token"]
    return False


def test_a_token_that_was_changed_anywhere_is_refused() -> None:
    token = TOKENS.seal(POSITION, scope="org_a\n")
    assert not refuses(token)
    for index in range(len(token)):
        other = "A" if token[index] != "A" else "B"
        assert refuses(token[:index] + other + token[index + 1 :]), index
        assert refuses(token[:index] + token[index + 1 :]), index
        assert refuses(token[:index] + "!" + token[index:]), index


@pytest.mark.parametrize("token", ["", "x", "AAAA", "=" * 8, "é", "A" * 10_000, "\x00", "////"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    assert refuses(token)


def test_a_token_of_another_list_or_installation_is_refused() -> None:
    token = TOKENS.seal(POSITION, scope="org_a\n")
    assert refuses(token, scope="org_b\n")
    assert refuses(token, scope="org_a\npaused")
    assert refuses(token, tokens=PageTokens("t" * 32))

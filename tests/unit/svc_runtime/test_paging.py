"""Pages: sizes and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_runtime.errors import InvalidArgumentError
from svc_runtime.paging import check_page_size, make_page_token, read_page_token


@given(st.integers(-(2**53), 2**53), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_token_gives_its_position_back(number: int, text: str) -> None:
    token = make_page_token([number, text])
    assert read_page_token(token, int, str) == [number, text]
    assert token.isascii()
    assert "=" not in token
    with pytest.raises(InvalidArgumentError):
        read_page_token(token, str, int)


@given(st.text(min_size=1))
def test_any_other_text_is_refused_or_a_position(text: str) -> None:
    try:
        position = read_page_token(text, int)
    except InvalidArgumentError as error:
        violations = error.violations
    else:
        violations = ()
        assert position is not None
        assert type(position[0]) is int
    assert all(violation.field == "page_token" for violation in violations)


@pytest.mark.parametrize("position", [[2**53 + 1], [-(2**63)], ["a\0"], ["\ud800"]])
def test_a_forged_position_that_no_store_takes_is_refused(position: list[int | str]) -> None:
    with pytest.raises(InvalidArgumentError):
        read_page_token(make_page_token(position), type(position[0]))


def test_the_first_page_has_no_token() -> None:
    assert read_page_token("", int) is None


@pytest.mark.parametrize(("wanted", "size"), [(0, 100), (1, 1), (1000, 1000)])
def test_a_page_has_the_wanted_size_or_the_usual_one(wanted: int, size: int) -> None:
    assert check_page_size(wanted) == size


@pytest.mark.parametrize("wanted", [-1, 1001])
def test_a_size_out_of_bounds_is_refused(wanted: int) -> None:
    with pytest.raises(InvalidArgumentError):
        check_page_size(wanted)

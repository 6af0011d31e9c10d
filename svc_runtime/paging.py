"""Pages of lists: the size that a caller may want, and tokens that say where the next page begins.

A token holds a position in the caller's own list and no right to it: whose list it is comes from the caller alone.
"""

import base64
import json
from collections.abc import Sequence
from typing import TypeAlias

from svc_runtime.errors import InvalidArgumentError, Violation

DEFAULT_PAGE_SIZE = 100
LARGEST_PAGE_SIZE = 1_000

_LARGEST_NUMBER = 2**53

Position: TypeAlias = Sequence[str | int]


def check_page_size(wanted: int) -> int:
    """Return how many items a page has: 100 for 0. Raise InvalidArgumentError above 1,000."""
    if not 0 <= wanted <= LARGEST_PAGE_SIZE:
        raise InvalidArgumentError.of([Violation("page_size", f"is {wanted}, must be 1 to {LARGEST_PAGE_SIZE}")])
    return wanted or DEFAULT_PAGE_SIZE


def make_page_token(position: Position) -> str:
    """Return the token of the page after ``position``: URL-safe text."""
    text = json.dumps(list(position), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_page_token(token: str, *types: type[str] | type[int]) -> list[str | int] | None:
    """Return the position in a token, one value of each of ``types``; None for the empty token of the first page.

    Raise InvalidArgumentError for what we did not make.
    """
    if not token:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4)))
    except (ValueError, RecursionError):
        position = None
    is_list = isinstance(position, list)
    if is_list and [type(value) for value in position] == list(types) and all(map(_is_storable, position)):
        return list(position)
    raise InvalidArgumentError.of([Violation("page_token", "is not a token of this list")])


def _is_storable(value: str | int) -> bool:
    """Whether a store can compare with it: a forged token may hold what no column takes."""
    if isinstance(value, int):
        return abs(value) <= _LARGEST_NUMBER
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)

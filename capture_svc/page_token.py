"""Page tokens: a place in a list, bound to the filters of the list that it is of."""

import hashlib
import json
from collections.abc import Sequence

from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.paging import make_page_token, read_page_token

_DIGEST_DIGITS = 16


def filters_digest(*filters: object) -> str:
    """Return a short digest of the filters of a list."""
    text = json.dumps([repr(value) for value in filters])
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]


def bind_page_token(place: tuple[int, str] | None, digest: str) -> str:
    """Return the token of the page after ``place`` (Unix milliseconds, id); the empty text after the last page."""
    return "" if place is None else make_page_token([digest, *place])


def read_bound_token(token: str, digest: str) -> tuple[int, str] | None:
    """Return the place in a token; None for the first page. Raise InvalidArgumentError for another list's token."""
    position: Sequence[str | int] | None = read_page_token(token, str, int, str)
    if position is None:
        return None
    found, milliseconds, identity = position
    if found != digest or not isinstance(milliseconds, int) or not isinstance(identity, str):
        raise InvalidArgumentError.of([Violation("page_token", "is of a list with other filters")])
    return milliseconds, identity

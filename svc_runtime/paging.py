"""Pages of lists: the size that a caller may want, and tokens that say where the next page begins."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from svc_runtime.errors import InvalidArgumentError, Violation

DEFAULT_PAGE_SIZE = 100
LARGEST_PAGE_SIZE = 1_000

_TAG_BYTES = 16


def check_page_size(wanted: int) -> int:
    """Return how many items a page has: 100 for 0. Raise InvalidArgumentError above 1,000."""
    if not 0 <= wanted <= LARGEST_PAGE_SIZE:
        raise InvalidArgumentError.of([Violation("page_size", f"is {wanted}, must be 1 to {LARGEST_PAGE_SIZE}")])
    return wanted or DEFAULT_PAGE_SIZE


class PageTokens:
    """Seals positions in the lists of one service, with a key that all its replicas share.

    A list has a scope: its name, whose it is, its filters; everything whose ``repr`` tells it from another list. A
    token is good for the scope that it was sealed for, and a changed secret ends the tokens that are out.
    """

    def __init__(self, secret: str, service: str) -> None:
        self._key = hmac.digest(secret.encode(), f"trellis page token 1 {service}".encode(), hashlib.sha256)

    def seal(self, position: Sequence[str | int], *scope: object) -> str:
        """Return the token of the page after ``position``: URL-safe text."""
        payload = json.dumps(list(position), separators=(",", ":")).encode()
        return _encode(self._tag(payload, scope) + payload)

    def open(self, token: str, *scope: object) -> tuple[Any, ...] | None:
        """Return the position in a token; None for the empty token of the first page.

        Raise InvalidArgumentError for what was not sealed for this scope.
        """
        if not token:
            return None
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            sealed = b""
        tag, payload = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
        # Decoding passes over characters that are not of the alphabet: only the one spelling that we gave out counts.
        if _encode(sealed) != token or not hmac.compare_digest(tag, self._tag(payload, scope)):
            raise InvalidArgumentError.of([Violation("page_token", "is not a token of this list")])
        return tuple(json.loads(payload))

    def _tag(self, payload: bytes, scope: tuple[object, ...]) -> bytes:
        # Hashing the scope keeps its length fixed: no scope and payload can be shifted into another pair.
        bound = hashlib.sha256(json.dumps([repr(part) for part in scope]).encode()).digest() + payload
        return hmac.digest(self._key, bound, hashlib.sha256)[:_TAG_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

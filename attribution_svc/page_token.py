"""Page tokens: opaque, and refused when they were changed or belong to another list."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from attribution_svc.store import Position
from svc_runtime.errors import InvalidArgumentError, Violation

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG_BYTES = 16
_TIME_BYTES = 8


class PageTokens:
    """Seals positions with a key that all replicas share. A changed secret ends the tokens that are out."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"trellis attribution page token 1", hashlib.sha256)

    def seal(self, position: Position, *, scope: str) -> str:
        """Return a URL-safe token of ``position`` in the list that ``scope`` names."""
        micros = (position.create_time - _EPOCH) // timedelta(microseconds=1)
        payload = micros.to_bytes(_TIME_BYTES, "big", signed=True) + position.campaign_id.encode()
        return _encode(self._tag(payload, scope) + payload)

    def open(self, token: str, *, scope: str) -> Position:
        """Return the position, or raise InvalidArgumentError when the token was not sealed for ``scope``."""
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            sealed = b""
        tag, payload = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
        # Decoding passes over characters that are not of the alphabet: only the one spelling that we gave out counts.
        if _encode(sealed) != token or not hmac.compare_digest(tag, self._tag(payload, scope)):
            raise InvalidArgumentError.of([Violation("page_token", "is not one that this list gave out")])
        micros = int.from_bytes(payload[:_TIME_BYTES], "big", signed=True)
        return Position(_EPOCH + timedelta(microseconds=micros), payload[_TIME_BYTES:].decode())

    def _tag(self, payload: bytes, scope: str) -> bytes:
        # Hashing the scope keeps its length fixed: no scope and payload can be shifted into another pair.
        bound = hashlib.sha256(scope.encode()).digest() + payload
        return hmac.digest(self._key, bound, hashlib.sha256)[:_TAG_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

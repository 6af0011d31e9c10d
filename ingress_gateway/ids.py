"""Ids: event ids, click ids, visitor ids."""

import base64
import hashlib
import hmac
import os
import secrets
import time
import uuid
from datetime import UTC, datetime

# 2020-01-01, in Unix milliseconds: 41 bits from here last until 2089.
_VISITOR_EPOCH_MS = 1_577_836_800_000
_KEYED_NAMESPACE = uuid.UUID("6f2b7d1e-0c55-5d3a-9a6e-74726c6c6973")
_SENDER_NAMESPACE = uuid.UUID("1c7f0a52-93d4-5be8-8a41-d0e6b95f2c37")


class _Randomness:
    """The system's randomness, fetched a few kilobytes at a time: a system call per id is half the cost of the id."""

    def __init__(self) -> None:
        self._pool = b""
        self._position = 0

    def take(self, count: int) -> bytes:
        """Return bytes that nobody had before. For one thread."""
        start = self._position
        end = start + count
        if end > len(self._pool):
            self._pool = os.urandom(8192)
            start, end = 0, count
        self._position = end
        return self._pool[start:end]


_randomness = _Randomness()
os.register_at_fork(after_in_child=_randomness.__init__)  # type: ignore[misc]  # two processes, two pools
_VARIANTS = "89ab" * 4


def event_id(time_ms: int) -> str:
    """Return a new UUIDv7 for an event of that time."""
    stamp = f"{time_ms:012x}"
    tail = _randomness.take(10).hex()
    return f"{stamp[:8]}-{stamp[8:]}-7{tail[:3]}-{_VARIANTS[int(tail[3], 16)]}{tail[4:7]}-{tail[7:19]}"


def keyed_event_id(organization_id: str, idempotency_key: bytes, *, sender: str = "") -> str:
    """Return the id that every event of this organisation, sender and key has: a UUIDv5, so a repeat is known as one.

    Keys of a ``sender``, whom nobody else can pretend to be, are its own. Without one they are the public's.
    """
    namespace, names = _KEYED_NAMESPACE, [organization_id.encode(), idempotency_key]
    if sender:
        namespace = _SENDER_NAMESPACE
        names.insert(1, sender.encode())
    digest = hashlib.sha1(namespace.bytes + b"\0".join(names), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def click_id() -> str:
    """Return a new click id: 22 URL-safe characters, 128 random bits."""
    return base64.urlsafe_b64encode(_randomness.take(18))[:22].decode()


class VisitorIds:
    """Visitor ids: ``usr_`` and a snowflake, which never repeats, also when the clock steps back."""

    def __init__(self, salt_secret: str) -> None:
        # 41 bits of milliseconds, 10 of process, 12 of counter.
        self._process = secrets.randbits(10)
        self._last_ms = 0
        self._counter = 0
        self._salt_secret = salt_secret.encode()
        self._salt_day = ""
        self._salt = b""

    def new(self) -> str:
        """Return a new visitor id."""
        now_ms = time.time_ns() // 1_000_000
        if now_ms > self._last_ms:
            self._last_ms, self._counter = now_ms, 0
        else:
            self._counter += 1
            if self._counter > 4095:
                self._last_ms, self._counter = self._last_ms + 1, 0
        return f"usr_{((self._last_ms - _VISITOR_EPOCH_MS) << 22) | (self._process << 12) | self._counter}"

    def hashed(self, organization_id: str, ip: str, user_agent: bytes) -> str:
        """Return the id of a visitor without cookies: the same for one UTC day, then unlinkable to the next."""
        day = datetime.now(UTC).date().isoformat()
        if day != self._salt_day:
            self._salt_day = day
            self._salt = hmac.digest(self._salt_secret, b"visitor-salt:" + day.encode(), "sha256")
        name = b"\0".join((organization_id.encode(), ip.encode(), user_agent))
        return "usr_h" + hmac.digest(self._salt, name, "sha256")[:12].hex()

"""Ids of events that reach us by RPC; the same forms as the gateway gives to those that arrive over HTTP."""

import hashlib
import os
import uuid

# The gateway has the same one: an event sent by both ways under one key is one event.
_KEYED_NAMESPACE = uuid.UUID("6f2b7d1e-0c55-5d3a-9a6e-74726c6c6973")


def new_event_id(time_ms: int) -> str:
    """Return a new UUIDv7 for an event of that time (Unix milliseconds)."""
    random = int.from_bytes(os.urandom(10), "big")
    number = time_ms << 80 | 7 << 76 | (random >> 68) << 64 | 2 << 62 | random & (1 << 62) - 1
    return str(uuid.UUID(int=number))


def keyed_event_id(organization_id: str, idempotency_key: bytes) -> str:
    """Return the UUIDv5 that every event of this organisation and key has."""
    name = organization_id.encode() + b"\0" + idempotency_key
    digest = hashlib.sha1(_KEYED_NAMESPACE.bytes + name, usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))

"""Instants as RFC 3339 text, in UTC, as the APIs give and take them."""

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_instant(text: str) -> datetime | None:
    """Return the aware instant that ``text`` names, in UTC, or None when it is not RFC 3339."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def timestamp_text(timestamp: Timestamp) -> str:
    """Return for example ``2026-11-03T10:00:00.123456Z``; without a fraction where there is none."""
    return timestamp.ToJsonString()


def milliseconds_text(unix_ms: int) -> str:
    """Return Unix milliseconds as for example ``2026-11-03T10:00:00.120Z``, always with three decimals."""
    return f"{(_EPOCH + timedelta(milliseconds=unix_ms)).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"

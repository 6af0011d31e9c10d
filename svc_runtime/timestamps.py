"""Instants as protobuf has them."""

from datetime import datetime
from typing import overload

from google.protobuf.timestamp_pb2 import Timestamp


@overload
def timestamp_of(instant: datetime) -> Timestamp: ...


@overload
def timestamp_of(instant: datetime | None) -> Timestamp | None: ...


def timestamp_of(instant: datetime | None) -> Timestamp | None:
    """Return the protobuf form of an aware instant; None stays None, which leaves a field unset."""
    if instant is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp

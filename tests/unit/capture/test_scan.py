"""Cursors of scans."""

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_svc.scan import ScanKey, decode_scan_cursor
from svc_runtime.errors import InvalidArgumentError

KEYS = st.builds(
    ScanKey,
    organization_id=st.text(max_size=40),
    event_time_ms=st.integers(0, 2**63 - 1),
    event_id=st.uuids().map(str),
)


@given(KEYS)
def test_a_cursor_survives(key: ScanKey) -> None:
    assert decode_scan_cursor(key.encode()) == key


def test_nothing_is_the_beginning() -> None:
    assert decode_scan_cursor(b"") is None


@given(st.binary(min_size=1, max_size=80))
def test_any_bytes_are_a_cursor_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidArgumentError):
        found = decode_scan_cursor(data)
        assert found is not None
        assert UUID(found.event_id)


@pytest.mark.parametrize("data", [b"\x02", b"\x01", b"\x01\x05short", b"\x01\x05" + b"i" * 16 + b"\xff"])
def test_what_is_no_cursor_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="cursor"):
        decode_scan_cursor(data)

"""Cursors of the feed."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_svc import cursor as cursors
from capture_svc.cursor import MOST_ENTRIES, Cursor, decode_cursor, shortened
from svc_runtime.errors import InvalidArgumentError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JOURNALS = st.binary(min_size=16, max_size=16).map(bytes.hex)
CURSORS = st.builds(
    Cursor,
    positions=st.dictionaries(JOURNALS, st.integers(0, 2**64 - 1), max_size=8),
    horizon=st.integers(0, 10**13).map(lambda ms: EPOCH + timedelta(milliseconds=ms)),
)


@given(CURSORS)
def test_a_cursor_survives(cursor: Cursor) -> None:
    assert decode_cursor(cursor.encode()) == cursor


@given(CURSORS, st.data())
def test_a_damaged_cursor_is_refused_or_another_cursor(cursor: Cursor, data: st.DataObject) -> None:
    encoded = bytearray(cursor.encode())
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_cursor(bytes(encoded))
    except InvalidArgumentError:
        return
    assert found != cursor or found.encode() != bytes(encoded)


@given(st.binary(min_size=1, max_size=80))
def test_any_bytes_are_a_cursor_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidArgumentError):
        decode_cursor(data)


def test_the_longest_cursor_is_under_64_kib() -> None:
    positions = {f"{n:032x}": 2**64 - 1 for n in range(MOST_ENTRIES)}
    assert len(Cursor(positions, EPOCH + timedelta(days=30_000)).encode()) < 64 * 1024


def test_entries_of_ended_journals_are_dropped_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "MOST_ENTRIES", 3)
    ended, recent, unread = "a" * 32, "b" * 32, "c" * 32
    cursor = Cursor({ended: 5, recent: 6, unread: 7, "d" * 32: 8}, EPOCH)
    hour = timedelta(hours=1)
    times = {ended: EPOCH + hour, recent: EPOCH + 3 * hour}
    found = shortened(cursor, times, before=EPOCH + 2 * hour)
    assert found == Cursor({recent: 6, unread: 7, "d" * 32: 8}, EPOCH + 2 * hour)
    assert shortened(found, times, before=EPOCH + 9 * hour) == found, "a short cursor is left alone"

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingress_gateway.instants import milliseconds_text, parse_instant, timestamp_text
from svc_runtime.timestamps import timestamp_of

_INSTANTS = some.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=some.just(UTC))  # noqa: DTZ001 - bounds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-03T10:00:00Z", datetime(2026, 11, 3, 10, tzinfo=UTC)),
        ("2026-11-03t10:00:00z", datetime(2026, 11, 3, 10, tzinfo=UTC)),
        ("2026-11-03T10:00:00.123456789Z", datetime(2026, 11, 3, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-03T00:30:00+02:00", datetime(2026, 11, 2, 22, 30, tzinfo=UTC)),
        ("2026-11-03", None),
        ("2026-11-03T10:00:00", None),
        ("2026-11-03 10:00:00Z", None),
        ("20261103T100000Z", None),
        ("2026-W45-2T10:00:00Z", None),
        ("2026-11-03T10:00:60Z", None),
        ("2026-02-30T10:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("\u0662026-11-03T10:00:00Z", None),
        ("1793700000", None),
        ("", None),
    ],
)
def test_only_rfc_3339_is_an_instant(text: str, expected: datetime | None) -> None:
    assert parse_instant(text) == expected


@given(_INSTANTS)
def test_an_instant_survives_its_text(instant: datetime) -> None:
    timestamp = timestamp_of(instant)
    assert timestamp is not None
    assert parse_instant(timestamp_text(timestamp)) == instant


@given(_INSTANTS)
def test_milliseconds_survive_their_text(instant: datetime) -> None:
    unix_ms = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    text = milliseconds_text(unix_ms)
    assert len(text) == len("2026-11-03T10:00:00.120Z")
    assert parse_instant(text) == instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def test_nothing_stays_nothing() -> None:
    assert timestamp_of(None) is None

"""Verdicts between the contract and ours."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from analytics_svc.convert.slices import instant_from_pb
from analytics_svc.verdict import LARGEST_MICROS, MOST_VERDICTS, Verdict
from enrichment.money import read_currency
from svc_runtime.errors import InvalidArgumentError, Violation
from trellis.analytics.v1 import overlay_service_pb2 as pb

_LONGEST_STATUS_BYTES = 128
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def verdicts_from_pb(messages: Sequence[pb.Verdict]) -> list[Verdict]:
    """Read verdicts. Raise InvalidArgumentError with everything that is wrong."""
    if len(messages) > MOST_VERDICTS:
        raise InvalidArgumentError.of([Violation("verdicts", f"has {len(messages)}; the limit is {MOST_VERDICTS}")])
    violations: list[Violation] = []
    verdicts = [_verdict(message, f"verdicts[{at}]", violations) for at, message in enumerate(messages)]
    if violations:
        raise InvalidArgumentError.of(violations)
    return verdicts


def event_id_from_pb(text: str, path: str, violations: list[Violation]) -> UUID:
    """Read an event's id."""
    try:
        return UUID(text)
    except ValueError:
        violations.append(Violation(path, f"{text[:64]!r} is no UUID"))
        return UUID(int=0)


def _verdict(message: pb.Verdict, path: str, violations: list[Violation]) -> Verdict:
    if not message.organization_id:
        violations.append(Violation(f"{path}.organization_id", "is empty"))
    if not message.revision:
        violations.append(Violation(f"{path}.revision", "is 0; revisions begin with 1"))
    if message.is_conversion and message.is_adjustment:
        violations.append(Violation(f"{path}.is_adjustment", "is no conversion: only one of the two may be set"))
    if len(message.status.encode()) > _LONGEST_STATUS_BYTES:
        violations.append(Violation(f"{path}.status", f"is longer than {_LONGEST_STATUS_BYTES} bytes"))
    value = message.value_micros if message.HasField("value_micros") else None
    if value is not None and abs(value) > LARGEST_MICROS:
        violations.append(Violation(f"{path}.value_micros", f"is {value}; the largest is {LARGEST_MICROS}"))
    if message.currency and read_currency(message.currency.encode()) != message.currency:
        violations.append(Violation(f"{path}.currency", f"{message.currency[:20]!r} is no ISO 4217 code"))
    return Verdict(
        organization_id=message.organization_id,
        event_id=event_id_from_pb(message.event_id, f"{path}.event_id", violations),
        event_time=_time(message, path, violations),
        revision=message.revision,
        is_conversion=message.is_conversion,
        is_adjustment=message.is_adjustment,
        value_micros=value,
        currency=message.currency,
        status=message.status,
    )


def _time(message: pb.Verdict, path: str, violations: list[Violation]) -> datetime:
    if not message.HasField("event_time"):
        violations.append(Violation(f"{path}.event_time", "is not set"))
        return _NO_TIME
    try:
        return instant_from_pb(message.event_time)
    except (ValueError, OverflowError):
        violations.append(Violation(f"{path}.event_time", "is no instant of the years 1 to 9999"))
        return _NO_TIME

"""Numbers, instants and what a result rests on, as JSON. Money is written as exactly as it is kept."""

from collections.abc import Sequence
from datetime import UTC
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from google.protobuf import timestamp_pb2

from ingress_gateway.instants import timestamp_text
from trellis.analytics.v1 import report_pb2 as pb

Json = dict[str, Any]
_CENT = Decimal("0.01")
_PERCENT_DIGITS, _RATIO_DIGITS = 2, 4


def amount(micros: int) -> orjson.Fragment:
    """Write an amount as a JSON number: every digit that it has, and at least two after the point."""
    return _number(Decimal(micros).scaleb(-6))


def percent(value: float) -> float:
    """Round a percentage."""
    return round(value, _PERCENT_DIGITS)


def value_of(name: str, value: pb.Value) -> Any:
    """Write the value of a metric; None where there is no such number.

    Percentages (``…_rate``) have two digits after the point, other quotients four. An average amount is rounded to the
    hundredth: what lies below comes from the division.
    """
    match value.WhichOneof("kind"):
        case "count":
            return value.count
        case "number":
            return round(value.number, _PERCENT_DIGITS if name.endswith("_rate") else _RATIO_DIGITS)
        case "amount_micros" if name.startswith("average_"):
            return _number(Decimal(value.amount_micros).scaleb(-6).quantize(_CENT, ROUND_HALF_EVEN))
        case "amount_micros":
            return amount(value.amount_micros)
        case _:
            return None


def values_of(names: Sequence[str], values: Sequence[pb.Value]) -> Json:
    """Write the values of metrics by name."""
    return {name: value_of(name, value) for name, value in zip(names, values, strict=True)}


def instant_of(message: Any, field: str) -> str | None:
    """Write an instant of a message; None where it is not set."""
    return timestamp_text(getattr(message, field)) if message.HasField(field) else None


def info_of(info: pb.ResultInfo) -> Json:
    """Write what a result rests on."""
    return {
        "watermark": instant_of(info, "watermark_time"),
        "start": instant_of(info.time_range, "start_time"),
        "end": instant_of(info.time_range, "end_time"),
        "time_zone": info.time_zone,
        "currency": info.currency,
        "other_revenue": [
            {"currency": money.currency, "amount": amount(money.amount_micros)} for money in info.other_revenue
        ],
        "sources": list(info.sources),
        "rows_read": info.rows_read,
        "elapsed_seconds": round(info.elapsed_seconds, 6),
        "is_cached": info.is_cached,
    }


def period_of(info: pb.ResultInfo) -> str:
    """Write the time of a report as days of its zone, for example ``2024-03-01 to 2024-06-01``."""
    zone = ZoneInfo(info.time_zone or "UTC")
    return f"{_day(info.time_range.start_time, zone)} to {_day(info.time_range.end_time, zone)}"


def _day(timestamp: timestamp_pb2.Timestamp, zone: ZoneInfo) -> str:
    return timestamp.ToDatetime(UTC).astimezone(zone).date().isoformat()


def _number(value: Decimal) -> orjson.Fragment:
    whole, _, fraction = format(value, "f").partition(".")
    return orjson.Fragment(f"{whole}.{fraction.rstrip('0').ljust(2, '0')}".encode())

"""What reports are, in plain Python over rows: slow, exact, and knowing nothing of tables and plans."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

Row: TypeAlias = Mapping[str, Any]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Asked:
    """A question as the reference reads it."""

    start: datetime
    end: datetime
    zone: str = "UTC"
    includes_bots: bool = False
    passes: Callable[[Row], bool] = field(default=lambda row: True)
    currency: str = "USD"


def value_of(row: Row, dimension: str, zone: str) -> str:
    local = row["event_time"].astimezone(ZoneInfo(zone))
    if dimension == "hour":
        return f"{local.hour:02}"
    if dimension == "weekday":
        return WEEKDAYS[local.weekday()]
    if dimension == "date":
        return local.date().isoformat()
    if dimension == "is_bot":
        return "true" if row.get("is_bot") else "false"
    if dimension.startswith("param."):
        return row.get("params", {}).get(dimension.removeprefix("param."), "")
    return row.get(dimension) or ""


def metrics(rows: Iterable[Row], asked: Asked) -> dict[str, Any]:
    """Return every metric; money in millionths."""
    every = list(rows)
    seen = [row for row in every if asked.includes_bots or not row.get("is_bot")]
    clicks = sum(row["event_type"] == "click" for row in seen)
    conversions = [row for row in seen if row.get("is_conversion")]
    orders = [row for row in conversions if row.get("value") is not None and row["currency"] == asked.currency]
    revenue = sum((row["value"] for row in orders), Decimal(0))
    cost = sum((row["cost"] for row in seen if row.get("cost") and row["cost_currency"] == asked.currency), Decimal(0))

    def unique(name: str) -> int:
        return len({row[name] for row in seen if row.get(name)})

    return {
        "events": len(seen),
        "clicks": clicks,
        "unique_users": unique("user_id"),
        "sessions": unique("session_id"),
        "conversions": len(conversions),
        "conversion_rate": 100 * len(conversions) / clicks if clicks else None,
        "revenue": int(revenue * 10**6),
        "average_order_value": revenue / len(orders) * 10**6 if orders else None,
        "revenue_per_click": revenue / clicks * 10**6 if clicks else None,
        "cost": int(cost * 10**6),
        "cost_per_click": cost / clicks * 10**6 if clicks else None,
        "cost_per_conversion": cost / len(conversions) * 10**6 if conversions else None,
        "profit": int((revenue - cost) * 10**6),
        "roas": float(revenue / cost) if cost else 0.0,
        "bot_events": sum(bool(row.get("is_bot")) for row in every),
        "unique_ips": unique("ip"),
    }


def rows_of(rows: Iterable[Row], asked: Asked) -> list[Row]:
    return [row for row in rows if asked.start <= row["event_time"] < asked.end and asked.passes(row)]


def table(rows: Iterable[Row], asked: Asked, dimensions: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows_of(rows, asked):
        groups.setdefault(tuple(value_of(row, name, asked.zone) for name in dimensions), []).append(row)
    return {key: metrics(group, asked) for key, group in groups.items()}


def step_of(row: Row, granularity: str, zone: str) -> datetime:
    """Return the local time, without its zone, at which the row's step of a day or longer begins."""
    local = row["event_time"].astimezone(ZoneInfo(zone))
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if granularity == "day":
        return day
    return day - timedelta(days=day.weekday()) if granularity == "week" else day.replace(day=1)

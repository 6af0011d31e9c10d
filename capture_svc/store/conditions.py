"""Conditions on events and the values bound to them: values never become part of a statement's text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from capture_svc.scan import Scan, ScanKey
from capture_svc.store import EventFilter, EventKey, EventRange

AROUND = timedelta(seconds=30)
"""How far from its hint an event is looked for first: requests overtake each other."""
V7_AROUND = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Where:
    """Conditions that all must hold; ``str()`` is the text after WHERE."""

    conditions: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, **values: Any) -> "Where":
        """Add a condition with the values that its ``{name:Type}`` places stand for."""
        self.conditions.append(condition)
        self.values.update(values)
        return self

    def between(self, first: datetime, last: datetime, *, name: str = "") -> "Where":
        """Ask for an event time within both instants, bounds included."""
        return self.add(
            f"event_time >= fromUnixTimestamp64Milli({{first{name}:Int64}}, 'UTC')"
            f" AND event_time <= fromUnixTimestamp64Milli({{last{name}:Int64}}, 'UTC')",
            **{f"first{name}": milliseconds(first), f"last{name}": milliseconds(last)},
        )

    def at(self, operator: str, key: EventKey, *, name: str) -> "Where":
        """Compare an event's place with ``key``. The first condition is the one that the primary key serves."""
        time, identity = f"fromUnixTimestamp64Milli({{{name}_ms:Int64}}, 'UTC')", f"{{{name}_id:UUID}}"
        return self.add(
            f"event_time <= {time} AND (event_time, events.event_id) {operator} ({time}, {identity})",
            **{f"{name}_ms": key.event_time_ms, f"{name}_id": key.event_id},
        )

    def upto(self, key: ScanKey) -> "Where":
        """Ask for the events of a scan up to ``key``, it included."""
        return self._scanned("<", "<=", key, name="upto")

    def after(self, key: ScanKey) -> "Where":
        """Ask for the events of a scan after ``key``."""
        return self._scanned(">", ">", key, name="after")

    def _scanned(self, outside: str, operator: str, key: ScanKey, *, name: str) -> "Where":
        """Compare an event's place in a scan. What the primary key serves is said apart: it does not see tuples."""
        organization, identity = f"unhex({{{name}_organization:String}})", f"{{{name}_id:UUID}}"
        time = f"fromUnixTimestamp64Milli({{{name}_ms:Int64}}, 'UTC')"
        return self.add(
            f"organization_id {outside}= {organization}"
            f" AND (organization_id {outside} {organization} OR event_time {outside}= {time})"
            f" AND (organization_id, event_time, events.event_id) {operator} ({organization}, {time}, {identity})",
            **{
                f"{name}_organization": key.organization_id.encode().hex(),
                f"{name}_ms": key.event_time_ms,
                f"{name}_id": key.event_id,
            },
        )

    def __str__(self) -> str:
        """Return the text; no condition at all always holds."""
        return " AND ".join(self.conditions) or "1"


def of_organization(organization_id: str) -> Where:
    """Return the condition that no query of an organisation goes without."""
    return Where().add("organization_id = {organization:String}", organization=organization_id)


def of_filter(organization_id: str, wanted: EventFilter) -> Where:
    """Return the conditions of a list of events."""
    where = of_organization(organization_id)
    _of_times(where, wanted.start_time, wanted.end_time)
    # Bytes travel as hexadecimal digits: they need not be UTF-8.
    if wanted.event_type:
        where.add("event_type = unhex({event_type:String})", event_type=wanted.event_type.hex())
    if wanted.click_id:
        click = "unhex({click_id:String})"
        where.add(f"(click_id = {click} OR external_click_id = {click})", click_id=wanted.click_id.hex())
    for name in ("campaign_id", "user_id"):
        value = getattr(wanted, name)
        if value:
            where.add(f"{name} = unhex({{{name}:String}})", **{name: value.encode().hex()})
    if wanted.mark:
        where.add("has(marks, unhex({mark:String}))", mark=wanted.mark.encode().hex())
    return where


def of_ranges(ranges: Sequence[EventRange]) -> Where:
    """Return the condition of events that lie in one of ``ranges``."""
    where, alternatives = Where(), []
    for index, span in enumerate(ranges):
        one = Where().add(
            f"journal_id = {{journal{index}:String}} AND sequence > {{after{index}:UInt64}}"
            f" AND sequence <= {{upto{index}:UInt64}}",
            **{f"journal{index}": span.journal_id, f"after{index}": span.after, f"upto{index}": span.upto},
        )
        if span.times is not None:
            one.between(span.times[0] - AROUND, span.times[1] + AROUND, name=str(index))
        alternatives.append(f"({one})")
        where.values.update(one.values)
    hints = [span.times for span in ranges if span.times is not None]
    if len(hints) == len(ranges) > 1:
        # The alternatives have bounds of their own; by this one ClickHouse leaves out whole parts.
        where.between(min(hint[0] for hint in hints) - AROUND, max(hint[1] for hint in hints) + AROUND, name="_any")
    return where.add(f"({' OR '.join(alternatives)})")


def of_scan(wanted: Scan, after: ScanKey | None) -> Where:
    """Return the conditions of a scan that goes on after ``after``."""
    where = of_organization(wanted.organization_id) if wanted.organization_id else Where()
    _of_times(where, wanted.start_time, wanted.end_time)
    return where.after(after) if after is not None else where


def _of_times(where: Where, start: datetime | None, end: datetime | None) -> None:
    for operator, name, bound in ((">=", "start", start), ("<", "end", end)):
        if bound is not None:
            time = f"fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"
            where.add(f"event_time {operator} {time}", **{name: milliseconds(bound)})


def time_of_v7(event_id: str) -> datetime | None:
    """Return the instant in a UUID of version 7; None for another version."""
    identity = UUID(event_id)
    return EPOCH + timedelta(milliseconds=identity.int >> 80) if identity.version == 7 else None


def milliseconds(instant: datetime) -> int:
    """Return Unix milliseconds, rounded up."""
    return math.ceil((instant - EPOCH) / timedelta(milliseconds=1))


def instant(milliseconds_: int) -> datetime:
    """Return the instant of Unix milliseconds."""
    return EPOCH + timedelta(milliseconds=milliseconds_)


def aware(value: datetime) -> datetime:
    """Return a time that the driver gave without its zone, which is UTC."""
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def fitting(sizes: Sequence[int], max_bytes: int) -> int:
    """Return how many of the first things fit into ``max_bytes``; at least one of those there are."""
    total = 0
    for index, size in enumerate(sizes):
        total += size
        if total > max_bytes and index:
            return index
    return len(sizes)


def sums(rows: Sequence[Sequence[Any]]) -> Mapping[str, int]:
    """Turn (name, number) rows into a mapping."""
    return {row[0]: row[1] for row in rows}

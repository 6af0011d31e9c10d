"""Paths in plain Python, by their definition: what ClickHouse must agree with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Act:
    """One event."""

    user: str
    at: int
    """Milliseconds."""
    id: str
    kind: str
    source: str
    value: Decimal | None = None
    """A number: a conversion."""

    @property
    def is_touch(self) -> bool:
        """It leads somewhere."""
        return self.value is None and self.kind in {"click", "pageview"}


Counted = tuple[tuple[str, ...], int, int, Decimal]


def paths(
    acts: Sequence[Act], *, start: int, end: int, lookback: int, collapses: bool, includes_unconverted: bool
) -> list[Counted]:
    """Return path, conversions, unconverted and revenue, in the order of the answer."""
    converted: Counter[tuple[str, ...]] = Counter()
    unconverted: Counter[tuple[str, ...]] = Counter()
    revenue: dict[tuple[str, ...], Decimal] = {}
    for user in {act.user for act in acts}:
        mine = sorted((act for act in acts if act.user == user and act.at < end), key=lambda act: (act.at, act.id))
        touches = [act for act in mine if act.is_touch and act.at >= start - lookback]
        conversions = [act for act in mine if act.value is not None and act.at >= start]
        for conversion in conversions:
            path = _path(touches, conversion.at, lookback, collapses=collapses)
            converted[path] += 1
            revenue[path] = revenue.get(path, Decimal(0)) + (conversion.value or 0)
        if includes_unconverted and not conversions and any(touch.at >= start for touch in touches):
            unconverted[_path(touches, touches[-1].at, lookback, collapses=collapses)] += 1
    found = [
        (path, converted[path], unconverted[path], revenue.get(path, Decimal(0))) for path in {*converted, *unconverted}
    ]
    return sorted(found, key=lambda row: (-row[1], -row[2], row[0]))


def _path(touches: Sequence[Act], ends: int, lookback: int, *, collapses: bool) -> tuple[str, ...]:
    values = [touch.source for touch in touches if ends - lookback <= touch.at <= ends]
    if collapses:
        values = [value for place, value in enumerate(values) if place == 0 or values[place - 1] != value]
    return tuple(values)

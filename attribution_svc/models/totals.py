"""Many journeys under many rules, side by side, by channel; and what assisted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attribution_svc.models.allocate import allocate_known
from attribution_svc.models.rules import Linear, Pick, Position, Rule
from attribution_svc.models.touch import Journey

NOBODY = None
"""The channel of what no touch is credited with."""


@dataclass(frozen=True, slots=True)
class Total:
    """What a channel gets."""

    conversions: float
    """Sum of the shares; of a participation, the number of conversions."""
    value_micros: int
    """The sum of the credits, exact."""


@dataclass(frozen=True, slots=True)
class Assists:
    """How a channel took part, whatever the model: counts of conversions."""

    last: int
    """It was the last touch."""
    assisted: int
    """It was in the journey, and not the last touch."""
    assisted_value_micros: int


class _Sums:
    """What is summed under one rule."""

    __slots__ = ("conversions", "values")

    def __init__(self) -> None:
        self.conversions: defaultdict[str | None, float] = defaultdict(float)
        self.values: defaultdict[str | None, int] = defaultdict(int)

    def add(self, channel: str | None, conversions: float, value: int) -> None:
        self.conversions[channel] += conversions
        self.values[channel] += value

    def totals(self) -> dict[str | None, Total]:
        return {channel: Total(count, self.values[channel]) for channel, count in self.conversions.items()}


class _Places:
    """How often each channel was at each place of journeys of each length.

    Of a rule that knows a touch by its place alone, these counts make the sum of the shares: once for each place, not
    once for each touch of each journey.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, list[defaultdict[str, int]]] = {}

    def add(self, channels: list[str]) -> None:
        places = self._counts.get(len(channels))
        if places is None:
            places = self._counts[len(channels)] = [defaultdict(int) for _ in channels]
        for place, channel in zip(places, channels):  # noqa: B905 - of the same length; in the innermost loop
            place[channel] += 1

    def add_shares(self, rule: Linear | Position, into: _Sums) -> None:
        for count, places in self._counts.items():
            weights = rule.shape(count)
            total = sum(weights)
            for weight, place in zip(weights, places, strict=True):
                for channel, seen in place.items():
                    into.conversions[channel] += seen * weight / total


def totals(journeys: Iterable[Journey], rules: Mapping[str, Rule]) -> dict[str, dict[str | None, Total]]:
    """Credit each journey under each rule and sum by channel, in one pass: rule name to channel to total.

    The sums are those of ``credits_of``, to the micro. A channel that was there and got nothing may be listed, with 0.
    """
    sums = {name: _Sums() for name in rules}
    picks = [(rule.index, sums[name]) for name, rule in rules.items() if isinstance(rule, Pick)]
    shapes = [(rule, sums[name]) for name, rule in rules.items() if isinstance(rule, Linear | Position)]
    others = [(rule, sums[name]) for name, rule in rules.items() if not isinstance(rule, Pick | Linear | Position)]
    values = [(rule.shape, into.values) for rule, into in shapes]
    places = _Places()
    for journey in journeys:
        value = journey.conversion.value_micros
        channels = [touch.channel for touch in journey.touches]
        if not channels:
            for into in sums.values():
                into.add(NOBODY, 1.0, value)
            continue
        for index, into in picks:
            at = index(journey)
            into.add(channels[at] if at >= 0 else NOBODY, 1.0, value)
        if shapes:
            places.add(channels)
        for shape, by_channel in values:
            weights = shape(len(channels))
            parts = allocate_known(value, weights, sum(weights))
            for channel, part in zip(channels, parts):  # noqa: B905 - of the same length; in the innermost loop
                by_channel[channel] += part
        for other, into in others:
            _add_split(journey, other, channels, into)
    for rule, into in shapes:
        places.add_shares(rule, into)
    return {name: of_rule.totals() for name, of_rule in sums.items()}


def _add_split(journey: Journey, rule: Rule, channels: list[str], into: _Sums) -> None:
    weights = rule.weights(journey)
    value = journey.conversion.value_micros
    total = sum(weights)
    if not total:
        into.add(NOBODY, 1.0, value)
        return
    conversions, values = into.conversions, into.values
    if not rule.is_additive:
        for channel, weight in zip(channels, weights, strict=True):
            if weight:
                conversions[channel] += 1
                values[channel] += value
        return
    parts = allocate_known(value, weights, total)
    for channel, weight, part in zip(channels, weights, parts):  # noqa: B905 - of the same length; in an inner loop
        conversions[channel] += weight / total
        values[channel] += part


def assists(journeys: Iterable[Journey]) -> dict[str, Assists]:
    """Count for each channel the conversions that it closed and those that it only helped with."""
    last: defaultdict[str, int] = defaultdict(int)
    assisted: defaultdict[str, int] = defaultdict(int)
    value: defaultdict[str, int] = defaultdict(int)
    for journey in journeys:
        if not journey.touches:
            continue
        closing = journey.touches[-1].channel
        last[closing] += 1
        for channel in {touch.channel for touch in journey.touches} - {closing}:
            assisted[channel] += 1
            value[channel] += journey.conversion.value_micros
    return {
        channel: Assists(last[channel], assisted[channel], value[channel]) for channel in sorted({*last, *assisted})
    }

"""Paths: what the models learn from that look at everybody at once, those who did not convert included."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from attribution_svc.models.allocate import allocate, fixed_point
from attribution_svc.models.touch import Journey
from svc_runtime.errors import InvalidArgumentError, Violation


@dataclass(frozen=True, slots=True)
class Path:
    """A sequence of channels and how often it was walked to a conversion and to none."""

    channels: tuple[str, ...]
    conversions: int = 0
    nulls: int = 0
    """How often it ended without a conversion."""
    value_micros: int = 0
    """Of all its conversions together."""

    def __post_init__(self) -> None:
        """Refuse counts below 0."""
        if self.conversions < 0 or self.nulls < 0:
            problem = f"counts are {self.conversions} and {self.nulls}, must be 0 or more"
            raise InvalidArgumentError.of([Violation("paths", problem)])


def paths_of(journeys: Iterable[Journey], unconverted: Iterable[Sequence[str]] = ()) -> list[Path]:
    """Count journeys, and the channels of those who did not convert, by their path."""
    conversions: defaultdict[tuple[str, ...], int] = defaultdict(int)
    values: defaultdict[tuple[str, ...], int] = defaultdict(int)
    nulls: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for journey in journeys:
        channels = tuple(touch.channel for touch in journey.touches)
        conversions[channels] += 1
        values[channels] += journey.conversion.value_micros
    for walked in unconverted:
        nulls[tuple(walked)] += 1
    every = dict.fromkeys([*conversions, *nulls])
    return [Path(walked, conversions[walked], nulls[walked], values[walked]) for walked in every]


def collapsed(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the channels with each run of one channel as one."""
    return tuple(channel for channel, _ in groupby(channels))


def credited(paths: Iterable[Path]) -> tuple[int, int]:
    """Return the conversions and the micros of the paths that have a touch: what a model can give to channels."""
    walked = [path for path in paths if path.channels]
    return sum(path.conversions for path in walked), sum(path.value_micros for path in walked)


def shares_of(weights: Mapping[str, float]) -> dict[str, float]:
    """Return ``weights`` divided by their sum; all 0 where that is 0."""
    total = sum(weights.values())
    return {channel: weight / total if total else 0.0 for channel, weight in weights.items()}


def split(amount: int, shares: Mapping[str, float]) -> dict[str | None, int]:
    """Split ``amount`` by shares, adding up exactly; ties go to the first in alphabetical order.

    Where no share is above 0 all of it is nobody's, under None.
    """
    channels = sorted(shares)
    weights = fixed_point([shares[channel] for channel in channels])
    if not any(weights):
        return {None: amount}
    return dict(zip(channels, allocate(amount, weights), strict=True))

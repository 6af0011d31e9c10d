"""Shapley values: the mean of what a channel adds, over all orders in which the channels could have come.

``phi_i = sum over S without i of |S|! (n-|S|-1)! / n! * (v(S + i) - v(S))``. What ``v`` is decides what they mean:

- `conversions`: ``v(S)`` is the number of conversions whose journey touched no channel outside S. The value of every
  channel is then, exactly and for any number of channels, each conversion split evenly over the *distinct* channels of
  its journey (Harsanyi dividends), and that is how it is computed. Order, repeats and null paths count for nothing.
- `conversion_rate`: ``v(S)`` is the rate of conversion of the journeys that touched no channel outside S, 0 where there
  were none. Null paths count. It is computed exactly up to 12 channels and sampled, with a standard error, beyond. A
  channel that goes with a lower rate has a negative value; it is credited 0.

A coalition is an integer: bit i is channel i.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from attribution_svc.models.paths import Path, shares_of
from svc_runtime.errors import InvalidArgumentError, QueryLimitError, Violation

MOST_EXACT = 12
"""Channels; there are 2**12 coalitions of them."""
MOST_STEPS = 40_000_000
"""Of sampling: orders times members of the different sets of channels. About ten seconds."""
CHARACTERISTICS = ("conversions", "conversion_rate")


@dataclass(frozen=True, slots=True)
class ShapleyValues:
    """Values by channel."""

    values: dict[str, float]
    standard_errors: dict[str, float]
    """All 0 where the values are exact."""

    @property
    def is_exact(self) -> bool:
        """Say whether nothing was sampled."""
        return not any(self.standard_errors.values())

    @property
    def shares(self) -> dict[str, float]:
        """Channel to its part of the credit: the values, none below 0, divided by their sum."""
        return shares_of({channel: max(0.0, value) for channel, value in self.values.items()})


def shapley_values(
    paths: Iterable[Path], *, characteristic: str = "conversions", samples: int = 2000, seed: int = 0
) -> ShapleyValues:
    """Return the values of all channels. ``samples`` (orders, 2 or more) and ``seed`` count only where it is sampled.

    Raise InvalidArgumentError for another characteristic, QueryLimitError for too much to sample.
    """
    walked = [path for path in paths if path.channels]
    channels = sorted({channel for path in walked for channel in path.channels})
    if characteristic == "conversions":
        return ShapleyValues(_dividends(walked, channels), dict.fromkeys(channels, 0.0))
    if characteristic != "conversion_rate":
        problem = f"is {characteristic!r}, must be one of {', '.join(CHARACTERISTICS)}"
        raise InvalidArgumentError.of([Violation("characteristic", problem)])
    game = _RateGame(walked, channels)
    if len(channels) > MOST_EXACT and samples * game.member_count > MOST_STEPS:
        most = MOST_STEPS // game.member_count
        raise QueryLimitError(
            f"{len(channels)} channels make {game.member_count:,} members of sets, so at most {most:,} samples, not"
            f" {samples:,}: ask for fewer, or for a dimension with fewer values"
        )
    if len(channels) <= MOST_EXACT:
        values, errors = exact(game.value, len(channels)), [0.0] * len(channels)
    else:
        values, errors = sampled(game.along, len(channels), samples=samples, seed=seed)
    return ShapleyValues(dict(zip(channels, values, strict=True)), dict(zip(channels, errors, strict=True)))


def exact(value: Callable[[int], float], count: int) -> list[float]:
    """Return the values of the game ``value`` of ``count`` players; ``value(0)`` need not be 0.

    Raise InvalidArgumentError for more than 12 players.
    """
    if count > MOST_EXACT:
        raise InvalidArgumentError.of([Violation("channels", f"are {count}, at most {MOST_EXACT} are exact")])
    worth = [value(coalition) for coalition in range(1 << count)]
    chances = [math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count) for size in range(count)]
    values = []
    for player in range(count):
        bit = 1 << player
        values.append(
            math.fsum(
                chances[coalition.bit_count()] * (worth[coalition | bit] - worth[coalition])
                for coalition in range(1 << count)
                if not coalition & bit
            )
        )
    return values


def sampled(
    along: Callable[[Sequence[int]], Sequence[float]], count: int, *, samples: int, seed: int
) -> tuple[list[float], list[float]]:
    """Return estimated values and their standard errors from ``samples`` random orders, the same for the same seed.

    ``along(order)`` is the worth of nobody and then of the coalition after each player of ``order`` has joined: one
    more than there are players. Raise InvalidArgumentError for fewer than 2 samples: one has no error.
    """
    if samples < 2:
        raise InvalidArgumentError.of([Violation("samples", f"is {samples}, must be 2 or more")])
    chance = random.Random(seed)  # noqa: S311 - a repeatable sample, not a secret
    means, squares = [0.0] * count, [0.0] * count
    order = list(range(count))
    for sample in range(1, samples + 1):
        chance.shuffle(order)
        for player, (before, after) in zip(order, pairwise(along(order)), strict=True):
            # Welford: the sum of squares of what differs little is not to be subtracted.
            away = after - before - means[player]
            means[player] += away / sample
            squares[player] += away * (after - before - means[player])
    return means, [math.sqrt(square / (samples - 1) / samples) for square in squares]


def _dividends(paths: list[Path], channels: list[str]) -> dict[str, float]:
    values = dict.fromkeys(channels, 0.0)
    for path in paths:
        distinct = set(path.channels)
        for channel in distinct:
            values[channel] += path.conversions / len(distinct)
    return values


class _RateGame:
    """The rate of conversion of the journeys within a coalition."""

    def __init__(self, paths: list[Path], channels: list[str]) -> None:
        number = {channel: at for at, channel in enumerate(channels)}
        counts: defaultdict[frozenset[int], list[int]] = defaultdict(lambda: [0, 0])
        for path in paths:
            count = counts[frozenset(number[channel] for channel in path.channels)]
            count[0] += path.conversions
            count[1] += path.conversions + path.nulls
        self._players = len(channels)
        self._sets = [(members, converted, walked) for members, (converted, walked) in counts.items()]
        self._masks = [(sum(1 << at for at in members), *count) for members, *count in self._sets]

    @property
    def member_count(self) -> int:
        """Channels of all different sets together."""
        return sum(len(members) for members, _, _ in self._sets)

    def value(self, coalition: int) -> float:
        outside = ~coalition
        converted = walked = 0
        for mask, conversions, walks in self._masks:
            if not mask & outside:
                converted += conversions
                walked += walks
        return converted / walked if walked else 0.0

    def along(self, order: Sequence[int]) -> list[float]:
        """Each set of channels is complete when the last of its members joins: one pass for a whole order."""
        place = [0] * self._players
        for at, player in enumerate(order):
            place[player] = at
        converted, walked = [0] * self._players, [0] * self._players
        for members, conversions, walks in self._sets:
            at = max(place[member] for member in members)
            converted[at] += conversions
            walked[at] += walks
        worth = [0.0]
        all_converted = all_walked = 0
        for at in range(self._players):
            all_converted += converted[at]
            all_walked += walked[at]
            worth.append(all_converted / all_walked if all_walked else 0.0)
        return worth

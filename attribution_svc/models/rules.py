"""The rules that credit one journey from its touches alone. Definitions: `docs/models.md`.

A rule either picks one touch or weighs all of them. Weights are integers, so that a split is exact; where no touch is
picked, or no weight is above 0, nobody is credited and the value stays with nobody.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, TypeVar, cast

from attribution_svc.models.allocate import allocate, fixed_point
from attribution_svc.models.touch import DAY_MS, Credit, Journey

_BITS = 52
"""Of a weight in fixed point."""
_PERCENT = 10_000
"""Weights of positions are kept in ten-thousandths."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A rule that gives everything to one touch."""

    index: Callable[[Journey], int]
    """The touch's place in a journey that has touches; -1 for nobody."""
    is_additive: ClassVar[bool] = True

    def weights(self, journey: Journey) -> Sequence[int]:
        """Return 1 for the touch that is picked and 0 for the others."""
        at = self.index(journey)
        return [int(place == at) for place in range(len(journey.touches))]


def _last_non_direct(journey: Journey) -> int:
    touches = journey.touches
    for at in range(len(touches) - 1, -1, -1):
        if not touches[at].is_direct:
            return at
    return len(touches) - 1


def _same_touch(journey: Journey) -> int:
    wanted = journey.conversion.touch_id
    if wanted:
        for at, touch in enumerate(journey.touches):
            if touch.touch_id == wanted:
                return at
    return -1


FIRST_TOUCH = Pick(lambda _: 0)
LAST_TOUCH = Pick(lambda journey: len(journey.touches) - 1)
LAST_NON_DIRECT_TOUCH = Pick(_last_non_direct)
"""The last touch that had a source; the last touch where none had."""
SAME_TOUCH = Pick(_same_touch)
"""The touch that is the converting event itself, else nobody."""


@dataclass(frozen=True, slots=True)
class Linear:
    """The same to every touch."""

    is_additive: ClassVar[bool] = True

    def weights(self, journey: Journey) -> Sequence[int]:
        """Return 1 for every touch."""
        return _linear(len(journey.touches))

    def shape(self, count: int) -> Sequence[int]:
        """Return the weights in any journey of ``count`` touches."""
        return _linear(count)


@dataclass(frozen=True, slots=True)
class Position:
    """Weights of the first touch, of all middle ones together, and of the last.

    One touch gets everything; of two, the middle's weight is left out; where nothing is left, both get the same.
    """

    first: float
    middle: float
    last: float
    is_additive: ClassVar[bool] = True

    def weights(self, journey: Journey) -> Sequence[int]:
        """Return the weight of each touch."""
        return self.shape(len(journey.touches))

    def shape(self, count: int) -> Sequence[int]:
        """Return the weights in any journey of ``count`` touches."""
        return _position(count, self.first, self.middle, self.last)


@lru_cache(maxsize=1024)
def _linear(count: int) -> tuple[int, ...]:
    return (1,) * count


@lru_cache(maxsize=4096)
def _position(count: int, first: float, middle: float, last: float) -> tuple[int, ...]:
    ends = round(first * _PERCENT), round(last * _PERCENT)
    if count <= 1:
        return (1,) * count
    if count == 2:
        return ends if any(ends) else (1, 1)
    inner = count - 2
    each = round(middle * _PERCENT)
    # Small numbers divide faster.
    common = math.gcd(ends[0] * inner, each, ends[1] * inner) or 1
    return (ends[0] * inner // common, *[each // common] * inner, ends[1] * inner // common)


_NumberT = TypeVar("_NumberT", bound=Any)
_POWERS_OF_A_HALF = tuple((-math.log(2)) ** power / math.factorial(power) for power in range(18))
"""Of the series of ``2 ** -x``; what is left out of it is below the last bit."""


def decayed(part: _NumberT) -> _NumberT:
    """Return ``2 ** -part`` for 0 to 1, of a number or of each in an array.

    By sums and products alone, in this order: those are the same to the last bit wherever they are computed. A power
    is not.
    """
    value: Any = 0.0 * part + _POWERS_OF_A_HALF[-1]
    for coefficient in _POWERS_OF_A_HALF[-2::-1]:
        value = value * part + coefficient
    return cast("_NumberT", value)


def per_millisecond(half_life_days: float) -> float:
    """Return how many half-lives a millisecond is."""
    return 1 / (half_life_days * DAY_MS)


def _decayed_weight(half_lives: float) -> int:
    whole = int(half_lives)
    return int(math.ldexp(decayed(half_lives - whole), _BITS - whole))


@dataclass(frozen=True, slots=True)
class TimeDecay:
    """``2 ** (-age / half_life)``, the age before the conversion, as ``decayed`` computes it.

    Ages are taken from the newest touch, which changes no proportion and never underflows; a touch more than 52
    half-lives older than the newest gets nothing.
    """

    half_life_days: float = 7.0
    direct_weight: float = 1.0
    """What a direct touch's weight is multiplied with, 0 to 1; without meaning where every touch is direct."""
    is_additive: ClassVar[bool] = True

    def weights(self, journey: Journey) -> Sequence[int]:
        """Return the weight of each touch in fixed point."""
        touches = journey.touches
        if not touches:
            return ()
        newest = touches[-1].time_ms
        per_ms = per_millisecond(self.half_life_days)
        weights = [_decayed_weight((newest - touch.time_ms) * per_ms) for touch in touches]
        if self.direct_weight == 1:
            return weights
        return self._direct_weighed(journey, weights)

    def _direct_weighed(self, journey: Journey, weights: list[int]) -> list[int]:
        pairs = list(zip(journey.touches, weights, strict=True))
        if not any(weight for touch, weight in pairs if not touch.is_direct):
            return weights
        return [int(weight * self.direct_weight) if touch.is_direct else weight for touch, weight in pairs]


@dataclass(frozen=True, slots=True)
class Participation:
    """Everything to each distinct channel, on its last touch: **not additive**, its total is more than there was."""

    is_additive: ClassVar[bool] = False

    def weights(self, journey: Journey) -> Sequence[int]:
        """Return 1 for the last touch of each channel and 0 for the others."""
        touches = journey.touches
        last = {touch.channel: at for at, touch in enumerate(touches)}
        return [int(last[touch.channel] == at) for at, touch in enumerate(touches)]


@dataclass(frozen=True, slots=True)
class ByChannel:
    """Weights learned elsewhere (Markov, Shapley), applied to one journey: how a learned model is shown for one person.

    A channel that has none counts 0; where nobody has any, everybody gets the same. Summed over all journeys this is
    not the learned model's own total, which knows no journeys.
    """

    shares: Mapping[str, float]
    is_additive: ClassVar[bool] = True
    _fixed: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Bring the shares to fixed point once."""
        fixed = dict(zip(self.shares, fixed_point(list(self.shares.values())), strict=True))
        object.__setattr__(self, "_fixed", fixed)

    def weights(self, journey: Journey) -> Sequence[int]:
        """Return the weight of each touch."""
        weights = [self._fixed.get(touch.channel, 0) for touch in journey.touches]
        return weights if any(weights) else _linear(len(weights))


Rule = Pick | Linear | Position | TimeDecay | Participation | ByChannel

POSITION_BASED = Position(40, 20, 40)
J_SHAPED = Position(20, 20, 60)
INVERSE_J_SHAPED = Position(60, 20, 20)


def credits_of(journey: Journey, rule: Rule) -> tuple[Credit, ...]:
    """Return what ``rule`` credits, one per touch that gets something, in the journey's order.

    The values of an additive rule add up to the conversion's, exactly; where nobody is credited there is one credit
    without a touch.
    """
    conversion = journey.conversion
    weights = rule.weights(journey)
    total = sum(weights)
    if not total:
        return (Credit(conversion.conversion_id, None, 1.0, conversion.value_micros),)
    if rule.is_additive:
        parts = allocate(conversion.value_micros, weights)
    else:
        parts, total = [weight * conversion.value_micros for weight in weights], 1
    return tuple(
        Credit(conversion.conversion_id, touch, weight / total, part)
        for touch, weight, part in zip(journey.touches, weights, parts, strict=True)
        if weight
    )

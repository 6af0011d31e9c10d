"""Credits of many journeys at once, in columns: what ``rules`` says of each, summed by channel. To the micro the same.

Journeys of one length make a matrix, a row each, and a rule becomes a few operations on it. Everything that decides
about a micro is integer arithmetic, or floating point in the same order of the same operations as in ``rules``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from attribution_svc.models.rules import (
    FIRST_TOUCH,
    LAST_NON_DIRECT_TOUCH,
    LAST_TOUCH,
    SAME_TOUCH,
    Linear,
    Participation,
    Pick,
    Position,
    Rule,
    TimeDecay,
    credits_of,
    decayed,
    per_millisecond,
)
from attribution_svc.models.totals import Assists, Total
from attribution_svc.models.touch import Conversion, Journey, Touch

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_MOST_ROWS = 1 << 17
_MOST_MICROS = 1 << 44
"""A value from here on, 17 million units, is credited by itself: so many rows of less fit into 64 bits together."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Journeys, one after the other."""

    micros: Integers
    """Of each conversion, its value."""
    counts: Integers
    """Of each conversion, the number of its touches."""
    channels: Integers
    """Of each touch, oldest first, the number of its channel."""
    ages_ms: Integers
    """Of each touch, how long before the conversion it was."""
    directs: Flags
    """Of each touch, whether the visitor came without any source."""
    conversions: Integers
    """Of each conversion, 1; 0 for what only changes the value of an earlier one."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Journeys of one length, a row each."""

    micros: Integers
    channels: Integers
    ages_ms: Integers
    directs: Flags
    conversions: Integers

    @property
    def length(self) -> int:
        """Touches of each."""
        return int(self.channels.shape[1])


class Tally:
    """Sums of credits under several rules, by the number of the channel; -1 is nobody.

    Raise TypeError for a rule that learned its weights elsewhere.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = {name: (rule, _creditor_of(rule)) for name, rule in rules.items()}
        self._sums = {name: _Sums() for name in rules}
        self._assists = _Assists()
        self.conversion_count = 0
        self.micros = 0

    def add(self, columns: Columns) -> None:
        """Credit these journeys."""
        for part in _pieces(columns):
            self.conversion_count += int(part.conversions.sum())
            self.micros += sum(part.micros.tolist())
            for block in _blocks(part):
                self._add(block)

    def add_nobodys(self, conversion_count: int, micros: int) -> None:
        """Count conversions that have no journey."""
        self.conversion_count += conversion_count
        self.micros += micros
        for sums in self._sums.values():
            sums.add_one(-1, float(conversion_count), micros)

    def totals(self) -> dict[str, dict[int, Total]]:
        """Return the credits, rule by rule. A channel that was there and got nothing may be listed, with 0."""
        return {name: sums.totals() for name, sums in self._sums.items()}

    def assists(self) -> dict[int, Assists]:
        """Return who closed and who helped."""
        return self._assists.found()

    def _add(self, block: _Block) -> None:
        is_small = np.abs(block.micros) < _MOST_MICROS
        if not is_small.all():
            self._add_large(_chosen(block, ~is_small))
            block = _chosen(block, is_small)
        if not len(block.micros):
            return
        if not block.length:
            for sums in self._sums.values():
                sums.add_one(-1, float(block.conversions.sum()), int(block.micros.sum()))
            return
        for name, (rule, credit) in self._rules.items():
            credit(rule, block, self._sums[name])
        self._assists.add(block)

    def _add_large(self, block: _Block) -> None:
        for journey, counts in zip(_journeys(block), block.conversions.tolist(), strict=True):
            for name, (rule, _) in self._rules.items():
                for credit in credits_of(journey, rule):
                    channel = int(credit.touch.channel) if credit.touch else -1
                    self._sums[name].add_one(channel, credit.share * counts, credit.value_micros)
            self._assists.add_one(journey, counts)


class _Sums:
    """What is summed under one rule."""

    def __init__(self) -> None:
        self._conversions: Floats = np.zeros(0)
        self._micros: list[int] = []
        self._nobody = [0.0, 0]

    def add(self, channels: Integers, shares: Floats | Integers, micros: Integers) -> None:
        """Add credits."""
        size = max(int(channels.max(initial=-1)) + 1, len(self._conversions))
        counted = np.bincount(channels, shares, minlength=size).astype(np.float64)
        counted[: len(self._conversions)] += self._conversions
        self._conversions = counted
        summed = np.zeros(size, np.int64)
        np.add.at(summed, channels, micros)
        self._micros += [0] * (size - len(self._micros))
        self._micros = [known + more for known, more in zip(self._micros, summed.tolist(), strict=True)]

    def add_one(self, channel: int, share: float, micros: int) -> None:
        """Add one credit; -1 is nobody."""
        if channel < 0:
            self._nobody = [self._nobody[0] + share, self._nobody[1] + micros]
            return
        self.add(np.array([channel]), np.array([share]), np.array([0]))
        self._micros[channel] += micros

    def totals(self) -> dict[int, Total]:
        """Return the sums."""
        found = {at: Total(float(self._conversions[at]), micros) for at, micros in enumerate(self._micros)}
        if any(self._nobody):
            found[-1] = Total(self._nobody[0], int(self._nobody[1]))
        return found


class _Assists:
    def __init__(self) -> None:
        self._last = _Sums()
        self._helped = _Sums()

    def add(self, block: _Block) -> None:
        last = block.channels[:, -1]
        self._last.add(last, block.conversions, np.zeros(len(last), np.int64))
        channels, is_first = _distinct(block.channels)
        helped = is_first & (channels != last[:, None])
        self._helped.add(channels[helped], _along(block.conversions, helped), _along(block.micros, helped))

    def add_one(self, journey: Journey, counts: int) -> None:
        channels = [int(touch.channel) for touch in journey.touches]
        if channels:
            self._last.add_one(channels[-1], counts, 0)
            for channel in {*channels} - {channels[-1]}:
                self._helped.add_one(channel, counts, journey.conversion.value_micros)

    def found(self) -> dict[int, Assists]:
        last, helped = self._last.totals(), self._helped.totals()
        none = Total(0.0, 0)
        return {
            channel: Assists(
                round(last.get(channel, none).conversions),
                round(helped.get(channel, none).conversions),
                helped.get(channel, none).value_micros,
            )
            for channel in sorted({*last, *helped})
        }


def allocate_rows(micros: Integers, weights: Integers) -> Integers:
    """Split each value by its row of weights, or by the one row that there is, as ``allocate`` does.

    Values are below 2**50; weights 0 or more and up to 2**52, of at most 1,000 touches, no row all 0.
    """
    totals = weights.sum(axis=-1, keepdims=True)
    amounts = np.abs(micros)[:, None]
    # The quotient in floating point is at most one off; the remainder, modulo 2**64, says which way.
    parts: Integers = np.floor(amounts.astype(np.float64) * weights / totals).astype(np.int64)
    rests = amounts * weights - parts * totals
    low, high = rests < 0, rests >= totals
    parts += high.astype(np.int64) - low
    rests += np.where(low, totals, 0) - np.where(high, totals, 0)
    left = amounts[:, 0] - parts.sum(axis=1)
    open_ = np.flatnonzero(left)
    if len(open_):
        # The largest remainders first; of equal ones the earlier, which a stable sort keeps in front.
        order = np.argsort(-rests[open_], axis=1, kind="stable")
        more = (np.arange(parts.shape[1]) < left[open_][:, None]).astype(np.int64)
        given = np.zeros_like(more)
        np.put_along_axis(given, order, more, axis=1)
        parts[open_] += given
    parts[micros < 0] *= -1
    return parts


def _last_non_direct(block: _Block) -> Integers:
    named = ~block.directs
    from_the_end = named[:, ::-1].argmax(axis=1)
    return np.where(named.any(axis=1), block.length - 1 - from_the_end, block.length - 1)


_PICKS: Mapping[Pick, Callable[[_Block], Integers | None]] = {
    FIRST_TOUCH: lambda block: np.zeros(len(block.micros), np.int64),
    LAST_TOUCH: lambda block: np.full(len(block.micros), block.length - 1, np.int64),
    LAST_NON_DIRECT_TOUCH: _last_non_direct,
    # In a reading the event that converts is no touch.
    SAME_TOUCH: lambda _block: None,
}


def _pick(rule: Any, block: _Block, into: _Sums) -> None:
    at = _PICKS[rule](block)
    if at is None:
        into.add_one(-1, float(block.conversions.sum()), int(block.micros.sum()))
    else:
        into.add(block.channels[np.arange(len(at)), at], block.conversions, block.micros)


def _shape(rule: Any, block: _Block, into: _Sums) -> None:
    _split(block, np.array(rule.shape(block.length), np.int64)[None, :], into)


def _decay(rule: Any, block: _Block, into: _Sums) -> None:
    ages = block.ages_ms - block.ages_ms[:, -1:]
    half_lives = ages * per_millisecond(rule.half_life_days)
    whole = np.floor(half_lives)
    weights = np.ldexp(decayed(half_lives - whole), (52 - whole).astype(np.int32)).astype(np.int64)
    if rule.direct_weight != 1:
        weighed = np.where(block.directs, (weights * rule.direct_weight).astype(np.int64), weights)
        has_named = (~block.directs & (weights > 0)).any(axis=1, keepdims=True)
        weights = np.where(has_named, weighed, weights)
    _split(block, weights, into)


def _split(block: _Block, weights: Integers, into: _Sums) -> None:
    parts = allocate_rows(block.micros, weights)
    shares = np.broadcast_to(weights / weights.sum(axis=1, keepdims=True), parts.shape) * block.conversions[:, None]
    into.add(block.channels.ravel(), shares.ravel(), parts.ravel())


def _participate(_rule: Any, block: _Block, into: _Sums) -> None:
    channels, is_first = _distinct(block.channels)
    into.add(channels[is_first], _along(block.conversions, is_first), _along(block.micros, is_first))


def _along(of_rows: Integers, chosen: Flags) -> Integers:
    """Return what a row has, for each that is chosen of it."""
    return np.broadcast_to(of_rows[:, None], chosen.shape)[chosen]


def _distinct(channels: Integers) -> tuple[Integers, Flags]:
    """Return the channels of each row in order, and which of them are not the same as the one before."""
    ordered = np.sort(channels, axis=1)
    is_first = np.ones(ordered.shape, np.bool_)
    is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return ordered, is_first


def _creditor_of(rule: Rule) -> Callable[[Any, _Block, _Sums], None]:
    match rule:
        case Pick():
            return _pick
        case Linear() | Position():
            return _shape
        case TimeDecay():
            return _decay
        case Participation():
            return _participate
        case _:
            raise TypeError(f"{type(rule).__name__} is no rule over columns")


def _pieces(columns: Columns) -> Iterator[Columns]:
    """Cut what is too long for sums in 64 bits; nothing has no pieces."""
    ends = np.cumsum(columns.counts)
    for first in range(0, len(columns.micros), _MOST_ROWS):
        last = min(first + _MOST_ROWS, len(columns.micros))
        touches = slice(int(ends[first - 1]) if first else 0, int(ends[last - 1]))
        yield Columns(
            columns.micros[first:last],
            columns.counts[first:last],
            columns.channels[touches],
            columns.ages_ms[touches],
            columns.directs[touches],
            columns.conversions[first:last],
        )


def _blocks(columns: Columns) -> Iterator[_Block]:
    """Yield the journeys by their length."""
    firsts = np.cumsum(columns.counts) - columns.counts
    order = np.argsort(columns.counts, kind="stable")
    lengths, begins = np.unique(columns.counts[order], return_index=True)
    for length, rows in zip(lengths.tolist(), np.split(order, begins[1:]), strict=True):
        touches = firsts[rows][:, None] + np.arange(length)
        yield _Block(
            columns.micros[rows],
            columns.channels[touches],
            columns.ages_ms[touches],
            columns.directs[touches],
            columns.conversions[rows],
        )


def _chosen(block: _Block, rows: Flags) -> _Block:
    return _Block(
        block.micros[rows], block.channels[rows], block.ages_ms[rows], block.directs[rows], block.conversions[rows]
    )


def _journeys(block: _Block) -> Iterator[Journey]:
    for row, micros in enumerate(block.micros.tolist()):
        touches = tuple(
            Touch("", -age, str(channel), at, is_direct)
            for at, (channel, age, is_direct) in enumerate(
                zip(
                    block.channels[row].tolist(),
                    block.ages_ms[row].tolist(),
                    block.directs[row].tolist(),
                    strict=True,
                )
            )
        )
        yield Journey(Conversion("", 0, micros), touches)

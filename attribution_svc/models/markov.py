"""Markov removal effects, in closed form.

Paths become a chain from *start* over the channels (order 1) or over pairs of consecutive channels (order 2) to
*conversion* or *null*; transition probabilities are the observed frequencies. The removal effect of a channel is the
part of the conversion probability that is lost when every transition into it goes to null: ``1 - P_without / P``.
Credits are the removal effects divided by their sum.

No simulation, and no solving once per channel. A state is *eliminated* by passing its probabilities on to its
predecessors, divided by the probability of leaving it, which is summed and not subtracted (Grassmann, Taksar and
Heyman): this solves ``(I - Q) x = R`` with no cancellation. When all states but one channel's are gone, the transition
from start straight to conversion *is* the conversion probability without that channel. Halving the channels again and
again shares the eliminations among them: the cost is that of about one dense inversion for all channels together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from attribution_svc.models.paths import Path, shares_of
from svc_runtime.errors import InvalidArgumentError, Violation

MOST_STATES = 600
"""States, without start and the two ends: the cost grows with their cube."""

_START = 0
_CONVERSION, _NULL = 0, 1
_Counts = Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class _Chain:
    """Transition probabilities. Start is the first state."""

    states: list[int]
    """What the rows are, and the columns of ``steps``."""
    steps: npt.NDArray[np.float64]
    """From state to state."""
    ends: npt.NDArray[np.float64]
    """From state to conversion and to null."""


@dataclass(frozen=True, slots=True)
class RemovalEffects:
    """What a chain says."""

    conversion_probability: float
    """Of the whole chain; with null paths this is the observed rate of paths that have a touch."""
    effects: dict[str, float]
    """Channel to removal effect, 0 to 1: 1 where no conversion goes without it."""

    @property
    def shares(self) -> dict[str, float]:
        """Channel to its part of the credit; they add up to 1, or are all 0 where nothing converted."""
        return shares_of(self.effects)


def removal_effects(paths: Iterable[Path], *, order: int = 1, has_nulls: bool = True) -> RemovalEffects:
    """Fit a chain of ``order`` 1 or 2 and return the removal effect of every channel.

    ``has_nulls`` False leaves out paths that did not convert: another variant, with other numbers. Paths without a
    touch are left out: nobody is to be credited for them. Raise InvalidArgumentError for another order and for more
    than 600 states.
    """
    if order not in (1, 2):
        raise InvalidArgumentError.of([Violation("order", f"is {order}, must be 1 or 2")])
    chain, states = _fitted([path for path in paths if path.channels], order, has_nulls=has_nulls)
    channels = sorted(states)
    if not channels:
        return RemovalEffects(0.0, {})
    ways: dict[str, tuple[float, float]] = {}
    _without_each(chain, channels, states, ways)
    probability = sum(ways[channels[0]])
    effects = {
        channel: through / (without + through) if through else 0.0 for channel, (without, through) in ways.items()
    }
    return RemovalEffects(probability, effects)


def _fitted(paths: list[Path], order: int, *, has_nulls: bool) -> tuple[_Chain, dict[str, list[int]]]:
    """Return the chain and the states of each channel: those where it is the latest."""
    counts: defaultdict[tuple[int, int], int] = defaultdict(int)
    ends: defaultdict[tuple[int, int], int] = defaultdict(int)
    numbers: dict[tuple[str, ...], int] = {}
    for path in paths:
        nulls = path.nulls if has_nulls else 0
        walks = path.conversions + nulls
        if not walks:
            continue
        visited = [_START]
        for at in range(len(path.channels)):
            state = path.channels[max(0, at + 1 - order) : at + 1]
            visited.append(numbers.setdefault(state, len(numbers) + 1))
        if len(numbers) > MOST_STATES:
            problem = f"make more than {MOST_STATES} states of order {order}: group rare channels, or use order 1"
            raise InvalidArgumentError.of([Violation("paths", problem)])
        for source, target in pairwise(visited):
            counts[source, target] += walks
        ends[visited[-1], _CONVERSION] += path.conversions
        ends[visited[-1], _NULL] += nulls
    states: defaultdict[str, list[int]] = defaultdict(list)
    for state, number in numbers.items():
        states[state[-1]].append(number)
    return _probabilities(counts, ends, len(numbers) + 1), states


def _probabilities(counts: _Counts, ends: _Counts, size: int) -> _Chain:
    steps, leaving = np.zeros((size, size)), np.zeros((size, 2))
    for place, count in counts.items():
        steps[place] = count
    for place, count in ends.items():
        leaving[place] = count
    walks = steps.sum(axis=1) + leaving.sum(axis=1)
    # Where nobody ever was there is nothing to divide.
    walks[walks == 0] = 1
    return _Chain(list(range(size)), steps / walks[:, None], leaving / walks[:, None])


def _without_each(
    chain: _Chain, channels: list[str], states: dict[str, list[int]], ways: dict[str, tuple[float, float]]
) -> None:
    """Write into ``ways``, for each channel, the probabilities to convert without and through it."""
    if len(channels) == 1:
        ways[channels[0]] = _ways(chain, states[channels[0]])
        return
    half = len(channels) // 2
    for kept, gone in ((channels[:half], channels[half:]), (channels[half:], channels[:half])):
        rest = _eliminated(chain, [state for channel in gone for state in states[channel]])
        _without_each(rest, kept, states, ways)


def _ways(chain: _Chain, states: list[int]) -> tuple[float, float]:
    without = float(chain.ends[_START, _CONVERSION])
    ends = chain.ends.copy()
    ends[_START, _CONVERSION] = 0.0
    through = _eliminated(_Chain(chain.states, chain.steps, ends), states).ends[_START, _CONVERSION]
    return without, float(through)


def _eliminated(chain: _Chain, states: list[int]) -> _Chain:
    """Return the chain that skips ``states``: the same ways, with those in between left out."""
    gone = frozenset(states)
    kept = [at for at, state in enumerate(chain.states) if state not in gone]
    order = [*kept, *(at for at, state in enumerate(chain.states) if state in gone)]
    steps, ends = chain.steps[np.ix_(order, order)], chain.ends[order]
    for last in range(len(order) - 1, len(kept) - 1, -1):
        onward, out = steps[last, :last], ends[last]
        leaving = onward.sum() + out.sum()
        # Nobody leaves a trap, so nobody who enters it converts.
        if leaving:
            entering = steps[:last, last].copy()
            steps[:last, :last] += np.outer(entering, onward / leaving)
            ends[:last] += np.outer(entering, out / leaving)
    left = len(kept)
    return _Chain([chain.states[at] for at in kept], steps[:left, :left], ends[:left])

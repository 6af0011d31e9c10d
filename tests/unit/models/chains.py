"""Independent ways to the numbers of a Markov chain, for the tests of the one that is served."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import lcm

from attribution_svc.models.paths import Path

State = tuple[str, ...]
START: State = ("(start)",)
CONVERSION: State = ("(conversion)",)
NULL: State = ("(null)",)


def solved_effects(paths: Iterable[Path], order: int = 1) -> dict[str, Fraction]:
    """Removal effects by their definition: (I - Q) x = R, solved in fractions once for every channel."""
    counts: defaultdict[State, Counter[State]] = defaultdict(Counter)
    channels: set[str] = set()
    for path in paths:
        if not path.channels or not path.conversions + path.nulls:
            continue
        channels |= set(path.channels)
        states = [START, *(path.channels[max(0, at + 1 - order) : at + 1] for at in range(len(path.channels)))]
        for ends, walks in ((CONVERSION, path.conversions), (NULL, path.nulls)):
            for source, target in pairwise([*states, ends]):
                counts[source][target] += walks
    if not counts:
        return {}
    base = _converting(counts, removed=None)
    return {channel: 1 - _converting(counts, removed=channel) / base if base else Fraction(0) for channel in channels}


def _converting(counts: dict[State, Counter[State]], removed: str | None) -> Fraction:
    states = list(counts)
    rows = []
    for state in states:
        total = sum(counts[state].values())
        row = [Fraction(int(state == other)) for other in states] + [Fraction(counts[state][CONVERSION], total)]
        for at, other in enumerate(states):
            if other[-1] != removed:
                row[at] -= Fraction(counts[state][other], total)
        rows.append(row)
    return _solve(rows)[states.index(START)]


def _solve(rows: list[list[Fraction]]) -> list[Fraction]:
    """Gauss and Jordan, with a pivot."""
    size = len(rows)
    for at in range(size):
        pivot = next(row for row in range(at, size) if rows[row][at])
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [value / rows[at][at] for value in rows[at]]
        for other in range(size):
            if other != at and (factor := rows[other][at]):
                rows[other] = [value - factor * under for value, under in zip(rows[other], rows[at], strict=True)]
    return [row[-1] for row in rows]


def ruin_paths(channels: Sequence[str], start: int, up: Fraction, *, times: int = 1) -> list[Path]:
    """Paths whose observed frequencies are exactly those of a gambler's ruin.

    From ``channels[start]`` a visitor goes up with probability ``up`` and down otherwise; above the last channel is a
    conversion, below the first a null. The counts of transitions are a flow, and are taken apart into walks.
    """
    size = len(channels)
    rows = []
    for at in range(size):
        row = [Fraction(int(at == other)) for other in range(size)] + [Fraction(int(at == start))]
        if at > 0:
            row[at - 1] -= up
        if at < size - 1:
            row[at + 1] -= 1 - up
        rows.append(row)
    visits = _solve(rows)
    scale = times * lcm(*((visit * part).denominator for visit in visits for part in (up, 1 - up)))
    left = {
        at: {at + 1: int(visit * up * scale), at - 1: int(visit * (1 - up) * scale)} for at, visit in enumerate(visits)
    }
    walked: Counter[tuple[tuple[str, ...], bool]] = Counter()
    for walk in _walks(left, start, scale, size):
        walked[tuple(channels[at] for at in walk[:-1]), walk[-1] == size] += 1
    return [Path(walk, int(won) * count, int(not won) * count) for (walk, won), count in walked.items()]


def _walks(left: dict[int, dict[int, int]], start: int, count: int, size: int) -> Iterable[list[int]]:
    """Take the flow apart: circuits that no walk has used yet are put into the first walk that comes by."""
    walks = [_walk(left, start) for _ in range(count)]
    for walk in walks:
        at = 0
        while at < len(walk) - 1:
            while any(left[walk[at]].values()):
                walk[at : at + 1] = _walk(left, walk[at])
            at += 1
    return walks


def _walk(left: dict[int, dict[int, int]], start: int) -> list[int]:
    """Walk until there is no way on: at an end, or back where a circuit began."""
    walk = [start]
    while ways := [target for target, count in left.get(walk[-1], {}).items() if count]:
        left[walk[-1]][ways[0]] -= 1
        walk.append(ways[0])
    return walk

"""Funnels in plain Python, by their definitions: what ClickHouse must agree with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """One event of one actor."""

    at: int
    """Milliseconds."""
    id: str
    fits: frozenset[int]
    """The steps that it is, from 1."""


@dataclass(frozen=True)
class Modes:
    """The flags of a funnel."""

    is_strict_order: bool = False
    is_strict_deduplication: bool = False
    is_strict_increase: bool = False
    is_strict_once: bool = False
    allows_reentry: bool = False


def reached(facts: Sequence[Fact], step_count: int, window: int, modes: Modes) -> int:
    """Return how many steps the actor took."""
    ends_early = modes.is_strict_order or modes.is_strict_deduplication
    if modes.is_strict_once and not ends_early:
        return _longest_chain(facts, step_count, window, rises=modes.is_strict_increase)
    if modes.is_strict_once:
        return _walk_all(facts, step_count, window, modes)
    return _walk(facts, step_count, window, modes)


def _longest_chain(facts: Sequence[Fact], step_count: int, window: int, *, rises: bool) -> int:
    """Look for the longest chain of different events in their order, each the next step, within the window."""
    ordered = sorted((fact for fact in facts if fact.fits), key=lambda fact: (fact.at, min(fact.fits), fact.id))
    best = 0
    for at, first in enumerate(ordered):
        ends = [at] if 1 in first.fits else []
        level = 0
        while ends and level < step_count:
            level += 1
            best = max(best, level)
            ends = [
                later
                for later, fact in enumerate(ordered)
                if level + 1 in fact.fits
                and fact.at - first.at <= window
                and any(_follows(ordered, end, later, rises=rises) for end in ends)
            ]
    return best


def _follows(ordered: Sequence[Fact], end: int, later: int, *, rises: bool) -> bool:
    return ordered[end].at < ordered[later].at if rises else end < later


@dataclass(frozen=True)
class Row:
    """An event as one of the steps that it is; step 0: as none."""

    at: int
    step: int
    id: str


def _rows(facts: Sequence[Fact], modes: Modes) -> Iterator[Row]:
    rows = [Row(fact.at, step, fact.id) for fact in facts for step in fact.fits]
    if modes.is_strict_order:
        rows += [Row(fact.at, 0, fact.id) for fact in facts if not fact.fits]
    return iter(sorted(rows, key=lambda row: (row.at, row.step, row.id)))


def _walk(facts: Sequence[Fact], step_count: int, window: int, modes: Modes) -> int:
    """Go through the events and keep, for each step, when the latest chain that reached it began and took it."""
    chains: dict[int, tuple[int, int]] = {}
    for row in _rows(facts, modes):
        if row.step == 0:
            if chains:
                break
        elif row.step == 1:
            chains[1] = (row.at, row.at)
        elif modes.is_strict_deduplication and row.step in chains:
            break
        elif row.step - 1 not in chains:
            if modes.is_strict_order and chains and not modes.allows_reentry:
                break
        else:
            began, last = chains[row.step - 1]
            if row.at <= began + window and not (modes.is_strict_increase and last >= row.at):
                chains[row.step] = (began, row.at)
    return max(chains, default=0)


def _walk_all(facts: Sequence[Fact], step_count: int, window: int, modes: Modes) -> int:
    """Go through the events and keep, for each step, every chain of different events that reached it."""
    chains: dict[int, list[tuple[Row, ...]]] = {}
    for row in _rows(facts, modes):
        if row.step == 0:
            if chains:
                break
        elif row.step == 1:
            chains.setdefault(1, []).append((row,))
        elif modes.is_strict_deduplication and row.step in chains:
            break
        elif row.step - 1 not in chains:
            if modes.is_strict_order and chains and not modes.allows_reentry:
                break
        else:
            longer = [
                (*chain, row)
                for chain in chains[row.step - 1]
                if row.at <= chain[0].at + window
                and all(row.id != taken.id for taken in chain)
                and not (modes.is_strict_increase and chain[-1].at >= row.at)
            ]
            if longer:
                chains.setdefault(row.step, []).extend(longer)
                if row.step == step_count:
                    break
    return max(chains, default=0)

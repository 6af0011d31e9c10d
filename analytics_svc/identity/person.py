"""Persons: the ends that hang together by active edges. A function of the set of edges and decisions. Pure.

An edge is active where nobody revoked it, nor one of its ends, and neither end is suspicious: has more than so many
neighbours of one kind that a person has few of, over edges that nobody revoked.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from analytics_svc.identity.end import OF_PEOPLE, Edge, End, EndKind, person_id_of

DEFAULT_MOST_NEIGHBOURS = 50
"""A browser that drops cookies after a week gives one person fifty a year."""
MOST_VISITORS = 1_000
MOST_ENDS = 5_000
"""More than these hang together where something is wrong: nobody is one person with any of them."""


@dataclass(frozen=True, slots=True)
class Link:
    """An edge, and what is known of it."""

    edge: Edge
    first_time: datetime
    last_time: datetime
    event_id: str
    """The first event that named both ends."""
    is_revoked: bool = False
    is_suspicious: bool = False

    @property
    def is_active(self) -> bool:
        """It joins its ends."""
        return not (self.is_revoked or self.is_suspicious)

    def far(self, end: End) -> End:
        """Return the end that is not this one."""
        return self.edge.other if end == self.edge.one else self.edge.one


@dataclass(frozen=True, slots=True)
class Person:
    """Ends that are one."""

    ends: tuple[End, ...]
    """In their order."""
    links: tuple[Link, ...] = ()
    """At these ends, also those that join nothing; in the order of their edges."""
    is_melted: bool = False
    """So many hang together that it is nobody: the ends are those asked for alone."""

    @property
    def person_id(self) -> str:
        """Its id; empty where there is nobody."""
        return person_id_of(self.ends)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Its visitors."""
        return self._values(EndKind.VISITOR)

    @property
    def event_ids(self) -> tuple[str, ...]:
        """Conversions that none of its visitors sent."""
        return self._values(EndKind.EVENT)

    def _values(self, kind: EndKind) -> tuple[str, ...]:
        return tuple(end.value for end in self.ends if end.kind is kind)


class Walk:
    """Finds a person from some of its ends, one step at a time.

    ``frontier`` are ends whose links are to be told to ``step``, all of them but for what exceeds ``MOST_ENDS`` of a
    kind; until it is empty.
    """

    def __init__(self, starts: Iterable[End], *, most_neighbours: int) -> None:
        self._starts = tuple(sorted(set(starts)))
        self._most_neighbours = most_neighbours
        self._links: dict[Edge, Link] = {}
        self._suspicious: set[End] = set()
        self._seen: set[End] = set(self._starts)
        self._members: set[End] = set()
        self._is_melted = False
        self.frontier: Sequence[End] = self._starts

    def step(self, links: Iterable[Link]) -> None:
        """Take the links of the frontier, and go on to the ends behind them."""
        by_end: dict[End, set[Link]] = {end: set() for end in self.frontier}
        for link in links:
            self._links[link.edge] = link
            for end in (link.edge.one, link.edge.other):
                if end in by_end:
                    by_end[end].add(link)
        found: set[End] = set()
        for end, own in by_end.items():
            reachable = {link.far(end) for link in own if not link.is_revoked}
            if is_suspicious(reachable, self._most_neighbours):
                self._suspicious.add(end)
            else:
                found.update(reachable)
                self._members.add(end)
        self.frontier = sorted(found - self._seen)
        self._seen |= found
        if self._is_too_large():
            self._is_melted, self.frontier = True, ()

    def person(self) -> Person:
        """Return who was found, when the frontier is empty: who has one suspicious end is that end alone."""
        is_alone = self._is_melted or (not self._members and len(self._starts) == 1)
        own = set(self._starts) if is_alone else self._members
        links = [
            replace(link, is_suspicious=not self._suspicious.isdisjoint((link.edge.one, link.edge.other)))
            for edge, link in sorted(self._links.items(), key=lambda item: (item[0].one, item[0].other))
            if edge.one in own or edge.other in own
        ]
        return Person(tuple(sorted(own)), tuple(links), self._is_melted)

    def _is_too_large(self) -> bool:
        visitor_count = sum(end.kind is EndKind.VISITOR for end in self._members)
        return len(self._members) > MOST_ENDS or visitor_count > MOST_VISITORS


def is_suspicious(neighbours: Iterable[End], most_neighbours: int) -> bool:
    """Tell whether these are more neighbours than one person's end can have."""
    counts = Counter(end.kind for end in neighbours)
    return any(counts[kind] > most_neighbours for kind in OF_PEOPLE)

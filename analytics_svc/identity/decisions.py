"""Revoking and restoring: a decision about an edge or an end, which can always be taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from analytics_svc.identity.end import Edge, End, end_of_value_id, value_id
from analytics_svc.identity.people import People
from analytics_svc.identity.person import Person
from analytics_svc.store import Decision, DecisionStore, DecisionTarget
from svc_runtime.clock import Clock
from svc_runtime.errors import NotFoundError

_MOST_NEIGHBOURS_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Named:
    """What a caller's id names: an edge or an end."""

    edge: Edge | None
    end: End | None

    @classmethod
    def of(cls, text: str) -> Self:
        """Read an id. Raise NotFoundError for what is none."""
        try:
            return cls(Edge.of_id(text), None) if text.startswith("edg_") else cls(None, end_of_value_id(text))
        except ValueError:
            raise _not_found() from None

    @property
    def target(self) -> DecisionTarget:
        """As the store names it."""
        return DecisionTarget(str(self.edge.one), str(self.edge.other)) if self.edge else DecisionTarget(str(self.end))

    @property
    def identity_id(self) -> str:
        """As callers name it."""
        if self.edge:
            return self.edge.edge_id
        return value_id(self.end) if self.end else ""

    def covers(self, edge: Edge) -> bool:
        """Tell whether it stands for this edge."""
        return edge == self.edge if self.edge else self.end in (edge.one, edge.other)


@dataclass(frozen=True, slots=True)
class Preview:
    """What revoking would change."""

    before: Sequence[Person]
    after: Sequence[Person]
    conversion_count: int


class Decisions:
    """Decides about edges. Errors are those of ``ReadingReader.rows`` and of the store."""

    def __init__(self, people: People, store: DecisionStore, *, clock: Clock) -> None:
        self._people = people
        self._store = store
        self._clock = clock

    async def decide(self, organization_id: str, text: str, *, is_revoked: bool, actor: str) -> Decision:
        """Revoke or restore what an id names. Raise NotFoundError for what was never there."""
        named = Named.of(text)
        await self._neighbours(organization_id, named)
        return await self._store.decide(
            organization_id, named.target, is_revoked=is_revoked, actor=actor, now=self._clock.now()
        )

    async def preview(self, organization_id: str, text: str) -> Preview:
        """Say what revoking would change. Raise NotFoundError for what was never there."""
        named = Named.of(text)
        starts = await self._neighbours(organization_id, named)
        before = await self._persons(organization_id, starts, None)
        after = await self._persons(organization_id, starts, named)
        kept = {person.ends for person in after}
        changed = [person for person in before if person.ends not in kept]
        return Preview(before, after, await self._people.conversion_count(organization_id, changed))

    async def _persons(self, organization_id: str, starts: Sequence[End], without: Named | None) -> list[Person]:
        persons: list[Person] = []
        covered: set[End] = set()
        for start in starts:
            if start not in covered:
                person = await self._people.person_of(
                    organization_id, [start], is_left_out=without.covers if without else None
                )
                covered.update(person.ends)
                persons.append(person)
        return persons

    async def _neighbours(self, organization_id: str, named: Named) -> list[End]:
        """Return the ends whose persons may change: of an edge its ends, of an end those that it meets, and itself."""
        end = named.end or (named.edge.one if named.edge else None)
        links = await self._people.links(organization_id, end) if end else []
        links = [link for link in links if named.covers(link.edge)]
        if end is None or not links:
            raise _not_found()
        found = [end, *sorted({link.far(end) for link in links if not link.is_revoked})]
        return found[: _MOST_NEIGHBOURS_LOOKED_AT + 1]


def _not_found() -> NotFoundError:
    return NotFoundError("there is no edge or value of this id")

"""Finding persons in the reading."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from analytics_svc.identity import statements
from analytics_svc.identity.end import Edge, End, EndHasher, EndKind, end_of_person, is_known_visitor
from analytics_svc.identity.person import DEFAULT_MOST_NEIGHBOURS, Link, Person, Walk
from analytics_svc.store import ReadingReader
from svc_runtime.errors import NotFoundError

_MOST_ENDS_ASKED = 2_000


@dataclass(frozen=True, slots=True)
class Device:
    """What a visitor used last."""

    user_id: str
    device_type: str
    os: str
    browser: str
    first_time: datetime
    last_time: datetime
    event_count: int


@dataclass(frozen=True, slots=True)
class SuspiciousEnd:
    """An end that joins nobody."""

    end: End
    neighbour_kind: EndKind
    neighbour_count: int
    first_time: datetime
    last_time: datetime
    event_id: str


class People:
    """Asks who is one person. Errors are those of ``ReadingReader.rows``."""

    def __init__(
        self, reader: ReadingReader, hasher: EndHasher, *, most_neighbours: int = DEFAULT_MOST_NEIGHBOURS
    ) -> None:
        self._reader = reader
        self.hasher = hasher
        self.most_neighbours = most_neighbours

    async def person_of(
        self,
        organization_id: str,
        starts: Iterable[End],
        *,
        as_of: datetime | None = None,
        is_left_out: Callable[[Edge], bool] | None = None,
    ) -> Person:
        """Return the person of these ends, taken for one; as if the edges that are ``is_left_out`` were revoked."""
        (person,) = await self.persons_of(organization_id, [starts], as_of=as_of, is_left_out=is_left_out)
        return person

    async def persons_of(
        self,
        organization_id: str,
        starts: Iterable[Iterable[End]],
        *,
        as_of: datetime | None = None,
        is_left_out: Callable[[Edge], bool] | None = None,
    ) -> list[Person]:
        """Do the same for many, with as few questions as the longest of the walks needs."""
        walks = [Walk(own, most_neighbours=self.most_neighbours) for own in starts]
        while frontier := sorted({end for walk in walks for end in walk.frontier}):
            by_end: dict[End, list[Link]] = {end: [] for end in frontier}
            for start in range(0, len(frontier), _MOST_ENDS_ASKED):
                asked = frontier[start : start + _MOST_ENDS_ASKED]
                for link in await self.links(organization_id, *asked, as_of=as_of):
                    if is_left_out:
                        link = replace(link, is_revoked=link.is_revoked or is_left_out(link.edge))
                    for end in (link.edge.one, link.edge.other):
                        if end in by_end:
                            by_end[end].append(link)
            for walk in walks:
                if walk.frontier:
                    walk.step([link for end in walk.frontier for link in by_end[end]])
        return [walk.person() for walk in walks]

    async def links(self, organization_id: str, *ends: End, as_of: datetime | None = None) -> list[Link]:
        """Return the links of ends; an edge between two of them comes twice."""
        statement = statements.compile_links(
            organization_id, ends, edition=self.hasher.edition, most_neighbours=self.most_neighbours, as_of=as_of
        )
        return statements.links_of(await self._reader.rows(statement))

    async def conversion_count(self, organization_id: str, persons: Iterable[Person]) -> int:
        """Count the conversions of persons."""
        found = list(persons)
        user_ids = sorted({user_id for person in found for user_id in person.user_ids})
        event_ids = sorted({event_id for person in found for event_id in person.event_ids})
        if not user_ids and not event_ids:
            return 0
        statement = statements.compile_conversion_count(organization_id, user_ids, event_ids)
        rows = await self._reader.rows(statement)
        return int(rows.rows[0][0])

    async def person_of_visitor(self, organization_id: str, user_id: str, *, as_of: datetime | None = None) -> Person:
        """Return the person of a visitor; a visitor who is told by address and browser alone is nobody else."""
        end = End(EndKind.VISITOR, user_id)
        if not is_known_visitor(user_id):
            return Person((end,))
        return await self.person_of(organization_id, [end], as_of=as_of)

    async def find(
        self, organization_id: str, text: str, *, as_of: datetime | None = None
    ) -> tuple[Person, Sequence[Device]]:
        """Return the person with an id, or of the visitor with it, and what its visitors used.

        Raise NotFoundError where there is neither an edge nor an event.
        """
        try:
            end = end_of_person(text)
        except ValueError:
            raise _not_found() from None
        person = await self.person_of(organization_id, [end], as_of=as_of)
        devices = await self._devices(organization_id, person.user_ids)
        if not devices and not person.links:
            raise _not_found()
        return person, devices

    async def suspicious(self, organization_id: str, kind: EndKind | None, *, limit: int) -> list[SuspiciousEnd]:
        """Return the ends that join nobody, those with the most neighbours first."""
        statement = statements.compile_suspicious(
            organization_id, kind, edition=self.hasher.edition, most_neighbours=self.most_neighbours, limit=limit
        )
        return [
            SuspiciousEnd(End.of(side), EndKind(neighbours), count, _instant(first), _instant(last), event_id)
            for side, neighbours, count, first, event_id, last in (await self._reader.rows(statement)).rows
        ]

    async def _devices(self, organization_id: str, user_ids: Sequence[str]) -> list[Device]:
        if not user_ids:
            return []
        rows = await self._reader.rows(statements.compile_devices(organization_id, user_ids))
        return [
            Device(user_id, device_type, os, browser, _instant(first), _instant(last), count)
            for user_id, (device_type, os, browser), first, last, count in rows.rows
        ]


def _not_found() -> NotFoundError:
    return NotFoundError("there is no visitor or person of this id")


def _instant(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)

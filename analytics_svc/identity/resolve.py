"""Who stands behind an event, by what it names, and the click that may have led to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from analytics_svc.behavior.journey import Touch, touch_of
from analytics_svc.identity import statements
from analytics_svc.identity.end import End, EndKind, is_known_visitor
from analytics_svc.identity.people import People
from analytics_svc.identity.person import Person
from analytics_svc.store import ReadingReader
from enrichment.identities import read_identifiers


@dataclass(frozen=True, slots=True)
class EventNames:
    """What an event names."""

    organization_id: str
    user_id: str
    parameters: Mapping[str, str]
    order_id: str
    after: datetime
    before: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """Who it is."""

    person: Person
    last_click: Touch | None


class Resolver:
    """Finds persons for whoever matches conversions. Errors are those of ``ReadingReader.rows``."""

    def __init__(self, reader: ReadingReader, people: People) -> None:
        self._reader = reader
        self._people = people

    async def resolve(self, names: EventNames) -> Resolved:
        """Return the person of an event and its last click in time; nobody where the event names nobody known."""
        person = await self._people.person_of(names.organization_id, self._starts(names))
        if not person.user_ids:
            return Resolved(Person((), is_melted=person.is_melted), None)
        statement = statements.compile_last_click(
            names.organization_id, person.user_ids, after=names.after, before=names.before
        )
        rows = (await self._reader.rows(statement)).rows
        return Resolved(person, touch_of(rows[0]) if rows else None)

    def _starts(self, names: EventNames) -> list[End]:
        pairs = [(name.encode(), value.encode()) for name, value in names.parameters.items()]
        ends = self._people.hasher.ends(names.organization_id, read_identifiers(pairs), names.order_id)
        if is_known_visitor(names.user_id):
            ends.append(End(EndKind.VISITOR, names.user_id))
        return ends

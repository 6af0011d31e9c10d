"""Who stands behind an event, by what it names, and the click that may have led to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from analytics_svc.behavior.journey import Touch, touch_of
from analytics_svc.identity import statements
from analytics_svc.identity.end import End, EndKind, is_known_visitor
from analytics_svc.identity.people import People
from analytics_svc.identity.person import Person
from analytics_svc.store import ReadingReader
from enrichment.identities import read_identifiers

_MOST_VISITORS_ASKED = 400


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
class EventQuestion:
    """An event that the reading has, and when the click behind it may have been."""

    organization_id: str
    event_id: str
    user_id: str
    after: datetime
    before: datetime


@dataclass(frozen=True, slots=True)
class PersonClick:
    """The last click of a person."""

    user_id: str
    event_time: datetime
    event_id: str
    click_id: str
    external_click_id: str
    campaign_id: str


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

    async def clicks(self, questions: Sequence[EventQuestion]) -> list[tuple[Person, PersonClick | None]]:
        """Return, of each event in order, its person and the last click of that person in its time."""
        answers: dict[int, tuple[Person, PersonClick | None]] = {}
        for organization_id in sorted({question.organization_id for question in questions}):
            own = [(at, each) for at, each in enumerate(questions) if each.organization_id == organization_id]
            starts = [self._ends_of(question) for _, question in own]
            persons = await self._people.persons_of(organization_id, starts)
            clicks = await self._clicks(organization_id, [question for _, question in own], persons)
            for (at, question), person in zip(own, persons, strict=True):
                answers[at] = (person, _last(clicks, person, question))
        return [answers[at] for at in range(len(questions))]

    @staticmethod
    def _ends_of(question: EventQuestion) -> list[End]:
        ends = [End(EndKind.EVENT, question.event_id)]
        if is_known_visitor(question.user_id):
            ends.append(End(EndKind.VISITOR, question.user_id))
        return ends

    async def _clicks(
        self, organization_id: str, questions: Sequence[EventQuestion], persons: Sequence[Person]
    ) -> dict[str, list[PersonClick]]:
        user_ids = sorted({user_id for person in persons for user_id in person.user_ids})
        found: dict[str, list[PersonClick]] = {user_id: [] for user_id in user_ids}
        after = min(question.after for question in questions)
        before = max(question.before for question in questions)
        for start in range(0, len(user_ids), _MOST_VISITORS_ASKED):
            asked = user_ids[start : start + _MOST_VISITORS_ASKED]
            statement = statements.compile_clicks(organization_id, asked, after=after, before=before)
            for user_id, at_ms, *rest in (await self._reader.rows(statement)).rows:
                at = datetime.fromtimestamp(at_ms / 1000, UTC)
                found[user_id].append(PersonClick(user_id, at, *rest))
        return found

    def _starts(self, names: EventNames) -> list[End]:
        pairs = [(name.encode(), value.encode()) for name, value in names.parameters.items()]
        ends = self._people.hasher.ends(names.organization_id, read_identifiers(pairs), names.order_id)
        if is_known_visitor(names.user_id):
            ends.append(End(EndKind.VISITOR, names.user_id))
        return ends


def _last(clicks: Mapping[str, Sequence[PersonClick]], person: Person, question: EventQuestion) -> PersonClick | None:
    in_time = [
        click
        for user_id in person.user_ids
        for click in clicks[user_id]
        if question.after <= click.event_time < question.before
    ]
    return max(in_time, key=lambda click: (click.event_time, click.event_id), default=None)

"""Persons, edges and decisions between the contract and ours."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from analytics_svc.convert.behavior_answers import touch_to_pb
from analytics_svc.convert.slices import instant_from_pb
from analytics_svc.identity.decisions import Named, Preview
from analytics_svc.identity.end import End, EndKind, value_id
from analytics_svc.identity.people import Device, SuspiciousEnd
from analytics_svc.identity.person import Link, Person
from analytics_svc.identity.resolve import EventNames, EventQuestion, PersonClick, Resolved
from analytics_svc.store import Decision
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.paging import check_page_size
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import identity_service_pb2 as pb

LONGEST_ID = 4096
MOST_PARAMETERS = 1_000
MOST_QUESTIONS = 200
DEFAULT_LOOKBACK = timedelta(days=90)
_KINDS = {
    EndKind.VISITOR: pb.END_KIND_VISITOR,
    EndKind.LOGIN: pb.END_KIND_LOGIN,
    EndKind.EMAIL: pb.END_KIND_EMAIL,
    EndKind.ORDER: pb.END_KIND_ORDER,
    EndKind.CLICK: pb.END_KIND_CLICK,
    EndKind.EVENT: pb.END_KIND_EVENT,
}
_OUR_KINDS = {number: kind for kind, number in _KINDS.items()}


def person_from_pb(request: pb.GetPersonRequest) -> tuple[str, datetime | None]:
    """Read who is asked for, and as of when. Raise InvalidArgumentError."""
    if problem := _id_problem(request.id):
        raise InvalidArgumentError.of([Violation("id", problem)])
    return request.id, instant_from_pb(request.as_of_time) if request.HasField("as_of_time") else None


def suspicious_from_pb(request: pb.ListSuspiciousEndsRequest) -> tuple[EndKind | None, int]:
    """Read which ends are asked for, and how many. Raise InvalidArgumentError."""
    if request.kind and request.kind not in _OUR_KINDS:
        names = ", ".join(pb.EndKind.keys()[1:])
        raise InvalidArgumentError.of([Violation("kind", f"there is no kind {request.kind}; there are {names}")])
    return _OUR_KINDS.get(request.kind), check_page_size(request.page_size)


def named_from_pb(text: str) -> str:
    """Read the id of an edge or an end. Raise InvalidArgumentError."""
    if problem := _id_problem(text):
        raise InvalidArgumentError.of([Violation("id", problem)])
    return text


def _id_problem(text: str) -> str:
    if not text:
        return "is required"
    return f"has {len(text)} characters; the limit is {LONGEST_ID}" if len(text) > LONGEST_ID else ""


def names_from_pb(request: pb.ResolveIdentityRequest) -> EventNames:
    """Read what an event names. Raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    if not request.organization_id:
        violations.append(Violation("organization_id", "is required"))
    if not request.HasField("before_time"):
        violations.append(Violation("before_time", "is required"))
    if len(request.parameters) > MOST_PARAMETERS:
        violations.append(Violation("parameters", f"has {len(request.parameters)}; the limit is {MOST_PARAMETERS}"))
    before = instant_from_pb(request.before_time)
    if not request.HasField("after_time"):
        after = before - DEFAULT_LOOKBACK if request.HasField("before_time") else before
    else:
        after = instant_from_pb(request.after_time)
        if after >= before:
            violations.append(Violation("after_time", f"is {after:%FT%TZ}, not before before_time {before:%FT%TZ}"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return EventNames(
        request.organization_id, request.user_id, dict(request.parameters), request.order_id, after, before
    )


def questions_from_pb(request: pb.FindPersonClicksRequest) -> list[EventQuestion]:
    """Read which events are asked about. Raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    if len(request.questions) > MOST_QUESTIONS:
        violations.append(Violation("questions", f"has {len(request.questions)}; the limit is {MOST_QUESTIONS}"))
    questions = []
    for at, asked in enumerate(request.questions):
        path = f"questions[{at}]"
        missing = [name for name in ("organization_id", "event_id") if not getattr(asked, name)]
        violations += [Violation(f"{path}.{name}", "is required") for name in missing]
        if not asked.HasField("before_time"):
            violations.append(Violation(f"{path}.before_time", "is required"))
            continue
        before = instant_from_pb(asked.before_time)
        after = instant_from_pb(asked.after_time) if asked.HasField("after_time") else before - DEFAULT_LOOKBACK
        if after >= before:
            violations.append(Violation(f"{path}.after_time", f"is {after:%FT%TZ}, not before {before:%FT%TZ}"))
        questions.append(EventQuestion(asked.organization_id, asked.event_id, asked.user_id, after, before))
    if violations:
        raise InvalidArgumentError.of(violations)
    return questions


def clicks_to_pb(found: Sequence[tuple[Person, PersonClick | None]]) -> pb.FindPersonClicksResponse:
    """Write the last clicks of persons."""
    response = pb.FindPersonClicksResponse()
    for person, click in found:
        told = response.found.add(person_id=person.person_id if person.user_ids else "")
        if click:
            told.user_id = click.user_id
            told.click.event_id, told.click.click_id = click.event_id, click.click_id
            told.click.event_time.FromDatetime(click.event_time)
            told.click.external_click_id, told.click.campaign_id = click.external_click_id, click.campaign_id
    return response


def person_to_pb(person: Person, devices: Sequence[Device], edition: str) -> pb.Person:
    """Write a person."""
    return pb.Person(
        person_id=person.person_id,
        user_ids=person.user_ids,
        ends=[_end_to_pb(end) for end in person.ends if end.kind is not EndKind.VISITOR],
        edges=[_edge_to_pb(link, edition) for link in person.links],
        devices=[
            pb.IdentityDevice(
                user_id=device.user_id,
                device_type=device.device_type,
                os=device.os,
                browser=device.browser,
                first_time=timestamp_of(device.first_time),
                last_time=timestamp_of(device.last_time),
                event_count=device.event_count,
            )
            for device in devices
        ],
        is_melted=person.is_melted,
    )


def preview_to_pb(preview: Preview) -> pb.PreviewRevocationResponse:
    """Write what would change."""
    return pb.PreviewRevocationResponse(
        before=[_without_edges(person) for person in preview.before],
        after=[_without_edges(person) for person in preview.after],
        conversion_count=preview.conversion_count,
    )


def _without_edges(person: Person) -> pb.Person:
    shown = person_to_pb(person, (), "")
    shown.ClearField("edges")
    return shown


def _edge_to_pb(link: Link, edition: str) -> pb.IdentityEdge:
    return pb.IdentityEdge(
        edge_id=link.edge.edge_id,
        one=_end_to_pb(link.edge.one),
        other=_end_to_pb(link.edge.other),
        first_time=timestamp_of(link.first_time),
        last_time=timestamp_of(link.last_time),
        event_id=link.event_id,
        is_active=link.is_active,
        is_revoked=link.is_revoked,
        is_suspicious=link.is_suspicious,
        edition=edition,
    )


def _end_to_pb(end: End) -> pb.End:
    return pb.End(kind=_KINDS[end.kind], value=end.value, value_id=value_id(end))


def suspicious_to_pb(found: Sequence[SuspiciousEnd], limit: int) -> pb.ListSuspiciousEndsResponse:
    """Write the ends that join nobody."""
    return pb.ListSuspiciousEndsResponse(
        ends=[
            pb.SuspiciousEnd(
                end=_end_to_pb(one.end),
                neighbour_kind=_KINDS[one.neighbour_kind],
                neighbour_count=one.neighbour_count,
                first_time=timestamp_of(one.first_time),
                last_time=timestamp_of(one.last_time),
                event_id=one.event_id,
            )
            for one in found
        ],
        limit=limit,
    )


def decision_to_pb(text: str, decision: Decision) -> pb.IdentityDecision:
    """Write a decision about what an id names."""
    return pb.IdentityDecision(
        id=Named.of(text).identity_id,
        revision=decision.revision,
        is_revoked=decision.is_revoked,
        actor=decision.actor,
        decide_time=timestamp_of(decision.decide_time),
    )


def resolved_to_pb(resolved: Resolved) -> pb.ResolveIdentityResponse:
    """Write who it is."""
    person, click = resolved.person, resolved.last_click
    return pb.ResolveIdentityResponse(
        person_id=person.person_id,
        user_ids=person.user_ids,
        last_touch=touch_to_pb(click) if click else None,
        touch_user_id=click.user_id if click else "",
        is_melted=person.is_melted,
    )

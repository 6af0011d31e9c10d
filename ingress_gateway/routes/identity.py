"""``/api/v1/identity``: which visitors are one person, why, and taking it back."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from svc_runtime.errors import NotFoundError
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import identity_service_pb2 as pb

KINDS: Mapping[str, "pb.EndKind.ValueType"] = {
    "visitor": pb.END_KIND_VISITOR,
    "login": pb.END_KIND_LOGIN,
    "email": pb.END_KIND_EMAIL,
    "order": pb.END_KIND_ORDER,
    "click": pb.END_KIND_CLICK,
    "event": pb.END_KIND_EVENT,
}
_NAMES = {number: name for name, number in KINDS.items()}


async def get_person(call: Call) -> web.StreamResponse:
    """Return the person of a visitor."""
    api = ApiCall(call, "analytics:read")
    with api.query() as given:
        request = pb.GetPersonRequest(id=api.path("id"), as_of_time=timestamp_of(given.instant("as_of")))
    found = await api.ask(api.identity.GetPerson, request, seconds=_query_seconds(api))
    return respond_json(_person(found.person))


async def list_suspicious(call: Call) -> web.StreamResponse:
    """Return the values that join nobody."""
    api = ApiCall(call, "analytics:read")
    with api.query() as given:
        request = pb.ListSuspiciousEndsRequest(
            kind=given.choice("kind", KINDS) or pb.END_KIND_UNSPECIFIED, page_size=given.page_size()
        )
    found = await api.ask(api.identity.ListSuspiciousEnds, request, seconds=_query_seconds(api))
    return respond_json({"values": list(map(_suspicious, found.ends)), "limit": found.limit})


async def revoke_edge(call: Call) -> web.StreamResponse:
    """Revoke an edge; with ``dry_run`` say what that would change."""
    return await _decide(call, "edge_id", "edg_", is_revoked=True)


async def restore_edge(call: Call) -> web.StreamResponse:
    """Restore an edge."""
    return await _decide(call, "edge_id", "edg_", is_revoked=False)


async def revoke_value(call: Call) -> web.StreamResponse:
    """Revoke a value with all of its edges; with ``dry_run`` say what that would change."""
    return await _decide(call, "value_id", "val_", is_revoked=True)


async def restore_value(call: Call) -> web.StreamResponse:
    """Restore a value."""
    return await _decide(call, "value_id", "val_", is_revoked=False)


async def _decide(call: Call, name: str, prefix: str, *, is_revoked: bool) -> web.StreamResponse:
    api = ApiCall(call, "analytics:write")
    with await api.body(is_optional=True) as given:
        text = api.path(name)
        is_dry_run = is_revoked and given.flag("dry_run")
    if not text.startswith(prefix):
        raise NotFoundError("there is no edge or value of this id")
    if is_dry_run:
        preview = await api.ask(
            api.identity.PreviewRevocation, pb.PreviewRevocationRequest(id=text), seconds=_query_seconds(api)
        )
        return respond_json(
            {
                "before": list(map(_members, preview.before)),
                "after": list(map(_members, preview.after)),
                "conversion_count": preview.conversion_count,
            }
        )
    request = pb.DecideIdentityRequest(id=text, is_revoked=is_revoked)
    made = await api.ask(api.identity.DecideIdentity, request, seconds=_query_seconds(api))
    return respond_json(_decision(made.decision))


def _query_seconds(api: ApiCall) -> float:
    """Return how long a call may take that reads events."""
    return api.call.gateway.settings.query_seconds


def _person(person: pb.Person) -> dict[str, Any]:
    return {
        **_members(person),
        "edges": [
            {
                "edge_id": edge.edge_id,
                "ends": [_end(edge.one), _end(edge.other)],
                "first_time": timestamp_text(edge.first_time),
                "last_time": timestamp_text(edge.last_time),
                "event_id": edge.event_id,
                "is_active": edge.is_active,
                "is_revoked": edge.is_revoked,
                "is_suspicious": edge.is_suspicious,
                "edition": edge.edition,
            }
            for edge in person.edges
        ],
        "devices": [
            {
                "user_id": device.user_id,
                "device_type": device.device_type,
                "os": device.os,
                "browser": device.browser,
                "first_time": timestamp_text(device.first_time),
                "last_time": timestamp_text(device.last_time),
                "event_count": device.event_count,
            }
            for device in person.devices
        ],
    }


def _members(person: pb.Person) -> dict[str, Any]:
    return {
        "person_id": person.person_id,
        "user_ids": list(person.user_ids),
        "ends": list(map(_end, person.ends)),
        "is_melted": person.is_melted,
    }


def _end(end: pb.End) -> dict[str, Any]:
    return {"kind": _NAMES[end.kind], "value": end.value, "value_id": end.value_id}


def _suspicious(found: pb.SuspiciousEnd) -> dict[str, Any]:
    return {
        **_end(found.end),
        "neighbour_kind": _NAMES[found.neighbour_kind],
        "neighbour_count": found.neighbour_count,
        "first_time": timestamp_text(found.first_time),
        "last_time": timestamp_text(found.last_time),
        "event_id": found.event_id,
    }


def _decision(decision: pb.IdentityDecision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "revision": decision.revision,
        "is_revoked": decision.is_revoked,
        "actor": decision.actor,
        "decide_time": timestamp_text(decision.decide_time) if decision.HasField("decide_time") else None,
    }

"""``/api/v1/mappings``: what an organisation's senders mean by their parameters, over history too."""

import re
from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.operations import operation_view
from svc_runtime.errors import NotFoundError
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import projection_service_pb2 as pb

_VERSION = re.compile(r"[0-9]{1,10}")
_LARGEST_VERSION = 2**32 - 1


async def list_mappings(call: Call) -> web.StreamResponse:
    """Return a page of mappings, newest first, each in its current version."""
    api = ApiCall(call, "analytics:read")
    with api.query() as given:
        request = pb.ListMappingsRequest(page_size=given.page_size(), page_token=given.page_token())
    page = await api.ask(api.projection.ListMappings, request)
    return respond_json({"mappings": list(map(_mapping, page.mappings)), "next_page_token": page.next_page_token})


async def get_mapping(call: Call) -> web.StreamResponse:
    """Return the versions of a mapping, newest first."""
    api = ApiCall(call, "analytics:read")
    with api.query():
        request = pb.GetMappingRequest(mapping_id=api.path("mapping_id"))
    found = await api.ask(api.projection.GetMapping, request)
    return respond_json({"mapping_id": request.mapping_id, "versions": list(map(_mapping, found.versions))})


async def create_mapping(call: Call) -> web.StreamResponse:
    """Make a mapping and apply it; with ``dry_run`` say what it would change."""
    api = ApiCall(call, "analytics:write")
    with await api.body() as given:
        mapping, is_dry_run = _wanted(given), given.flag("dry_run")
    return await _preview(api, mapping) if is_dry_run else await _apply(api, mapping)


async def change_mapping(call: Call) -> web.StreamResponse:
    """Make another version of a mapping and apply it; with ``dry_run`` say what it would change."""
    api = ApiCall(call, "analytics:write")
    with await api.body() as given:
        mapping, is_dry_run = _wanted(given, mapping_id=api.path("mapping_id")), given.flag("dry_run")
    return await _preview(api, mapping) if is_dry_run else await _apply(api, mapping)


async def activate_version(call: Call) -> web.StreamResponse:
    """Let a version hold, 0 for none, over history too."""
    api = ApiCall(call, "analytics:write")
    with await api.body(is_optional=True):
        request = pb.ActivateMappingVersionRequest(
            mapping_id=api.path("mapping_id"), version=_version(api.path("version"))
        )
    made = await api.ask(api.projection.ActivateMappingVersion, request, seconds=_query_seconds(api))
    return _accepted({"operation": operation_view(made.operation)}, made.operation)


async def _preview(api: ApiCall, mapping: pb.Mapping) -> web.Response:
    request = pb.PreviewMappingRequest(mapping=mapping)
    preview = await api.ask(api.projection.PreviewMapping, request, seconds=_query_seconds(api))
    return respond_json(
        {
            "matched_count": preview.matched_count,
            "changed_count": preview.changed_count,
            "months": [
                {"month": month.month, "matched_count": month.matched_count, "changed_count": month.changed_count}
                for month in preview.months
            ],
            "samples": [
                {
                    "event_id": sample.event_id,
                    "event_time": timestamp_text(sample.event_time),
                    "before": dict(sample.before),
                    "after": dict(sample.after),
                }
                for sample in preview.samples
            ],
        }
    )


async def _apply(api: ApiCall, mapping: pb.Mapping) -> web.Response:
    request = pb.ApplyMappingRequest(mapping=mapping)
    made = await api.ask(api.projection.ApplyMapping, request, seconds=_query_seconds(api))
    return _accepted({"mapping": _mapping(made.mapping), "operation": operation_view(made.operation)}, made.operation)


def _accepted(body: dict[str, Any], operation: pb.Operation) -> web.Response:
    return respond_json(body, status=202, headers={"Location": f"/api/v1/operations/{operation.operation_id}"})


def _query_seconds(api: ApiCall) -> float:
    """Return how long a call may take that reads months of events first."""
    return api.call.gateway.settings.query_seconds


def _wanted(given: Given, *, mapping_id: str = "") -> pb.Mapping:
    return pb.Mapping(
        mapping_id=mapping_id,
        name=given.text("name") or "",
        source=given.text("source") or "",
        rules=[pb.FieldRule(**rule) for rule in given.records("rules", ("parameter", "field"))],
        start_time=timestamp_of(given.instant("start_time")),
        end_time=timestamp_of(given.instant("end_time")),
    )


def _version(text: str) -> int:
    """Read the version in a path; what is none is not found, like a number that no version has."""
    if not _VERSION.fullmatch(text) or int(text) > _LARGEST_VERSION:
        raise NotFoundError("there is nothing at this path")
    return int(text)


def _mapping(mapping: pb.Mapping) -> dict[str, Any]:
    return {
        "mapping_id": mapping.mapping_id,
        "version": mapping.version,
        "name": mapping.name,
        "source": mapping.source,
        "rules": [{"parameter": rule.parameter, "field": rule.field} for rule in mapping.rules],
        "start_time": timestamp_text(mapping.start_time) if mapping.HasField("start_time") else None,
        "end_time": timestamp_text(mapping.end_time) if mapping.HasField("end_time") else None,
        "is_active": mapping.is_active,
        "create_time": timestamp_text(mapping.create_time),
        "actor": mapping.actor,
    }

"""``/api/v1/audit``: every administrative act."""

from typing import Any

import orjson
from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from trellis.auth.v1 import auth_service_pb2 as pb


async def list_audit_entries(call: Call) -> web.StreamResponse:
    """Return a page of the log, newest first."""
    api = ApiCall(call, "audit:read")
    with api.query() as given:
        request = pb.ListAuditEntriesRequest(page_size=given.page_size(), page_token=given.page_token())
    page = await api.ask(api.warden.ListAuditEntries, request)
    return respond_json({"entries": [_entry(entry) for entry in page.entries], "next_page_token": page.next_page_token})


def _entry(entry: pb.AuditEntry) -> dict[str, Any]:
    return {
        "entry_id": entry.entry_id,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "details": orjson.loads(entry.details_json or "{}"),
        "create_time": timestamp_text(entry.create_time),
        "trace_id": entry.trace_id,
    }

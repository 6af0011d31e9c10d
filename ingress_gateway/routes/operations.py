"""``/api/v1/operations``: work on history that goes on after the call that began it."""

from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from trellis.analytics.v1 import overlay_service_pb2 as overlay_pb
from trellis.analytics.v1 import projection_service_pb2 as pb

STATES = {
    pb.OPERATION_STATE_RUNNING: "running",
    pb.OPERATION_STATE_SUCCEEDED: "succeeded",
    pb.OPERATION_STATE_FAILED: "failed",
    pb.OPERATION_STATE_CANCELLED: "cancelled",
}


async def list_operations(call: Call) -> web.StreamResponse:
    """Return a page of operations, newest first."""
    api = ApiCall(call, "analytics:read")
    with api.query() as given:
        request = pb.ListOperationsRequest(page_size=given.page_size(), page_token=given.page_token())
    page = await api.ask(api.projection.ListOperations, request)
    return respond_json(
        {"operations": list(map(operation_view, page.operations)), "next_page_token": page.next_page_token}
    )


async def get_operation(call: Call) -> web.StreamResponse:
    """Return an operation as it stands."""
    api = ApiCall(call, "analytics:read")
    with api.query():
        request = pb.GetOperationRequest(operation_id=api.path("operation_id"))
    return respond_json(operation_view((await api.ask(api.projection.GetOperation, request)).operation))


async def cancel_operation(call: Call) -> web.StreamResponse:
    """Stop the operation of a campaign's claim: what it changed is taken back."""
    api = ApiCall(call, "campaigns:write")
    with await api.body(is_optional=True):
        request = overlay_pb.CancelClaimRequest(operation_id=api.path("operation_id"))
    return respond_json(operation_view((await api.ask(api.overlay.CancelClaim, request)).operation))


def operation_view(operation: pb.Operation) -> dict[str, Any]:
    """Return an operation as the APIs show it."""
    return {
        "operation_id": operation.operation_id,
        "kind": operation.kind,
        "state": STATES.get(operation.state, "unknown"),
        "done_event_count": operation.done_event_count,
        "total_event_count": operation.total_event_count,
        "done_months": list(operation.done_months),
        "total_months": list(operation.total_months),
        "create_time": timestamp_text(operation.create_time),
        "end_time": timestamp_text(operation.end_time) if operation.HasField("end_time") else None,
        "error": operation.error,
        "mapping_id": operation.mapping_id,
        "mapping_version": operation.mapping_version,
        "campaign_id": operation.campaign_id,
        "claim_version": operation.claim_version,
    }

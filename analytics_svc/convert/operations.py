"""Operations between the contract and ours."""

from datetime import date

from analytics_svc.operation import Operation, State
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import projection_service_pb2 as pb

_STATES = {
    State.RUNNING: pb.OPERATION_STATE_RUNNING,
    State.CANCELLING: pb.OPERATION_STATE_RUNNING,
    State.SUCCEEDED: pb.OPERATION_STATE_SUCCEEDED,
    State.FAILED: pb.OPERATION_STATE_FAILED,
    State.CANCELLED: pb.OPERATION_STATE_CANCELLED,
}


def operation_to_pb(operation: Operation) -> pb.Operation:
    """Return an operation as callers see it."""
    answer = pb.Operation(
        operation_id=operation.operation_id,
        kind=str(operation.kind),
        state=_STATES[operation.state],
        done_event_count=operation.done_events,
        total_event_count=operation.total_events,
        done_months=map(month_text, operation.done_months),
        total_months=map(month_text, operation.total_months),
        create_time=timestamp_of(operation.create_time),
        error=operation.error,
        mapping_id=operation.mapping_id,
        mapping_version=operation.mapping_version,
        campaign_id=operation.campaign_id,
        claim_version=operation.claim_version,
    )
    if operation.end_time is not None:
        answer.end_time.CopyFrom(timestamp_of(operation.end_time))
    return answer


def month_text(month: date) -> str:
    """Write a month as `2026-03`."""
    return f"{month:%Y-%m}"

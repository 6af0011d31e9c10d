"""Records the events of an API request and waits until they are on disk."""

import asyncio
from collections.abc import Sequence

from ingress_gateway.gateway import Call
from ingress_gateway.journal.waiting import FutureWaiter
from ingress_gateway.tenancy import Tenant


async def record_one(
    call: Call,
    tenant: Tenant,
    *,
    route: str,
    event_type: bytes,
    user_id: str,
    external_click_id: bytes = b"",
    idempotency_key: bytes = b"",
    marks: Sequence[str] = (),
    status: int = 200,
) -> str:
    """Record the request as one event and return its id once it is on disk. Raises JournalFullError."""
    waiter = FutureWaiter(asyncio.get_running_loop().create_future(), 1)
    event_id = call.gateway.recorder.record(
        call.arrival,
        waiter,
        organization_id=tenant.organization_id,
        route=route,
        event_type=event_type,
        status=status,
        user_id=user_id,
        external_click_id=external_click_id,
        idempotency_key=idempotency_key,
        sender=tenant.partner_id,
        marks=(*marks, "test") if tenant.is_test else marks,
        key_id=tenant.key_id,
        partner_id=tenant.partner_id,
        network=tenant.network,
        trace_id=call.trace_id,
        traceparent=call.traceparent,
    )
    await waiter.future
    return event_id

"""``/api/v1/ledger``: what became of every event."""

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from trellis.capture.v1 import capture_service_pb2 as pb


async def get_ledger(call: Call) -> web.StreamResponse:
    """Return the account of the organisation since its beginning."""
    api = ApiCall(call, "traffic:read")
    with api.query():
        request = pb.GetLedgerRequest()
    ledger = await api.ask(api.capture.GetLedger, request)
    return respond_json(
        {
            "organization_id": ledger.organization_id,
            "received": ledger.received_count,
            "stored": ledger.stored_count,
            "duplicates": ledger.duplicate_count,
            "quarantined": ledger.quarantined_count,
            "in_journal": ledger.journal_count,
            "unaccounted": ledger.unaccounted_count,
            "as_of": timestamp_text(ledger.as_of_time) if ledger.HasField("as_of_time") else None,
        }
    )

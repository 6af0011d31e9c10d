"""What conversions hear of analytics_svc."""

from dataclasses import asdict

import grpc
import pytest

from attribution_svc.conversions.decide import EventKey
from attribution_svc.conversions.remote import RemoteReading
from svc_runtime.grpc_server import GrpcServer
from tests.contract.attribution.rpc import CREDENTIALS, MESH
from tests.unit.attribution.conversion.reports import NOON
from trellis.analytics.v1 import link_service_pb2 as pb
from trellis.analytics.v1 import link_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback
NUL = "a\0b"


class Links(pb_grpc.LinkServiceServicer):
    """Has one click, whose link was written by somebody with odd taste."""

    async def GetTouches(self, request: object, context: object) -> pb.GetTouchesResponse:
        event = pb.LinkedEvent(is_read=True, campaign_id=NUL, touch=pb.Click(event_id="e", click_id=NUL))
        event.touch.external_click_id = event.rule_id = event.destination_id = NUL
        event.user_id = event.source = event.medium = event.channel = NUL
        return pb.GetTouchesResponse(events=[event])

    async def FindClicks(self, request: object, context: object) -> pb.FindClicksResponse:
        return pb.FindClicksResponse()


async def test_a_nul_in_a_link_is_written_so_that_a_database_takes_it() -> None:
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_LinkServiceServicer_to_server(Links(), s))
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            (linked,), _ = await RemoteReading(channel, CREDENTIALS).touches([EventKey("org_a", "e", NOON)])
    finally:
        await server.stop()
    assert linked.touch is not None
    texts = [text for text in (linked.campaign_id, *asdict(linked.touch).values()) if isinstance(text, str)]
    assert sorted(set(texts)) == ["a\\x00b", "e"]
    assert texts.count("a\\x00b") == len(texts) - 1

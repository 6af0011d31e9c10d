"""Tracking hosts, asked of Warden over a real port."""

from collections.abc import AsyncIterator

import grpc
import pytest

from attribution_svc.campaigns.own_hosts import WardenHosts
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.interceptors import ServicerContext, current_caller
from tests.contract.attribution.rpc import CREDENTIALS, MESH
from trellis.auth.v1 import auth_service_pb2 as pb
from trellis.auth.v1 import auth_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback


class FakeWarden(pb_grpc.AuthServiceServicer):
    """Has two pages of hosts for org_a, and none for others."""

    def __init__(self) -> None:
        self.is_down = False
        self.call_count = 0

    async def ListDomains(self, request: pb.ListDomainsRequest, context: ServicerContext) -> pb.ListDomainsResponse:
        """Return a page."""
        self.call_count += 1
        if self.is_down:
            raise UnavailableError("down")
        if current_caller().organization_id != "org_a":
            return pb.ListDomainsResponse()
        if not request.page_token:
            return pb.ListDomainsResponse(domains=[pb.Domain(host="a.example")], next_page_token="more")
        return pb.ListDomainsResponse(domains=[pb.Domain(host="b.example")])


@pytest.fixture
def warden() -> FakeWarden:
    """Up."""
    return FakeWarden()


@pytest.fixture
async def hosts(warden: FakeWarden) -> AsyncIterator[WardenHosts]:
    """A client of it."""
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_AuthServiceServicer_to_server(warden, s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield WardenHosts(channel, CREDENTIALS)
    await server.stop()


async def test_all_hosts_of_an_organisation_are_known_and_remembered(hosts: WardenHosts, warden: FakeWarden) -> None:
    assert await hosts.of("org_a") == {"a.example", "b.example"}
    assert await hosts.of("org_b") == frozenset()
    before = warden.call_count
    assert await hosts.of("org_a") == {"a.example", "b.example"}
    assert warden.call_count == before


async def test_while_warden_is_away_what_it_said_last_holds(
    hosts: WardenHosts, warden: FakeWarden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attribution_svc.campaigns.own_hosts._FRESH_SECONDS", 0.0)
    assert await hosts.of("org_a") == {"a.example", "b.example"}
    warden.is_down = True
    assert await hosts.of("org_a") == {"a.example", "b.example"}
    assert await hosts.of("org_b") == frozenset(), (
        "a campaign of somebody it never spoke of can be written all the same"
    )

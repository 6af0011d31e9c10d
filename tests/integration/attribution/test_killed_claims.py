"""attribution_svc killed while it hands a claim over: the claim is made, and made once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest

from tests.contract.attribution.fake_overlays import FakeOverlays, serving
from tests.contract.attribution.rpc import MESH, caller_of
from tests.contract.attribution.test_retroactive_rpcs import TAKEN, WAITING, wanted
from tests.integration.attribution.test_process import free_port, running_process, wait_until_healthy
from tests.postgres import PostgresServer
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.store


@contextlib.asynccontextmanager
async def running_attribution(
    dsn: str, analytics_port: int
) -> AsyncIterator[tuple[asyncio.subprocess.Process, "pb_grpc.AttributionServiceAsyncStub"]]:
    """Run the process until the end of the block, and a stub to it."""
    port = free_port()
    async with (
        running_process(
            ATTRIBUTION_LISTEN=f"127.0.0.1:{port}",
            ATTRIBUTION_POSTGRES_DSN=dsn,
            ATTRIBUTION_ANALYTICS_TARGET=f"127.0.0.1:{analytics_port}",
        ) as process,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        await wait_until_healthy(channel)
        yield process, pb_grpc.AttributionServiceStub(channel)


async def progress(stub: "pb_grpc.AttributionServiceAsyncStub") -> pb.Campaign:
    """Return the campaign once its claim is taken."""
    async with asyncio.timeout(20):
        while True:
            request = pb.GetCampaignRequest(campaign_id="tiktok")
            campaign = (await stub.GetCampaign(request, metadata=caller_of("org_a"))).campaign
            if campaign.claim_progress.state == TAKEN:
                return campaign
            assert campaign.claim_progress.state == WAITING
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("moment", ["when_asked", "when_kept"])
async def test_a_kill_in_the_middle_of_an_apply_loses_and_doubles_nothing(
    postgres: PostgresServer, dsn: str, moment: str
) -> None:
    overlays = FakeOverlays()
    killed = asyncio.Event()
    async with serving(overlays, MESH) as analytics_port:
        async with running_attribution(dsn, analytics_port) as (process, stub):

            async def kill() -> None:
                if not killed.is_set():
                    process.kill()
                    killed.set()
                    await asyncio.sleep(5)

            setattr(overlays, moment, kill)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.CreateCampaign(wanted(), metadata=caller_of("org_a", actor="key:7"))
            await process.wait()
        assert killed.is_set()
        async with running_attribution(dsn, analytics_port) as (_, stub):
            campaign = await progress(stub)
    assert (campaign.version, campaign.claim_version) == (1, 1)
    assert campaign.claim_progress.operation_id == "op_org_a_tiktok_1"
    assert list(overlays.applied) == [("org_a", "tiktok", 1)]
    assert overlays.holding == {("org_a", "tiktok"): 1}
    assert set(overlays.callers) == {"key:7"}


async def test_a_kill_while_analytics_is_away_loses_neither_the_claim_nor_its_undo(
    postgres: PostgresServer, dsn: str
) -> None:
    overlays = FakeOverlays()
    nowhere = free_port()
    async with running_attribution(dsn, nowhere) as (process, stub):
        created = await stub.CreateCampaign(wanted(), metadata=caller_of("org_a"))
        assert created.campaign.claim_progress.state == WAITING
        process.kill()
        await process.wait()
    async with serving(overlays, MESH) as analytics_port, running_attribution(dsn, analytics_port) as (process, stub):
        await progress(stub)
        process.kill()
        await process.wait()
    async with running_attribution(dsn, nowhere) as (process, stub):
        request = pb.ActivateCampaignVersionRequest(campaign_id="tiktok", version=0)
        undone = await stub.ActivateCampaignVersion(request, metadata=caller_of("org_a"))
        assert undone.campaign.claim_progress.state == WAITING
        process.kill()
        await process.wait()
    async with serving(overlays, MESH) as analytics_port, running_attribution(dsn, analytics_port) as (_, stub):
        await progress(stub)
    assert overlays.calls == ["apply tiktok 1", "activate tiktok 0"]
    assert overlays.holding == {("org_a", "tiktok"): 0}

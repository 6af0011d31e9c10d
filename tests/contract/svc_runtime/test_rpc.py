"""What surrounds every RPC, through a real server and the generated stub."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from svc_runtime.errors import (
    AlreadyExistsError,
    Code,
    InvalidArgumentError,
    NotFoundError,
    TooLargeError,
    TrellisError,
    UnavailableError,
    Violation,
)
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.interceptors import current_caller
from svc_runtime.mesh_token import ANYONE, Caller, CallerKind, MeshTokens
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from tests.contract.svc_runtime.certificates import Authority
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as stubs

pytestmark = pytest.mark.loopback

SECRET = "s" * 40
SERVICE = pb.DESCRIPTOR.services_by_name["AttributionService"].full_name
WRITER = Caller(CallerKind.ORGANIZATION, "key:k1", "org_a", frozenset({"campaigns:read", "campaigns:write"}))


class Servicer(stubs.AttributionServiceServicer):
    """Does what the test wants; remembers who called."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.delay_seconds = 0.0
        self.caller = ANYONE
        self.was_cancelled = asyncio.Event()
        self.call_count = 0

    async def CreateCampaign(self, request, context):
        return await self.GetCampaign(request, context)

    async def GetCampaign(self, request, context):
        self.call_count += 1
        self.caller = current_caller()
        try:
            await asyncio.sleep(self.delay_seconds)
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        if self.failure:
            raise self.failure
        return pb.GetCampaignResponse(campaign=pb.Campaign(campaign_id=request.campaign_id))

    async def WatchRouting(self, request, context):
        self.caller = current_caller()
        yield pb.WatchRoutingResponse(revision=1)
        if self.failure:
            raise self.failure
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled.set()


async def validate_key(key: str) -> Caller:
    if key == "wdn_sk_live_good":
        return WRITER
    raise NotFoundError("no such key")


@asynccontextmanager
async def serving(mesh: MeshSettings, **options) -> AsyncIterator[tuple[Servicer, str, GrpcServer]]:
    server = GrpcServer(mesh, service_names=[SERVICE], **options)
    servicer = Servicer()
    server.add(lambda s: stubs.add_AttributionServiceServicer_to_server(servicer, s))
    port = await server.start("127.0.0.1:0")
    try:
        yield servicer, f"127.0.0.1:{port}", server
    finally:
        await server.stop()


@pytest.fixture
def mesh() -> MeshSettings:
    return MeshSettings(mesh_secret=SECRET, drain_seconds=0.2)


def bearer(caller: Caller, secret: str = SECRET) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {MeshTokens(secret).make(caller)}"),)


async def failure_of(call) -> TrellisError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


@pytest.mark.parametrize(
    "failure",
    [
        NotFoundError("no campaign `x`"),
        AlreadyExistsError("the slug `x` is taken"),
        InvalidArgumentError.of(
            [Violation("slug", "has 200 characters; the limit is 128"), Violation("name", "empty")]
        ),
        UnavailableError("the database is down", retry_after_seconds=2.5),
        TooLargeError("5 MiB; the limit is 4 MiB"),
    ],
)
async def test_an_error_arrives_as_it_was_raised(mesh: MeshSettings, failure: TrellisError) -> None:
    async with serving(mesh) as (servicer, target, _), open_channel(mesh, target) as channel:
        servicer.failure = failure
        # UNAVAILABLE would be retried by the channel, which is as it should be; three tries are quick.
        got = await failure_of(
            stubs.AttributionServiceStub(channel).GetCampaign(pb.GetCampaignRequest(), metadata=bearer(WRITER))
        )
        assert (got.code, got.reason, got.message) == (failure.code, failure.reason, failure.message)
        assert got.violations == failure.violations
        assert got.retry_after_seconds == failure.retry_after_seconds


async def test_an_unforeseen_failure_tells_the_caller_nothing(mesh: MeshSettings) -> None:
    async with serving(mesh) as (servicer, target, _), open_channel(mesh, target) as channel:
        servicer.failure = RuntimeError("password=hunter2")
        got = await failure_of(
            stubs.AttributionServiceStub(channel).GetCampaign(pb.GetCampaignRequest(), metadata=bearer(WRITER))
        )
        assert got.code is Code.INTERNAL
        assert "hunter2" not in got.message


async def test_an_error_in_a_stream_arrives_after_its_answers(mesh: MeshSettings) -> None:
    async with serving(mesh) as (servicer, target, _), open_channel(mesh, target) as channel:
        servicer.failure = UnavailableError("going away")
        call = stubs.AttributionServiceStub(channel).WatchRouting(
            pb.WatchRoutingRequest(), metadata=Credentials(mesh, "test").as_service()
        )
        assert (await call.read()).revision == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert error_from_rpc(caught.value).message == "going away"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "CREDENTIAL_MISSING"),
        ((("authorization", "Basic abc"),), "CREDENTIAL_MISSING"),
        (bearer(WRITER, secret="t" * 40), "KEY_UNKNOWN"),
        ((("authorization", "Bearer nonsense"),), "KEY_UNKNOWN"),
        (bearer(Caller(CallerKind.ORGANIZATION, "key:k", "org_a", frozenset({"traffic:read"}))), "SCOPE_MISSING"),
        (bearer(Caller(CallerKind.SERVICE, "service:x")), "SCOPE_MISSING"),
        (bearer(Caller(CallerKind.OPERATOR, "operator")), "SCOPE_MISSING"),
    ],
)
async def test_a_caller_who_may_not_is_refused(mesh: MeshSettings, metadata, reason: str) -> None:
    async with serving(mesh) as (servicer, target, _), open_channel(mesh, target) as channel:
        got = await failure_of(
            stubs.AttributionServiceStub(channel).GetCampaign(pb.GetCampaignRequest(), metadata=metadata)
        )
        assert got.reason == reason
        assert servicer.caller is ANYONE, "the servicer was never reached"


async def test_an_organisation_does_not_get_what_is_for_services(mesh: MeshSettings) -> None:
    async with serving(mesh) as (_, target, _), open_channel(mesh, target) as channel:
        call = stubs.AttributionServiceStub(channel).WatchRouting(pb.WatchRoutingRequest(), metadata=bearer(WRITER))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_servicer_sees_who_calls(mesh: MeshSettings) -> None:
    async with serving(mesh, validate_key=validate_key) as (servicer, target, _), open_channel(mesh, target) as channel:
        stub = stubs.AttributionServiceStub(channel)
        await stub.GetCampaign(pb.GetCampaignRequest(), metadata=bearer(WRITER))
        assert servicer.caller == WRITER
        servicer.caller = ANYONE
        await stub.GetCampaign(pb.GetCampaignRequest(), metadata=(("authorization", "Bearer wdn_sk_live_good"),))
        assert servicer.caller == WRITER


async def test_a_wrong_secret_key_gets_what_warden_says(mesh: MeshSettings) -> None:
    async with serving(mesh, validate_key=validate_key) as (_, target, _), open_channel(mesh, target) as channel:
        got = await failure_of(
            stubs.AttributionServiceStub(channel).GetCampaign(
                pb.GetCampaignRequest(), metadata=(("authorization", "Bearer wdn_sk_live_bad"),)
            )
        )
        assert got.code is Code.NOT_FOUND


async def test_a_call_without_a_deadline_gets_ours(mesh: MeshSettings) -> None:
    async with serving(mesh, longest_call_seconds=0.2) as (servicer, target, _), open_channel(mesh, target) as channel:
        servicer.delay_seconds = 30
        got = await failure_of(
            stubs.AttributionServiceStub(channel).GetCampaign(pb.GetCampaignRequest(), metadata=bearer(WRITER))
        )
        assert got.code is Code.DEADLINE_EXCEEDED
        assert servicer.was_cancelled.is_set()


@pytest.mark.parametrize(("name", "attempts"), [("GetCampaign", 4), ("CreateCampaign", 1)])
async def test_only_what_is_as_good_done_twice_is_tried_again(mesh: MeshSettings, name: str, attempts: int) -> None:
    async with serving(mesh) as (servicer, target, _), open_channel(mesh, target) as channel:
        servicer.failure = UnavailableError("the database went away")
        await failure_of(
            getattr(stubs.AttributionServiceStub(channel), name)(
                getattr(pb, f"{name}Request")(), metadata=bearer(WRITER)
            )
        )
        assert servicer.call_count == attempts


async def test_a_caller_that_goes_away_cancels_the_work(mesh: MeshSettings) -> None:
    async with serving(mesh) as (servicer, target, _), open_channel(mesh, target) as channel:
        call = stubs.AttributionServiceStub(channel).WatchRouting(
            pb.WatchRoutingRequest(), metadata=Credentials(mesh, "test").as_service()
        )
        await call.read()
        call.cancel()
        async with asyncio.timeout(5):
            await servicer.was_cancelled.wait()


async def test_health_and_reflection_need_no_credential(mesh: MeshSettings) -> None:
    async with serving(mesh) as (_, target, server), open_channel(mesh, target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        await server.set_serving(SERVICE, is_serving=False)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = (await call.read()).list_services_response.service
        assert SERVICE in {item.name for item in listed}
        call.cancel()


async def test_with_certificates_both_sides_prove_themselves(tmp_path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")

    def settings(authority: Authority, name: str) -> MeshSettings:
        certificate, key = authority.issue(name)
        return MeshSettings(
            mesh_secret=SECRET, drain_seconds=0.2, tls_ca_file=ours.ca_file, tls_cert_file=certificate, tls_key_file=key
        )

    mesh = settings(ours, "server")
    async with serving(mesh) as (_, target, _):
        async with open_channel(settings(ours, "client"), target) as channel:
            answer = await stubs.AttributionServiceStub(channel).GetCampaign(
                pb.GetCampaignRequest(campaign_id="c"), metadata=bearer(WRITER)
            )
            assert answer.campaign.campaign_id == "c"
        for stranger in (settings(theirs, "stranger"), MeshSettings(mesh_secret=SECRET)):
            async with open_channel(stranger, target) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stubs.AttributionServiceStub(channel).GetCampaign(
                        pb.GetCampaignRequest(), metadata=bearer(WRITER), timeout=3
                    )
                assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

"""attribution_svc as the process that it is."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from pydantic import SecretStr

from svc_runtime.errors import UnauthenticatedError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.settings import MeshSettings
from tests.contract.attribution.rpc import Watcher
from tests.postgres import PostgresServer
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as pb_grpc
from trellis.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

pytestmark = pytest.mark.store
SECRET = "m" * 32
MESH = MeshSettings(mesh_secret=SecretStr(SECRET), drain_seconds=30)


class Warden(auth_service_pb2_grpc.AuthServiceServicer):
    """Knows one secret key."""

    async def ValidateKey(self, request: auth_service_pb2.ValidateKeyRequest, context: Any) -> Any:
        """Say whose it is."""
        if request.key != "wdn_sk_test_known":
            raise UnauthenticatedError("no such key", reason="KEY_UNKNOWN")
        return auth_service_pb2.ValidateKeyResponse(
            organization_id="org_a",
            key_id="k1",
            kind=auth_service_pb2.KEY_KIND_SECRET,
            scopes=["campaigns:read", "campaigns:write"],
        )


@contextlib.asynccontextmanager
async def running_warden() -> AsyncIterator[int]:
    """Serve the key for the time of the block; gives the port."""
    server = GrpcServer(MESH, service_names=[])
    warden = Warden()  # type: ignore[abstract]  # one RPC is enough
    server.add(lambda s: auth_service_pb2_grpc.add_AuthServiceServicer_to_server(warden, s))
    port = await server.start("127.0.0.1:0")
    try:
        yield port
    finally:
        await server.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def running_process(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``python -m attribution_svc``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "attribution_svc",
        env={**os.environ, "TRELLIS_MESH_SECRET": SECRET, "TRELLIS_DRAIN_SECONDS": "30", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def wait_until_healthy(channel: grpc.aio.Channel) -> None:
    """Ask until it serves."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(
        health_pb2.HealthCheckRequest(service="trellis.attribution.v1.AttributionService"),
        wait_for_ready=True,
        timeout=20,
    )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_it_waits_for_postgres_serves_secret_keys_and_leaves_at_once_while_watched(
    own_postgres: PostgresServer,
) -> None:
    dsn = await own_postgres.create_database()
    port = free_port()
    await asyncio.to_thread(own_postgres.stop)
    async with (
        running_warden() as warden_port,
        running_process(
            ATTRIBUTION_LISTEN=f"127.0.0.1:{port}",
            ATTRIBUTION_POSTGRES_DSN=dsn,
            ATTRIBUTION_AUTH_TARGET=f"127.0.0.1:{warden_port}",
        ) as process,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        await asyncio.sleep(1)
        assert process.returncode is None
        await asyncio.to_thread(own_postgres.start)
        await wait_until_healthy(channel)
        services = await asyncio.to_thread(reflected_services, port)
        assert "trellis.attribution.v1.AttributionService" in services
        stub: pb_grpc.AttributionServiceAsyncStub = pb_grpc.AttributionServiceStub(channel)
        request = pb.CreateCampaignRequest(slug="sale", destination_url="https://shop.example/")
        key = (("authorization", "Bearer wdn_sk_test_known"),)
        created = (await stub.CreateCampaign(request, metadata=key)).campaign
        assert created.organization_id == "org_a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateCampaign(request, metadata=(("authorization", "Bearer wdn_sk_test_other"),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        watch = aiter(
            stub.WatchRouting(pb.WatchRoutingRequest(watcher="w"), metadata=Credentials(MESH, "test").as_service())
        )
        watcher = Watcher()
        async with asyncio.timeout(2):
            while watcher.slugs() != {"sale"}:
                watcher.apply(await anext(watch))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert time.monotonic() - started < 5
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await anext(watch)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_all_wrong_settings_are_named_at_once() -> None:
    async with running_process(ATTRIBUTION_POSTGRES_POOL_SIZE="0", TRELLIS_LOG_LEVEL="loud") as process:
        _, errors = await process.communicate()
        assert process.returncode == 2
        for name in (b"ATTRIBUTION_POSTGRES_DSN", b"ATTRIBUTION_POSTGRES_POOL_SIZE", b"TRELLIS_LOG_LEVEL"):
            assert name in errors


def reflected_services(port: int) -> list[str]:
    """Return what gRPC reflection names."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return list(ProtoReflectionDescriptorDatabase(channel).get_services())

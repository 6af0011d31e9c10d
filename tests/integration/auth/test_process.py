"""auth_svc as the process that it is."""

import asyncio
import signal
import time

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from svc_runtime.errors import Code
from tests.contract.auth.mesh import PEPPER, connected, refusal
from tests.integration.auth.process import SECRET, free_port, running_process, wait_until_healthy
from tests.postgres import PostgresServer

pytestmark = pytest.mark.store


async def test_it_waits_for_postgres_serves_and_leaves_at_once_while_watched(own_postgres: PostgresServer) -> None:
    dsn = await own_postgres.create_database()
    port = free_port()
    await asyncio.to_thread(own_postgres.stop)
    with running_process(
        AUTH_LISTEN=f"127.0.0.1:{port}", AUTH_POSTGRES_DSN=dsn, AUTH_ALLOW_FIXED_KEYS="true"
    ) as running:
        await asyncio.sleep(1)
        assert running.process.poll() is None
        await asyncio.to_thread(own_postgres.start)
        await asyncio.to_thread(wait_until_healthy, port)
        assert "trellis.auth.v1.AuthService" in await asyncio.to_thread(reflected_services, port)
        async with connected(port) as client:
            await client.organization("org_acmecorp")
            made = await client.key("org_acmecorp", role="owner", fixed_key="wdn_sk_live_acmecorp_key")
            assert made.secret == "wdn_sk_live_acmecorp_key"
            assert (await client.validate(made.secret)).organization_id == "org_acmecorp"
            watch = client.watch()
            assert (await asyncio.wait_for(watch.read(), 5)).is_snapshot
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.process.wait, 10) == 0
            assert time.monotonic() - began < 5
            assert (await refusal(watch.read())).code is Code.UNAVAILABLE
        logs = running.logs()
    assert "FIXED KEYS ARE ALLOWED" in logs
    for secret in (SECRET, PEPPER, made.secret, dsn):
        assert secret not in logs


async def test_all_wrong_settings_are_named_at_once() -> None:
    with running_process(AUTH_KEY_PEPPER="tooshort", AUTH_POSTGRES_POOL_SIZE="0", TRELLIS_LOG_LEVEL="loud") as running:
        assert await asyncio.to_thread(running.process.wait, 30) == 2
        for name in ("AUTH_POSTGRES_DSN", "AUTH_KEY_PEPPER", "AUTH_POSTGRES_POOL_SIZE", "TRELLIS_LOG_LEVEL"):
            assert name in running.logs()
        assert "tooshort" not in running.logs()


def reflected_services(port: int) -> list[str]:
    """Return what gRPC reflection names."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return list(ProtoReflectionDescriptorDatabase(channel).get_services())

"""How to see that a process is ready: each probe returns None when it is, and otherwise says why not."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import aiohttp
import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from svc_runtime.grpc_client import open_channel
from svc_runtime.settings import MeshSettings
from trellisctl.embedded.postgres import EmbeddedPostgres

Probe: TypeAlias = Callable[[], Awaitable[str | None]]
TIMEOUT_SECONDS = 5.0


def grpc_health(mesh: MeshSettings, target: str) -> Probe:
    """Ready when the gRPC health service of ``target`` says SERVING."""

    async def probe() -> str | None:
        try:
            async with open_channel(mesh, target) as channel:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS
                )
        except grpc.aio.AioRpcError as error:
            return error.details() or error.code().name
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            return "it says that it does not serve"
        return None

    return probe


def http_ready(url: str) -> Probe:
    """Ready when ``url`` answers 200."""

    async def probe() -> str | None:
        try:
            # A new connection each time: another worker may share the port.
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session,
                session.get(url) as answer,
            ):
                text = await answer.text()
                return None if answer.status == 200 else f"{answer.status} {text[:300]}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__

    return probe


def postgres_provided(postgres: EmbeddedPostgres) -> Probe:
    """Ready when PostgreSQL answers and every role and database is there."""

    async def probe() -> str | None:
        try:
            await postgres.provide_databases()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return str(error)
        return None

    return probe

"""auth_svc as a process: what it is made of, in the order in which it is made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from auth_svc import metrics
from auth_svc.administer import Administration
from auth_svc.directory import Directory
from auth_svc.enroll import PartnerEnrolment
from auth_svc.issue import KeyIssuer
from auth_svc.partner_servicer import PartnerServicer
from auth_svc.servicer import AuthServicer
from auth_svc.settings import AuthSettings
from auth_svc.store import PartnerStore, WardenStore
from auth_svc.store.postgres import LOCK_ID, MIGRATIONS, PostgresWardenStore
from auth_svc.validate import KeyChecker
from svc_runtime.clock import Clock, SystemClock
from svc_runtime.grpc_server import GrpcServer, wait_for_signal
from svc_runtime.logs import configure_logs, get_logger
from svc_runtime.paging import PageTokens
from svc_runtime.postgres import Database
from svc_runtime.sealing import PARTNER_SECRETS, Sealer
from svc_runtime.settings import MeshSettings, TelemetrySettings, load_or_exit
from svc_runtime.tasks import keep_running, running
from svc_runtime.tracing import configure_telemetry
from trellis.auth.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    partner_service_pb2,
    partner_service_pb2_grpc,
)

SERVICE = "auth_svc"
SERVICE_NAME = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name
PARTNER_SERVICE = partner_service_pb2.DESCRIPTOR.services_by_name["PartnerService"].full_name
_log = get_logger(__name__)


async def main() -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    mesh, telemetry, settings = load_or_exit(AuthSettings)
    await serve(mesh, telemetry, settings)


async def serve(mesh: MeshSettings, telemetry: TelemetrySettings, settings: AuthSettings) -> None:
    """Wire everything, listen, and leave in the reverse order at a signal."""
    configure_logs(SERVICE, level=mesh.log_level, format_=mesh.log_format)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, configure_telemetry(SERVICE, telemetry).close)
        database = await stack.enter_async_context(open_database(settings))
        await stack.enter_async_context(warden(mesh, settings, PostgresWardenStore(database), SystemClock()))
        signal = await wait_for_signal()
        _log.info("leaving", signal=signal.name)


def open_database(settings: AuthSettings) -> contextlib.AbstractAsyncContextManager[Database]:
    """Wait for Warden's database, migrate it, and hold it for the time of the block."""
    return Database.open(
        settings.postgres_dsn.get_secret_value(),
        application_name="trellis-auth",
        migrations=MIGRATIONS,
        lock_id=LOCK_ID,
        pool_size=settings.postgres_pool_size,
        command_seconds=settings.postgres_command_seconds,
    )


@contextlib.asynccontextmanager
async def warden(mesh: MeshSettings, settings: AuthSettings, store: WardenStore, clock: Clock) -> AsyncIterator[int]:
    """Run Warden on a store for the time of the block, and drain at its end; gives the port."""
    if settings.allow_fixed_keys:
        _log.warning("FIXED KEYS ARE ALLOWED: anybody who knows their text is in. Never do this where real data is")
    pepper = settings.key_pepper.get_secret_value().encode()
    directory = Directory(store, allow_fixed_keys=settings.allow_fixed_keys)
    checker = KeyChecker(directory, clock, pepper=pepper)
    servicer = AuthServicer(
        store=store,
        directory=directory,
        checker=checker,
        issuer=KeyIssuer(store, clock, pepper=pepper, allow_fixed_keys=settings.allow_fixed_keys),
        administration=Administration(store, clock),
        clock=clock,
        page_tokens=PageTokens(mesh.mesh_secret.get_secret_value(), SERVICE),
    )
    partner_servicer = _partner_servicer(mesh, store, directory, clock, pepper)
    server = GrpcServer(mesh, service_names=[SERVICE_NAME, PARTNER_SERVICE], validate_key=checker.as_caller)
    server.add(lambda s: auth_service_pb2_grpc.add_AuthServiceServicer_to_server(servicer, s))
    server.add(lambda s: partner_service_pb2_grpc.add_PartnerServiceServicer_to_server(partner_servicer, s))
    metrics.observe_directory(lambda: directory.revision, lambda: directory.age_seconds, lambda: directory.key_count)
    async with running(
        "follow the directory", keep_running("follow the directory", directory.follow, longest_delay_seconds=2.0)
    ):
        await directory.wait_until_known()
        port = await server.start(settings.listen)
        try:
            yield port
        finally:
            # Watches never end by themselves: without this every drain would last its whole time.
            directory.close()
            await server.stop()


def _partner_servicer(
    mesh: MeshSettings, store: PartnerStore, directory: Directory, clock: Clock, pepper: bytes
) -> PartnerServicer:
    secret = mesh.mesh_secret.get_secret_value()
    enrolment = PartnerEnrolment(store, clock, pepper=pepper, sealer=Sealer(secret, PARTNER_SECRETS))
    return PartnerServicer(
        store=store, enrolment=enrolment, directory=directory, page_tokens=PageTokens(secret, SERVICE)
    )

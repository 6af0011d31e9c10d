"""A gRPC server as every service runs it: health, reflection, interceptors, metrics page, and a drain on SIGTERM."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from wsgiref.simple_server import WSGIServer

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection
from opentelemetry.instrumentation.grpc import aio_server_interceptor, filters
from prometheus_client import start_http_server

from svc_runtime.interceptors import AccessControl, AroundInterceptor, KeyValidator, bound_deadlines, translate_errors
from svc_runtime.logs import get_logger
from svc_runtime.mesh_token import MeshTokens
from svc_runtime.settings import MeshSettings

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_LONG_STREAMS = ("Capture", "ReadEvents", "Subscribe", "WatchKeys", "WatchRealtime", "WatchRebuild", "WatchRouting")
_log = get_logger(__name__)


class GrpcServer:
    """One listening server. ``listen`` is ``host:port`` (port 0 picks one) or ``unix:/path``."""

    def __init__(
        self,
        mesh: MeshSettings,
        *,
        service_names: Sequence[str],
        validate_key: KeyValidator | None = None,
        longest_call_seconds: float = 60.0,
    ) -> None:
        self._mesh = mesh
        self._service_names = service_names
        self._metrics_page: WSGIServer | None = None
        self.health = health_aio.HealthServicer()
        # Long streams make no span of their own: their batches do, with links to what they carry.
        traced = filters.negate(
            filters.any_of(*(filters.method_name(name) for name in _LONG_STREAMS), filters.health_check())
        )
        self._server = grpc.aio.server(
            interceptors=[
                aio_server_interceptor(filter_=traced),  # type: ignore[no-untyped-call]  # the library has no types
                AroundInterceptor(translate_errors),
                AroundInterceptor(bound_deadlines(longest_call_seconds)),
                AroundInterceptor(AccessControl(MeshTokens(mesh.mesh_secret.get_secret_value()), validate_key)),
            ],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 20_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )

    def add(self, register: Callable[[grpc.aio.Server], None]) -> None:
        """Register a servicer: ``server.add(lambda s: add_XServicer_to_server(servicer, s))``."""
        register(self._server)

    async def start(self, listen: str) -> int:
        """Listen, report healthy, and return the port (0 for a unix socket)."""
        if self._mesh.metrics_port is not None:
            self._metrics_page, _ = start_http_server(self._mesh.metrics_port)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        reflection.enable_server_reflection(
            [*self._service_names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME],
            self._server,
        )
        port = self._bind(listen)
        await self._server.start()
        for name in ("", *self._service_names):
            await self.set_serving(name, is_serving=True)
        _log.info("listening", address=listen, port=port)
        return port

    def _bind(self, listen: str) -> int:
        mesh = self._mesh
        if mesh.tls_ca_file and mesh.tls_cert_file and mesh.tls_key_file:
            credentials = grpc.ssl_server_credentials(
                [(mesh.tls_key_file.read_bytes(), mesh.tls_cert_file.read_bytes())],
                root_certificates=mesh.tls_ca_file.read_bytes(),
                require_client_auth=True,
            )
            return self._server.add_secure_port(listen, credentials)
        return self._server.add_insecure_port(listen)

    async def set_serving(self, service: str, *, is_serving: bool) -> None:
        """Report a service's health; the empty name is the whole server's."""
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self.health.set(service, status)

    async def stop(self) -> None:
        """Say that we leave, let calls in flight end, then stop."""
        await self.health.enter_graceful_shutdown()
        await self._server.stop(self._mesh.drain_seconds)
        if self._metrics_page is not None:
            await asyncio.to_thread(self._metrics_page.shutdown)
            self._metrics_page.server_close()


async def wait_for_signal() -> signal.Signals:
    """Wait for SIGTERM or SIGINT and return it."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[signal.Signals] = loop.create_future()

    def on_signal(number: signal.Signals) -> None:
        if not received.done():
            received.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return await received

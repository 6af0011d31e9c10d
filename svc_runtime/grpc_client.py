"""Channels between services: deadlines, keepalive, retries with backoff and jitter, round-robin over DNS, TLS."""

import json
from collections.abc import Callable
from typing import Any

import grpc
from opentelemetry.instrumentation.grpc import aio_client_interceptors, filters

from svc_runtime.grpc_server import MAX_MESSAGE_BYTES
from svc_runtime.mesh_token import Caller, CallerKind, MeshTokens
from svc_runtime.settings import MeshSettings
from trellis.analytics.v1 import (
    analytics_service_pb2,
    explain_service_pb2,
    journey_service_pb2,
    projection_service_pb2,
)
from trellis.attribution.v1 import (
    attribution_service_pb2,
    conversion_service_pb2,
    experiment_service_pb2,
    model_service_pb2,
)
from trellis.auth.v1 import auth_service_pb2
from trellis.capture.v1 import capture_service_pb2

_LONG_STREAMS = ("Capture", "ReadEvents", "Subscribe", "WatchKeys", "WatchRealtime", "WatchRebuild", "WatchRouting")

# What these do twice is as good as once. A creation is not among them: UNAVAILABLE may come after it was done.
_REPEATABLE = ("Count", "Describe", "Explain", "Get", "List", "Query", "Validate", "Report", "Revoke")
_SERVICES = [
    service
    for module in (
        analytics_service_pb2,
        attribution_service_pb2,
        experiment_service_pb2,
        auth_service_pb2,
        capture_service_pb2,
        conversion_service_pb2,
        explain_service_pb2,
        journey_service_pb2,
        model_service_pb2,
        projection_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]

# gRPC adds jitter to the backoff by itself, and repeats by itself what never left this process.
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [
                    {"service": service.full_name, "method": method.name}
                    for service in _SERVICES
                    for method in service.methods
                    if method.name.startswith(_REPEATABLE)
                ],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
)


def open_channel(mesh: MeshSettings, target: str) -> grpc.aio.Channel:
    """Open a channel to ``target`` (``host:port``, ``dns:///name:port`` or ``unix:/path``)."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    interceptors = aio_client_interceptors(  # type: ignore[no-untyped-call]  # the library has no types
        filter_=filters.negate(filters.any_of(*(filters.method_name(name) for name in _LONG_STREAMS)))
    )
    if mesh.tls_ca_file and mesh.tls_cert_file and mesh.tls_key_file:
        credentials = grpc.ssl_channel_credentials(
            mesh.tls_ca_file.read_bytes(), mesh.tls_key_file.read_bytes(), mesh.tls_cert_file.read_bytes()
        )
        return grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)
    return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)


class Credentials:
    """Metadata by which this process proves itself on its calls."""

    def __init__(self, mesh: MeshSettings, service: str) -> None:
        self._tokens = MeshTokens(mesh.mesh_secret.get_secret_value())
        self._service = Caller(CallerKind.SERVICE, actor=f"service:{service}")

    def as_service(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call in our own name."""
        return self.as_caller(self._service)

    def as_caller(self, caller: Caller) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call for ``caller``: an organisation's key that we checked, or the operator."""
        return (("authorization", f"Bearer {self._tokens.make(caller)}"),)


OnBehalf = Callable[[Caller], tuple[tuple[str, str], ...]]

"""How a management or query route calls a service: in whose name, for how long, and what a failure becomes."""

import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

import grpc
from opentelemetry.instrumentation.utils import suppress_instrumentation

from ingress_gateway.arrival import TRACEPARENT
from ingress_gateway.bodies import read_body
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given, text_problem
from ingress_gateway.organisations import Principal
from ingress_gateway.tenancy import api_caller
from svc_runtime.errors import (
    Code,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    TrellisError,
    Violation,
)
from svc_runtime.logs import get_logger
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from trellis.analytics.v1 import (
    analytics_service_pb2_grpc,
    explain_service_pb2_grpc,
    identity_service_pb2_grpc,
    overlay_service_pb2_grpc,
    projection_service_pb2_grpc,
)
from trellis.attribution.v1 import (
    attribution_service_pb2_grpc,
    conversion_service_pb2_grpc,
    experiment_service_pb2_grpc,
    model_service_pb2_grpc,
    webhook_service_pb2_grpc,
)
from trellis.auth.v1 import auth_service_pb2_grpc, partner_service_pb2_grpc
from trellis.capture.v1 import capture_service_pb2_grpc

LONGEST_BODY_BYTES = 64 * 1024
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
_log = get_logger(__name__)


class ApiCall:
    """A request to a management or query API, by a secret key that may make it."""

    def __init__(self, call: Call, scope: str) -> None:
        """Raise UnauthenticatedError or PermissionDeniedError unless the key is live and holds ``scope``."""
        self.call = call
        self._scope = scope
        principal = self.check()
        self._caller = Caller(
            CallerKind.ORGANIZATION,
            actor=f"key:{principal.key_id}",
            organization_id=principal.organization_id,
            scopes=principal.scopes,
        )

    def check(self) -> Principal:
        """Return whose key it is, if it is live and holds the scope still; raise as at the beginning if it is not."""
        self.call.gateway.organisations.require_ready()
        return api_caller(self.call.gateway.organisations, self.call.arrival, self._scope)

    @property
    def organization_id(self) -> str:
        """The key's organisation, whose things alone the call can touch."""
        return self._caller.organization_id

    @property
    def attribution(self) -> "attribution_service_pb2_grpc.AttributionServiceAsyncStub":
        """The RPCs of attribution_svc, for ``ask``."""
        return attribution_service_pb2_grpc.AttributionServiceStub(self.call.gateway.channels.attribution)

    @property
    def conversions(self) -> "conversion_service_pb2_grpc.ConversionServiceAsyncStub":
        """The conversions of attribution_svc, for ``ask``."""
        return conversion_service_pb2_grpc.ConversionServiceStub(self.call.gateway.channels.attribution)

    @property
    def models(self) -> "model_service_pb2_grpc.ModelServiceAsyncStub":
        """The attribution models of attribution_svc, for ``ask``."""
        return model_service_pb2_grpc.ModelServiceStub(self.call.gateway.channels.attribution)

    @property
    def webhooks(self) -> "webhook_service_pb2_grpc.WebhookServiceAsyncStub":
        """Who is told of conversions: RPCs of attribution_svc, for ``ask``."""
        return webhook_service_pb2_grpc.WebhookServiceStub(self.call.gateway.channels.attribution)

    @property
    def capture(self) -> "capture_service_pb2_grpc.CaptureServiceAsyncStub":
        """The RPCs of capture_svc, for ``ask``."""
        return capture_service_pb2_grpc.CaptureServiceStub(self.call.gateway.channels.capture)

    @property
    def analytics(self) -> "analytics_service_pb2_grpc.AnalyticsServiceAsyncStub":
        """The reports of analytics_svc, for ``ask`` and ``follow``."""
        return analytics_service_pb2_grpc.AnalyticsServiceStub(self.call.gateway.channels.analytics)

    @property
    def identity(self) -> "identity_service_pb2_grpc.IdentityServiceAsyncStub":
        """Who is one person, by analytics_svc, for ``ask``."""
        return identity_service_pb2_grpc.IdentityServiceStub(self.call.gateway.channels.analytics)

    @property
    def explanations(self) -> "explain_service_pb2_grpc.ExplainServiceAsyncStub":
        """What analytics_svc says about the numbers of its reports, for ``ask``."""
        return explain_service_pb2_grpc.ExplainServiceStub(self.call.gateway.channels.analytics)

    @property
    def projection(self) -> "projection_service_pb2_grpc.ProjectionServiceAsyncStub":
        """What analytics_svc is told about its reading, for ``ask``."""
        return projection_service_pb2_grpc.ProjectionServiceStub(self.call.gateway.channels.analytics)

    @property
    def experiments(self) -> "experiment_service_pb2_grpc.ExperimentServiceAsyncStub":
        """How the rules and destinations of campaigns do, for ``ask``."""
        return experiment_service_pb2_grpc.ExperimentServiceStub(self.call.gateway.channels.attribution)

    @property
    def overlay(self) -> "overlay_service_pb2_grpc.OverlayServiceAsyncStub":
        """What analytics_svc knows of claims over history, for ``ask``."""
        return overlay_service_pb2_grpc.OverlayServiceStub(self.call.gateway.channels.analytics)

    @property
    def warden(self) -> "auth_service_pb2_grpc.AuthServiceAsyncStub":
        """The RPCs of Warden, for ``ask``."""
        return auth_service_pb2_grpc.AuthServiceStub(self.call.gateway.channels.auth)

    @property
    def partners(self) -> "partner_service_pb2_grpc.PartnerServiceAsyncStub":
        """Warden's RPCs on partners, for ``ask``."""
        return partner_service_pb2_grpc.PartnerServiceStub(self.call.gateway.channels.auth)

    def query(self) -> Given:
        """Return the query's parameters."""
        return Given.of_query(self.call.arrival.query)

    async def body(self, *, is_optional: bool = False) -> Given:
        """Return the members of the JSON body; a call with a body takes no query."""
        body = await self.body_bytes()
        if body or not is_optional:
            return Given.of_json(body)
        return Given.of_json(b"{}")

    async def body_bytes(self, limit: int = LONGEST_BODY_BYTES) -> bytes:
        """Return the body, at most ``limit`` bytes; a call with a body takes no query."""
        with self.query():
            pass
        return await read_body(self.call.request, self.call.gateway.settings, limit)

    def path(self, name: str) -> str:
        """Return a variable of the path."""
        value = self.call.path[name]
        if problem := text_problem(value):
            raise InvalidArgumentError.of([Violation(name, problem)])
        return value

    async def ask(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        *,
        seconds: float | None = None,
    ) -> ResponseT:
        """Call a service for the caller; raise what it raised, or why it could not be asked.

        ``seconds`` is how long it may take, by default the setting ``api_seconds``.
        """
        gateway = self.call.gateway
        seconds = seconds or gateway.settings.api_seconds
        metadata = gateway.credentials.as_caller(self._caller)
        try:
            with self._propagated() as traceparent:
                return await method(request, metadata=(*metadata, *traceparent), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            raise _explained(error_from_rpc(error), seconds) from None

    async def follow(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        *,
        seconds: float | None = None,
    ) -> AsyncGenerator[ResponseT, None]:
        """Call a service that answers with a stream; ``seconds`` bounds all of it. Closing this cancels the call."""
        gateway = self.call.gateway
        metadata = gateway.credentials.as_caller(self._caller)
        with self._propagated() as traceparent:
            stream = method(request, metadata=(*metadata, *traceparent), timeout=seconds)
        try:
            async for message in stream:
                yield message
        except grpc.aio.AioRpcError as error:
            raise _explained(error_from_rpc(error), seconds or 0) from None
        finally:
            stream.cancel()

    @contextlib.contextmanager
    def _propagated(self) -> Iterator[tuple[tuple[str, str], ...]]:
        """Say in whose trace the call is made.

        A sampled request has a span, which the channel carries on by itself. Any other gets none here, and the client's
        traceparent goes along as it came.
        """
        if self.call.traceparent:
            yield ()
            return
        arrival = self.call.arrival
        with suppress_instrumentation():
            yield ((TRACEPARENT, arrival.headers[TRACEPARENT]),) if arrival.trace()[0] else ()


def _explained(error: TrellisError, seconds: float) -> TrellisError:
    """Return what the client is to know of a failed call."""
    match error.code:
        case Code.DEADLINE_EXCEEDED:
            return DeadlineExceededError(f"the service behind this call did not answer within {seconds:g} s")
        case Code.INTERNAL | Code.UNAUTHENTICATED | Code.METHOD_NOT_ALLOWED:
            # The key was checked here. A service that does not know us, or the call, is set up wrongly.
            _log.error("a service refused or failed a call", code=error.code.name, reason=error.reason)
            return InternalError()
        case _:
            return error

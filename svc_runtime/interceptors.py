"""What surrounds every RPC of a server: tracing (outermost), errors, deadlines, access."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc
from google.protobuf import descriptor_pool
from opentelemetry import trace

from svc_runtime.errors import (
    DeadlineExceededError,
    InternalError,
    PermissionDeniedError,
    TrellisError,
    UnauthenticatedError,
)
from svc_runtime.logs import get_logger
from svc_runtime.mesh_token import ANYONE, Caller, CallerKind, MeshTokens
from svc_runtime.rpc_status import DETAILS_KEY, grpc_code, status_details
from trellis.type.v1 import access_pb2

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Around: TypeAlias = Callable[[str, ServicerContext], contextlib.AbstractAsyncContextManager[None]]
KeyValidator: TypeAlias = Callable[[str], Awaitable[Caller]]

PUBLIC_SERVICES = ("grpc.health.v1.", "grpc.reflection.")
_caller: ContextVar[Caller] = ContextVar("trellis_caller", default=ANYONE)
_log = get_logger(__name__)


def current_caller() -> Caller:
    """Return who called the RPC that is running."""
    return _caller.get()


class AroundInterceptor(grpc.aio.ServerInterceptor):
    """Runs an async context manager around every call of any shape."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the handler of the method called."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method: str = handler_call_details.method
        around = self._around
        if handler.response_streaming:
            inner_stream = handler.stream_stream if handler.request_streaming else handler.unary_stream

            async def stream(request: Any, context: ServicerContext) -> AsyncIterator[Any]:
                async with around(method, context), contextlib.aclosing(inner_stream(request, context)) as answers:
                    async for answer in answers:
                        yield answer

            make: Any = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(stream, handler.request_deserializer, handler.response_serializer)
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def unary(request: Any, context: ServicerContext) -> Any:
            async with around(method, context):
                return await inner(request, context)

        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(unary, handler.request_deserializer, handler.response_serializer)


@contextlib.asynccontextmanager
async def translate_errors(method: str, context: ServicerContext) -> AsyncIterator[None]:
    """Turn TrellisError into its status, and anything unforeseen into INTERNAL with a fixed text."""
    try:
        yield
    except (grpc.aio.AbortError, asyncio.CancelledError, GeneratorExit):
        raise
    except TrellisError as error:
        await _abort(context, error)
    except Exception as unforeseen:  # noqa: BLE001 - the last line of defence: its text must not reach the caller
        _log.exception("rpc failed", method=method)
        span = trace.get_current_span()
        span.record_exception(unforeseen)
        await _abort(context, InternalError())


async def _abort(context: ServicerContext, error: TrellisError) -> None:
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attribute("error.type", error.reason)
    await context.abort(grpc_code(error), error.message, ((DETAILS_KEY, status_details(error)),))


def bound_deadlines(longest_seconds: float) -> Around:
    """Give every unary call that came without a deadline one of ours; streams live as long as they like."""

    @contextlib.asynccontextmanager
    async def around(method: str, context: ServicerContext) -> AsyncIterator[None]:
        if context.time_remaining() is not None or _is_streaming(method):
            yield
            return
        try:
            async with asyncio.timeout(longest_seconds):
                yield
        except TimeoutError:
            raise DeadlineExceededError(f"the call took longer than {longest_seconds:g} s") from None

    return around


class AccessControl:
    """Lets a call through when its RPC's ``access`` option allows the caller; an RPC without one is refused.

    Callers prove themselves by ``authorization: Bearer <mesh token>``, or by a secret key where a validator is given.
    """

    def __init__(self, tokens: MeshTokens, validate_key: KeyValidator | None = None) -> None:
        self._tokens = tokens
        self._validate_key = validate_key

    @contextlib.asynccontextmanager
    async def __call__(self, method: str, context: ServicerContext) -> AsyncIterator[None]:
        """Set the caller of the call, or refuse it."""
        caller = ANYONE
        if not method.lstrip("/").startswith(PUBLIC_SERVICES):
            rule = access_rule(method)
            if rule.access != access_pb2.ACCESS_PUBLIC:
                caller = await self._authenticate(context)
            check_access(rule, caller)
        token = _caller.set(caller)
        try:
            yield
        finally:
            # A stream that is cancelled closes its generator in another context, where there is nothing to reset.
            with contextlib.suppress(ValueError):
                _caller.reset(token)

    async def _authenticate(self, context: ServicerContext) -> Caller:
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                text = value if isinstance(value, str) else value.decode("latin-1")
                scheme, _, credential = text.partition(" ")
                if scheme.lower() != "bearer":
                    break
                if credential.startswith("wdn_"):
                    if self._validate_key is None:
                        break
                    return await self._validate_key(credential)
                return self._tokens.read(credential)
        raise UnauthenticatedError("no credential: send `authorization: Bearer <mesh token or secret key>`")


def access_rule(method: str) -> access_pb2.AccessRule:
    """Return the access rule of ``/package.Service/Method``; an RPC that we do not know has an empty one."""
    try:
        descriptor = descriptor_pool.Default().FindMethodByName(method.lstrip("/").replace("/", "."))
    except KeyError:
        return access_pb2.AccessRule()
    rule: access_pb2.AccessRule = descriptor.GetOptions().Extensions[access_pb2.access]
    return rule


def check_access(rule: access_pb2.AccessRule, caller: Caller) -> None:
    """Raise PermissionDeniedError unless ``rule`` allows ``caller``."""
    match rule.access:
        case access_pb2.ACCESS_PUBLIC:
            return
        case access_pb2.ACCESS_SERVICE if caller.kind in (CallerKind.SERVICE, CallerKind.OPERATOR):
            return
        case access_pb2.ACCESS_OPERATOR if caller.kind is CallerKind.OPERATOR:
            return
        case access_pb2.ACCESS_ORGANIZATION if caller.organization_id and (
            caller.kind is CallerKind.OPERATOR or rule.scope in caller.scopes
        ):
            return
        case access_pb2.ACCESS_ORGANIZATION:
            raise PermissionDeniedError(f"this needs the scope `{rule.scope}`")
        case _:
            raise PermissionDeniedError("this is not open to the caller")


def _is_streaming(method: str) -> bool:
    try:
        descriptor: Any = descriptor_pool.Default().FindMethodByName(method.lstrip("/").replace("/", "."))
    except KeyError:
        return True
    return bool(descriptor.client_streaming or descriptor.server_streaming)

"""Errors on the wire: TrellisError to a gRPC status with google.rpc details, and back."""

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from svc_runtime.errors import Code, TrellisError, Violation

DOMAIN = "trellis"
DETAILS_KEY = "grpc-status-details-bin"
_CODES_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
_OWN_CODES_BY_REASON = {code.name: code for code in Code}
_OWN_CODES_BY_NUMBER = {code.grpc_number: code for code in reversed(Code)}


def grpc_code(error: TrellisError) -> grpc.StatusCode:
    """Return the gRPC status code of an error."""
    return _CODES_BY_NUMBER[error.code.grpc_number]


def status_details(error: TrellisError) -> bytes:
    """Encode the google.rpc.Status of an error: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={"code": error.code.name})
    ]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration(nanos=0)
        delay.FromMilliseconds(round(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        item = any_pb2.Any()
        item.Pack(detail)
        packed.append(item)
    encoded: bytes = status_pb2.Status(
        code=error.code.grpc_number, message=error.message, details=packed
    ).SerializeToString()
    return encoded


def error_from_rpc(rpc_error: grpc.aio.AioRpcError) -> TrellisError:
    """Turn a failed call into the error that the other side raised."""
    for key, value in rpc_error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return _error_from_status(status_pb2.Status.FromString(value))
    code = _OWN_CODES_BY_NUMBER.get(rpc_error.code().value[0], Code.INTERNAL)
    if rpc_error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        code = Code.TOO_LARGE
    if rpc_error.code() is grpc.StatusCode.UNAVAILABLE:
        return _with_code(TrellisError("the service is not reachable", reason=code.name, retry_after_seconds=1.0), code)
    return _with_code(TrellisError("the call failed", reason=code.name), code)


def _error_from_status(status: status_pb2.Status) -> TrellisError:
    info, bad_request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    has_retry = False
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
        has_retry = detail.Unpack(retry) or has_retry
    code = _OWN_CODES_BY_REASON.get(info.metadata.get("code", ""), Code.INTERNAL)
    error = TrellisError(
        status.message,
        reason=info.reason or code.name,
        violations=[Violation(v.field, v.description) for v in bad_request.field_violations],
        retry_after_seconds=retry.retry_delay.ToMilliseconds() / 1000 if has_retry else None,
    )
    return _with_code(error, code)


def _with_code(error: TrellisError, code: Code) -> TrellisError:
    error.code = code
    return error

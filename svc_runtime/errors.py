"""The error model: one base class, a closed set of codes, and reasons that clients switch on.

Raised in domain, use case and store; translated once to a gRPC status (``interceptors``) and once to problem+json (the
gateway's ``problems``). Texts say what happened, the value and the limit; they hold no secret and no other
organisation's ids.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Code(enum.Enum):
    """The kind of failure; the names are gRPC's, the second value is the HTTP status."""

    INVALID_ARGUMENT = (3, 400)
    UNAUTHENTICATED = (16, 401)
    PERMISSION_DENIED = (7, 403)
    NOT_FOUND = (5, 404)
    METHOD_NOT_ALLOWED = (12, 405)
    NOT_ACCEPTABLE = (3, 406)
    ALREADY_EXISTS = (6, 409)
    FAILED_PRECONDITION = (9, 409)
    TOO_LARGE = (8, 413)
    ENCODING_UNSUPPORTED = (3, 415)
    QUERY_LIMIT = (8, 422)
    RATE_LIMITED = (8, 429)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    DEADLINE_EXCEEDED = (4, 504)

    @property
    def grpc_number(self) -> int:
        """The number of the gRPC status code."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        """The HTTP status."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a request."""

    field: str
    """Path of the field, for example ``events[3].click_id``."""
    description: str
    """What is wrong, with the value and the limit."""


class TrellisError(Exception):
    """A failure that a caller may see.

    ``reason`` is a name of ``trellis.type.v1.ErrorReason`` without its prefix.
    """

    code: Code = Code.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Iterable[Violation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.code.name
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


class InternalError(TrellisError):
    """Something that we did not foresee; the text is fixed, the details are in the log."""

    def __init__(self) -> None:
        super().__init__("an unexpected error; its details are in the log")


class InvalidArgumentError(TrellisError):
    """The request is wrong whatever the state."""

    code = Code.INVALID_ARGUMENT

    @classmethod
    def of(cls, violations: Iterable[Violation]) -> "InvalidArgumentError":
        """Name every violation in one text."""
        found = tuple(violations)
        return cls("; ".join(f"{v.field}: {v.description}" for v in found), violations=found)


class UnauthenticatedError(TrellisError):
    """Nobody we know; the reason says why."""

    code = Code.UNAUTHENTICATED

    def __init__(self, message: str, *, reason: str = "CREDENTIAL_MISSING") -> None:
        super().__init__(message, reason=reason)


class PermissionDeniedError(TrellisError):
    """Somebody we know who may not do this."""

    code = Code.PERMISSION_DENIED

    def __init__(self, message: str, *, reason: str = "SCOPE_MISSING") -> None:
        super().__init__(message, reason=reason)


class NotFoundError(TrellisError):
    """Nothing of that name in the caller's organisation, whoever else may have one."""

    code = Code.NOT_FOUND


class AlreadyExistsError(TrellisError):
    """The name is taken."""

    code = Code.ALREADY_EXISTS


class FailedPreconditionError(TrellisError):
    """The state does not allow it."""

    code = Code.FAILED_PRECONDITION


class TooLargeError(TrellisError):
    """Over a size limit, which the text names."""

    code = Code.TOO_LARGE


class QueryLimitError(TrellisError):
    """A query would use more than it may; the text names the limit and how to narrow the question."""

    code = Code.QUERY_LIMIT


class RateLimitedError(TrellisError):
    """More than the caller may do at once; try again later."""

    code = Code.RATE_LIMITED

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class UnavailableError(TrellisError):
    """A store or a service is not reachable now."""

    code = Code.UNAVAILABLE

    def __init__(self, message: str, *, reason: str | None = None, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, reason=reason, retry_after_seconds=retry_after_seconds)


class DeadlineExceededError(TrellisError):
    """Not done in time."""

    code = Code.DEADLINE_EXCEEDED

"""Who calls, as the rules see it, and what follows an act: the same for every service of this process."""

import contextlib

from opentelemetry import trace

from auth_svc import metrics
from auth_svc.convert import principal_from
from auth_svc.directory import Directory
from auth_svc.principal import Principal
from svc_runtime.errors import PermissionDeniedError, UnavailableError
from svc_runtime.interceptors import current_caller


class Callers:
    """The callers of the RPCs."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def principal(self) -> Principal:
        """Return who makes the current call; raise PermissionDeniedError where its organisation is suspended."""
        context = trace.get_current_span().get_span_context()
        trace_id = format(context.trace_id, "032x") if context.is_valid else ""
        principal = principal_from(current_caller(), trace_id)
        if not principal.is_operator and self._directory.is_suspended(principal.organization_id):
            raise PermissionDeniedError("the organisation is suspended", reason="ORGANIZATION_SUSPENDED")
        return principal

    async def has_acted(self, action: str) -> None:
        """Let this replica know at once what others learn by notification."""
        metrics.acts.add(1, {"action": action})
        with contextlib.suppress(UnavailableError):
            await self._directory.catch_up()

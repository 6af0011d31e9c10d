"""Who acts: the caller of an RPC as the rules of this service see it."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from auth_svc.audit import Act, Detail
from svc_runtime.errors import PermissionDeniedError


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who was let through, and what it may hand on."""

    actor: str
    organization_id: str
    """Whose things it may touch; empty for the operator at large."""
    scopes: frozenset[str]
    is_operator: bool
    trace_id: str = ""

    def check_may_grant(self, scopes: AbstractSet[str]) -> None:
        """Raise PermissionDeniedError unless the caller holds every one of ``scopes``; the operator may grant all."""
        lacking = sorted(scopes - self.scopes)
        if lacking and not self.is_operator:
            raise PermissionDeniedError(f"only a caller that holds {', '.join(lacking)} may grant or renew it")

    def act(
        self, action: str, target: str, *, time: datetime, organization_id: str | None = None, **details: Detail
    ) -> Act:
        """Return the audit log's view of something that this caller does, by default in its own organisation."""
        return Act(
            organization_id=self.organization_id if organization_id is None else organization_id,
            actor=self.actor,
            action=action,
            target=target,
            time=time,
            trace_id=self.trace_id,
            details=details,
        )

"""The audit log: every administrative act, for ever."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

Detail: TypeAlias = str | int | bool | list[str] | None


@dataclass(frozen=True, slots=True)
class Act:
    """An administrative act that is about to happen."""

    organization_id: str
    """Whom it concerns."""
    actor: str
    """``key:<id>``, ``operator`` or ``service:<name>``."""
    action: str
    """``<noun>.<verb>``: ``key.create``, ``domain.remove``…"""
    target: str
    """On what: a key id, a host, a role's name, an organisation's id."""
    time: datetime
    trace_id: str = ""
    """32 hexadecimal digits; empty where the request was not traced."""
    details: Mapping[str, Detail] = field(default_factory=dict)
    """The change. No secret and no hash ever enters it."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An act as the log keeps it."""

    entry_id: int
    """Rises in the order in which the acts took effect."""
    act: Act

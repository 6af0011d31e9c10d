"""Operations: work on the reading that goes on after the call that began it, and after a restart."""

import enum
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime

_LONGEST_SHOWN = 64


class Kind(enum.StrEnum):
    """What an operation does."""

    REBUILD = "rebuild"
    """The operator has a reading made again."""
    MAPPING = "mapping"
    """An organisation has its own made again by another mapping."""
    CLAIM = "claim"
    """Another version of a campaign's claim, or none, is to hold."""


class State(enum.StrEnum):
    """Where an operation stands."""

    RUNNING = "running"
    """At work, or waiting for its turn."""
    CANCELLING = "cancelling"
    """At work on its last month."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """It is done, one way or the other."""
        return self not in OPEN_STATES


OPEN_STATES = (State.RUNNING, State.CANCELLING)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation."""

    operation_id: str
    kind: Kind
    create_time: datetime
    organization_id: str = ""
    """Whose events are made again; empty: everybody's."""
    actor: str = ""
    state: State = State.RUNNING
    mapping_id: str = ""
    mapping_version: int = 0
    """0: none holds any more."""
    campaign_id: str = ""
    claim_version: int = 0
    """0: none holds any more."""
    previous_version: int = 0
    """The one that held before."""
    is_new_claim: bool = False
    """The version is applied: which events it may have is found out first."""
    span_start: datetime | None = None
    """Only months with events received at or after this instant."""
    span_end: datetime | None = None
    """Only months with events received before this instant."""
    is_planned: bool = False
    """The totals are known."""
    total_months: tuple[date, ...] = ()
    """First days of the months to make again, rising."""
    done_months: tuple[date, ...] = ()
    """Those that are made, in the order in which they became visible."""
    total_events: int = 0
    done_events: int = 0
    error: str = ""
    end_time: datetime | None = None
    """When it was over."""

    def concerns(self, organization_id: str) -> bool:
        """Tell whether it changes events that work on ``organization_id`` (empty: everybody) would change."""
        return not self.organization_id or not organization_id or self.organization_id == organization_id

    def months_left(self) -> tuple[date, ...]:
        """Return the months that are not made yet."""
        return tuple(month for month in self.total_months if month not in self.done_months)


@dataclass(frozen=True, slots=True)
class Scope:
    """A month's events of one organisation, or (empty) of all."""

    month: date
    """Its first day."""
    organization_id: str = ""


def month_of(instant: datetime) -> date:
    """Return the first day of an instant's month, by UTC."""
    return instant.astimezone(UTC).date().replace(day=1)


def start_of(month: date) -> datetime:
    """Return the first instant of a month."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def end_of(month: date) -> datetime:
    """Return the first instant after a month."""
    return start_of(date(month.year + month.month // 12, month.month % 12 + 1, 1))


def months_within(months: Collection[date], start: datetime | None, end: datetime | None) -> tuple[date, ...]:
    """Return those months, rising, that have an instant at or after ``start`` and before ``end``."""
    return tuple(
        sorted(
            month
            for month in set(months)
            if (start is None or end_of(month) > start) and (end is None or start_of(month) < end)
        )
    )


def shown(operation_id: str) -> str:
    """Return a caller's operation id as an error may quote it."""
    return repr(operation_id[:_LONGEST_SHOWN])

"""The warehouse as the mirror sees it: a table that takes load jobs, each all or nothing, each id once."""

import enum
from dataclasses import dataclass
from typing import Protocol

from svc_runtime.errors import UnavailableError


class WarehouseUnavailableError(UnavailableError):
    """The warehouse does not answer, or not as it should: whether a job was taken is unknown. Ask again."""


class JobOutcome(enum.Enum):
    """How a load job ended."""

    LOADED = "loaded"
    """Every row is in the table."""
    REFUSED = "refused"
    """No row is in the table, for what is in at least one of them, or for what the table is."""
    FAILED = "failed"
    """No row is in the table, for no fault of theirs: another job may do it."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """The end of a load job."""

    outcome: JobOutcome
    row_count: int = 0
    """Rows that it loaded."""
    reason: str = ""
    """The warehouse's code for a job that did not load; never its text, which may quote a row."""


class Warehouse(Protocol):
    """A table that takes load jobs. Every method raises WarehouseUnavailableError, after which nothing is known."""

    async def prepare(self) -> None:
        """Create the table when it is missing. Idempotent."""
        ...

    async def load(self, job_id: str, content: bytes) -> JobResult:
        """Load a file by a job of this id, wait for its end and return that.

        Idempotent: where a job of this id exists already, nothing is sent and that one's end is returned.
        """
        ...

    async def result_of(self, job_id: str) -> JobResult | None:
        """Wait for the end of a job that may exist and return it; None when there is no job of this id."""
        ...

    async def is_accepting(self) -> bool:
        """Say whether a load job without a row succeeds: if not, no refusal says anything about rows."""
        ...

    async def close(self) -> None:
        """Give back what the client holds."""
        ...

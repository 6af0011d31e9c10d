"""A feed, a state store and a warehouse in memory, which can fail before or after whatever they do."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from capture_svc.feed import FeedPage
from capture_svc.mirror.settings import BigQuerySettings
from capture_svc.mirror.state import Key, MirrorState, RefusedRow, from_json, to_json
from capture_svc.mirror.state_store import MirrorTakenError
from capture_svc.mirror.warehouse import JobOutcome, JobResult
from trellis.capture.v1 import event_pb2

_BARREN = "barren"
START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
SETTINGS = BigQuerySettings(project="p", dataset="d", table="events", max_seconds=0, max_rows=50)


class Crash(BaseException):
    """The process dies here: nothing may catch it."""


class Trouble:
    """Decides at every boundary of the mirror, before and after each effect, whether the process dies there."""

    def __init__(self, crash_at: Sequence[int] = ()) -> None:
        self._crash_at = set(crash_at)
        self.passed = 0
        self.crashes = 0

    def pass_point(self) -> None:
        """Pass one point, or die."""
        self.passed += 1
        if self.passed in self._crash_at:
            self.crashes += 1
            raise Crash


class TurnedClock:
    """A clock that moves a second with every look."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        """Return the next second."""
        self._now += timedelta(seconds=1)
        return self._now


def event(journal_id: str, sequence: int) -> event_pb2.Event:
    """Return a small event."""
    return event_pb2.Event(
        organization_id="org_acmecorp",
        event_id=f"{journal_id}-{sequence}",
        event_time_ms=int(START.timestamp() * 1000) + sequence,
        event_type=b"click",
        method="GET",
        target=b"/in/summer_sale?source=facebook",
        scheme="https",
        host=b"track.acmecorp.com",
        headers=b"User-Agent: test\r\n",
        journal_id=journal_id,
        sequence=sequence,
    )


@dataclass
class MemoryFeed:
    """Journals in memory. A page is filled journal by journal, so later events change which page an event is on."""

    trouble: Trouble = field(default_factory=Trouble)
    journals: dict[str, list[int]] = field(default_factory=dict)
    barren_pages: int = 0
    """Empty pages between every two others: batches of which nothing was stored."""
    reads: int = 0

    def append(self, journal_id: str, count: int) -> None:
        """Add events to a journal, leaving gaps in its sequence."""
        sequences = self.journals.setdefault(journal_id, [])
        for _ in range(count):
            last = sequences[-1] if sequences else 0
            sequences.append(last + 1 + (last % 3 == 0))

    @property
    def keys(self) -> set[Key]:
        """Every event there is."""
        return {(journal, sequence) for journal, found in self.journals.items() for sequence in found}

    async def read(self, cursor: bytes, *, max_event_count: int) -> FeedPage:
        """Give out a page."""
        self.trouble.pass_point()
        self.reads += 1
        position: dict[str, int] = json.loads(cursor) if cursor else {}
        batch = event_pb2.EventBatch()
        is_behind = any(found[-1] > position.get(journal, 0) for journal, found in self.journals.items() if found)
        if is_behind and position.get(_BARREN, 0) < self.barren_pages:
            position[_BARREN] = position.get(_BARREN, 0) + 1
            return FeedPage(b"", 0, json.dumps(position).encode(), START - timedelta(hours=2))
        position[_BARREN] = 0
        for journal, sequences in self.journals.items():
            fresh = [s for s in sequences if s > position.get(journal, 0)][: max_event_count - len(batch.events)]
            batch.events.extend(event(journal, sequence) for sequence in fresh)
            if fresh:
                position[journal] = fresh[-1]
        return FeedPage(
            batch.SerializeToString(), len(batch.events), json.dumps(position).encode(), START - timedelta(hours=1)
        )

    async def wait(self, timeout_seconds: float) -> None:
        """Return at once."""


class MemoryStateStore:
    """States in memory."""

    def __init__(self, trouble: Trouble | None = None) -> None:
        self.trouble = trouble or Trouble()
        self.states: list[str] = []
        self.aside: dict[Key, str] = {}
        self.event_count = 0

    async def read(self) -> MirrorState:
        """Return the newest state."""
        self.trouble.pass_point()
        return self.newest()

    def newest(self) -> MirrorState:
        """Return the newest state, without any trouble."""
        return from_json(len(self.states), self.states[-1]) if self.states else MirrorState.initial()

    async def write(self, state: MirrorState) -> None:
        """Append a state, unless another writer was faster."""
        self.trouble.pass_point()
        if state.version != len(self.states) + 1:
            raise MirrorTakenError
        self.states.append(to_json(state))
        self.trouble.pass_point()

    async def set_aside(self, rows: Sequence[RefusedRow]) -> None:
        """Record refused rows."""
        self.trouble.pass_point()
        self.aside.update((row.key, row.reason) for row in rows)
        self.trouble.pass_point()

    async def feed_event_count(self) -> int:
        """Return what a test has set: this store has no events."""
        return self.event_count


@dataclass
class MemoryWarehouse:
    """A table in memory that keeps BigQuery's promises: a job is all or nothing, and an id is taken once."""

    trouble: Trouble = field(default_factory=Trouble)
    bad: Callable[[Key], bool] = lambda _: False
    fate: Callable[[str], JobResult | None] = lambda _: None
    """What becomes of a job whatever its rows are; by its id."""
    is_table_right: bool = True
    table: list[Key] = field(default_factory=list)
    jobs: dict[str, tuple[frozenset[Key], JobResult]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)

    async def prepare(self) -> None:
        """There is a table always."""
        self.trouble.pass_point()

    async def load(self, job_id: str, content: bytes) -> JobResult:
        """Run a job, unless its id is taken."""
        self.trouble.pass_point()
        self.sent.append(job_id)
        keys = _keys(content)
        if job_id in self.jobs:
            assert self.jobs[job_id][0] == frozenset(keys), "a job id named other rows before"
        else:
            self.jobs[job_id] = frozenset(keys), self._run(job_id, keys)
        self.trouble.pass_point()
        return self.jobs[job_id][1]

    def _run(self, job_id: str, keys: list[Key]) -> JobResult:
        if not self.is_table_right:
            return JobResult(JobOutcome.REFUSED, reason="invalid")
        fate = self.fate(job_id)
        if fate is not None:
            return fate
        if any(map(self.bad, keys)):
            return JobResult(JobOutcome.REFUSED, reason="invalid")
        self.table.extend(keys)
        return JobResult(JobOutcome.LOADED, row_count=len(keys))

    async def result_of(self, job_id: str) -> JobResult | None:
        """Return how a job ended."""
        self.trouble.pass_point()
        return self.jobs[job_id][1] if job_id in self.jobs else None

    async def is_accepting(self) -> bool:
        """Say whether the table is what the rows are made for."""
        self.trouble.pass_point()
        return self.is_table_right

    async def close(self) -> None:
        """Nothing to close."""


def _keys(content: bytes) -> list[Key]:
    rows = [json.loads(line)["request_data"] for line in gzip.decompress(content).splitlines()]
    return [(row["journal_id"], row["sequence"]) for row in rows]

"""What every warehouse promises to the mirror. Run against each implementation, and each stand-in of BigQuery."""

import contextlib
import gzip
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import pytest

from capture_svc.mirror.rows import rows_of
from capture_svc.mirror.warehouse import JobOutcome, Warehouse, WarehouseUnavailableError
from tests.unit.mirror.fakes import event
from trellis.capture.v1 import event_pb2


class Place(Protocol):
    """A warehouse and a way to look into it."""

    warehouse: Warehouse

    async def event_ids(self) -> list[str]:
        """Return the ids in the table, sorted."""
        ...

    async def drop_table(self) -> None:
        """Take the table away."""
        ...


def content(sequences: Sequence[int], *, bad: Sequence[int] = (), body: bytes = b"", is_plain: bool = False) -> bytes:
    """Return a load file of small events, the bad ones with a time that is none."""
    lines = []
    for sequence in sequences:
        one = event("a", sequence)
        one.body = body
        (row,) = rows_of(event_pb2.EventBatch(events=[one]).SerializeToString(), ingested_at=datetime.now(UTC))
        lines.append(row.line.replace(b'"timestamp":"', b'"timestamp":"x') if sequence in bad else row.line)
    return b"".join(lines) if is_plain else gzip.compress(b"".join(lines))


def ids(sequences: Sequence[int]) -> list[str]:
    """Return the event ids of these sequences, sorted."""
    return sorted(f"a-{sequence}" for sequence in sequences)


class WarehouseContract:
    """The suite. A subclass provides the fixture ``place``, and says whether its place reads plain files only."""

    is_plain = False

    @pytest.fixture(autouse=True)
    def _own_job_ids(self) -> None:
        self._prefix = uuid.uuid4().hex

    def job(self, number: int) -> str:
        """Return a job id: a place may outlive a test, and an id is taken once."""
        return f"{self._prefix}_{number}"

    def content(self, sequences: Sequence[int], *, bad: Sequence[int] = (), body: bytes = b"") -> bytes:
        """Return a load file."""
        return content(sequences, bad=bad, body=body, is_plain=self.is_plain)

    async def test_a_job_loads_its_rows(self, place: Place) -> None:
        await place.warehouse.prepare()
        result = await place.warehouse.load(self.job(1), self.content([1, 2, 3]))
        assert (result.outcome, result.row_count) == (JobOutcome.LOADED, 3)
        assert await place.event_ids() == ids([1, 2, 3])

    async def test_jobs_add_up(self, place: Place) -> None:
        await place.warehouse.prepare()
        await place.warehouse.load(self.job(1), self.content([1]))
        await place.warehouse.prepare()
        await place.warehouse.load(self.job(2), self.content([2]))
        assert await place.event_ids() == ids([1, 2])

    async def test_a_job_id_is_taken_once(self, place: Place) -> None:
        await place.warehouse.prepare()
        first = await place.warehouse.load(self.job(1), self.content([1]))
        assert await place.warehouse.load(self.job(1), self.content([1])) == first
        assert await place.warehouse.result_of(self.job(1)) == first
        assert await place.event_ids() == ids([1])

    async def test_a_job_that_nobody_sent_has_no_result(self, place: Place) -> None:
        await place.warehouse.prepare()
        assert await place.warehouse.result_of(self.job(1)) is None

    async def test_one_bad_row_refuses_the_whole_job_for_good(self, place: Place) -> None:
        await place.warehouse.prepare()
        result = await place.warehouse.load(self.job(1), self.content([1, 2, 3], bad=[2]))
        assert (result.outcome, result.reason) == (JobOutcome.REFUSED, "invalid")
        assert await place.warehouse.load(self.job(1), self.content([1, 2, 3], bad=[2])) == result
        assert await place.event_ids() == []

    async def test_a_file_of_many_megabytes_arrives_whole(self, place: Place) -> None:
        await place.warehouse.prepare()
        # Twelve bodies that do not compress: over the size up to which the client sends one request.
        big = self.content(range(1, 13), body=_noise(512 * 1024))
        assert len(big) > 5 * 1024 * 1024
        assert (await place.warehouse.load(self.job(1), big)).row_count == 12
        assert await place.event_ids() == ids(range(1, 13))

    async def test_a_table_that_is_right_is_accepting_and_stays_empty(self, place: Place) -> None:
        await place.warehouse.prepare()
        assert await place.warehouse.is_accepting()
        assert await place.event_ids() == []

    async def test_a_table_that_went_away_comes_back_with_prepare(self, place: Place) -> None:
        await place.warehouse.prepare()
        await place.warehouse.load(self.job(1), self.content([1]))
        await place.drop_table()
        # Not taken at all, or failed later for its missing table: not loaded, and no row's fault.
        with contextlib.suppress(WarehouseUnavailableError):
            result = await place.warehouse.load(self.job(2), self.content([2]))
            assert (result.outcome, result.reason) == (JobOutcome.FAILED, "notFound")
        await place.warehouse.prepare()
        assert (await place.warehouse.load(self.job(3), self.content([2]))).outcome is JobOutcome.LOADED
        assert await place.event_ids() == ids([2])


def _noise(size: int) -> bytes:
    return b"\xff" + random.Random(1).randbytes(size)

"""The real client against BigQuery's REST shapes: what is sent, and what becomes of every kind of answer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from capture_svc import mirror as mirroring
from capture_svc.mirror import bigquery
from capture_svc.mirror.bigquery import BigQueryWarehouse
from capture_svc.mirror.settings import BigQuerySettings
from capture_svc.mirror.warehouse import JobOutcome, WarehouseUnavailableError
from tests.integration.mirror.rest_double import BigQueryDouble, Fault, serving
from tests.integration.mirror.warehouse_contract import WarehouseContract, content, ids
from tests.unit.mirror.fakes import MemoryFeed, MemoryStateStore

pytestmark = pytest.mark.loopback

UPLOAD = "POST /upload/"
JOBS_GET = "GET /bigquery/v2/projects/p/jobs/"


class RestPlace:
    """The double, and a warehouse that talks to it."""

    def __init__(self, double: BigQueryDouble) -> None:
        self.double = double
        self.settings = BigQuerySettings(
            project="p", dataset="d", table="events", api_endpoint=double.endpoint, max_seconds=0, max_rows=40
        )
        self.warehouse = BigQueryWarehouse(self.settings)

    async def event_ids(self) -> list[str]:
        """Return the ids in the table, sorted."""
        return sorted(row["event_id"] for row in self.double.rows.get("events", []))

    async def drop_table(self) -> None:
        """Take the table away."""
        del self.double.tables["events"]


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with serving() as found:
        yield found


@pytest.fixture
async def place(double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RestPlace]:
    monkeypatch.setattr(bigquery, "POLL_SECONDS", (0.001, 0.01))
    found = RestPlace(double)
    yield found
    await found.warehouse.close()


class TestBigQueryOverRest(WarehouseContract):
    """The contract, over the double."""


async def test_the_table_is_the_specification_s(place: RestPlace) -> None:
    await place.warehouse.prepare()
    table = place.double.tables["events"]
    columns = [(column["name"], column["type"], column["mode"]) for column in table["schema"]["fields"]]
    assert columns == [
        ("organization_id", "STRING", "REQUIRED"),
        ("event_id", "STRING", "REQUIRED"),
        ("timestamp", "TIMESTAMP", "REQUIRED"),
        ("request_data", "JSON", "NULLABLE"),
        ("event_type", "STRING", "NULLABLE"),
        ("click_id", "STRING", "NULLABLE"),
        ("session_id", "STRING", "NULLABLE"),
        ("source", "STRING", "NULLABLE"),
        ("medium", "STRING", "NULLABLE"),
        ("campaign", "STRING", "NULLABLE"),
        ("ingested_at", "TIMESTAMP", "NULLABLE"),
    ]
    assert table["schema"]["fields"][-1]["defaultValueExpression"] == "CURRENT_TIMESTAMP()"
    assert table["timePartitioning"] == {"type": "DAY", "field": "timestamp"}
    assert table["clustering"] == {"fields": ["organization_id", "event_type"]}


async def test_a_table_that_another_replica_made_meanwhile_is_taken(place: RestPlace) -> None:
    await place.warehouse.prepare()
    place.double.faults.append(Fault("GET .*/tables/events", reason="notFound"))
    await place.warehouse.prepare()


async def test_a_dataset_that_is_missing_is_said_and_not_made(place: RestPlace, double: BigQueryDouble) -> None:
    warehouse = BigQueryWarehouse(place.settings.model_copy(update={"dataset": "elsewhere"}))
    with pytest.raises(WarehouseUnavailableError, match="NotFound, notFound"):
        await warehouse.prepare()
    await warehouse.close()


async def test_jobs_are_looked_for_where_the_table_is(place: RestPlace) -> None:
    await place.warehouse.prepare()
    await place.warehouse.load("job_1", content([1]))
    assert any("location=EU" in request for request in place.double.requests if request.startswith(JOBS_GET))


async def test_a_job_is_waited_for(place: RestPlace) -> None:
    await place.warehouse.prepare()
    place.double.polls_until_done = 4
    assert (await place.warehouse.load("job_1", content([1]))).outcome is JobOutcome.LOADED
    assert sum(request.startswith(JOBS_GET) for request in place.double.requests) == 5


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (request, fault)
        for request in [UPLOAD, JOBS_GET, "GET .*/tables/"]
        for fault in [
            {"reason": "backendError"},
            {"reason": "internalError"},
            {"reason": "quotaExceeded"},
            {"reason": "rateLimitExceeded"},
            {"reason": "accessDenied"},
            {"raw": b"<html>a proxy's page</html>"},
            {"raw": b""},
            {},
        ]
    ],
)
@pytest.mark.parametrize("is_after_effect", [False, True])
async def test_any_failure_leaves_the_fate_open_and_the_next_try_loads_once(
    place: RestPlace, request_: str, fault: dict[str, str], is_after_effect: bool
) -> None:
    await place.warehouse.prepare()
    place.double.faults.append(Fault(request_, is_after_effect=is_after_effect, **fault))  # type: ignore[arg-type]  # the table above has the right types

    async def work() -> None:
        await place.warehouse.load("job_1", content([1, 2]))
        await place.warehouse.prepare()

    with pytest.raises(WarehouseUnavailableError) as failure:
        await work()
    assert "SECRET" not in failure.value.message
    result = await place.warehouse.load("job_1", content([1, 2]))
    assert (result.outcome, result.row_count) == (JobOutcome.LOADED, 2)
    assert await place.event_ids() == ids([1, 2])


async def test_the_client_never_tries_again_by_itself(place: RestPlace) -> None:
    await place.warehouse.prepare()
    place.double.requests.clear()
    place.double.faults.append(Fault(UPLOAD, reason="backendError"))
    with pytest.raises(WarehouseUnavailableError):
        await place.warehouse.load("job_1", content([1]))
    assert len(place.double.requests) == 1


@pytest.mark.parametrize("reason", ["backendError", "quotaExceeded", "stopped", "resourcesExceeded", "notFound"])
async def test_a_job_that_failed_for_no_fault_of_its_rows_says_so(place: RestPlace, reason: str) -> None:
    await place.warehouse.prepare()
    place.double.job_fates.append(reason)
    result = await place.warehouse.load("job_1", content([1]))
    assert (result.outcome, result.reason) == (JobOutcome.FAILED, reason)
    assert (await place.warehouse.load("job_2", content([1]))).outcome is JobOutcome.LOADED


async def test_a_job_that_exists_and_is_not_shown_yet_is_not_taken_for_gone(place: RestPlace) -> None:
    await place.warehouse.prepare()
    place.double.hidden_polls = 2
    for _ in range(2):
        with pytest.raises(WarehouseUnavailableError, match="does not show it yet"):
            await place.warehouse.load("job_1", content([1]))
    assert (await place.warehouse.load("job_1", content([1]))).outcome is JobOutcome.LOADED
    assert await place.event_ids() == ids([1])


async def test_a_table_without_our_columns_is_not_accepting(place: RestPlace) -> None:
    await place.warehouse.prepare()
    del place.double.tables["events"]["schema"]["fields"][3]
    assert not await place.warehouse.is_accepting()
    place.double.job_fates.append("backendError")
    with pytest.raises(WarehouseUnavailableError):
        await place.warehouse.is_accepting()


async def test_a_bigquery_that_hangs_blocks_nobody_and_can_be_left(place: RestPlace) -> None:
    await place.warehouse.prepare()
    place.double.faults.append(Fault(UPLOAD, delay_seconds=1.0))
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(place.warehouse.load("job_1", content([1])))
    slowest = 0.0
    for _ in range(30):
        before = loop.time()
        await asyncio.sleep(0.01)
        slowest = max(slowest, loop.time() - before)
    assert slowest < 0.5
    assert not task.done()
    task.cancel()
    before = loop.time()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.time() - before < 0.5


async def test_nothing_listens_there(place: RestPlace) -> None:
    dead = BigQueryWarehouse(place.settings.model_copy(update={"api_endpoint": "http://127.0.0.1:9"}))
    with pytest.raises(WarehouseUnavailableError, match="ConnectionError"):
        await dead.prepare()
    await dead.close()


async def test_without_credentials_the_mirror_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    warehouse = BigQueryWarehouse(BigQuerySettings(project="p"))
    with pytest.raises(WarehouseUnavailableError, match="DefaultCredentialsError"):
        await warehouse.prepare()


async def test_a_mirror_ends_exactly_once_whatever_bigquery_does(
    place: RestPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole way with the real client: lost answers, outages, failed jobs and a bad row."""
    monkeypatch.setattr(mirroring, "FIRST_RETRY_SECONDS", 0.001)
    double, feed, states = place.double, MemoryFeed(), MemoryStateStore()
    feed.append("a", 100)
    feed.append("b", 30)
    double.faults += [
        Fault("POST .*/tables", reason="backendError"),
        Fault("POST .*/tables", is_after_effect=True),
        Fault(UPLOAD, is_after_effect=True),
        Fault(UPLOAD, is_after_effect=True),
        *[Fault(JOBS_GET, reason="backendError") for _ in range(3)],
        *[Fault(UPLOAD) for _ in range(3)],
    ]
    double.job_fates += ["backendError", "", "internalError", "invalid", "", "stopped"]
    task = asyncio.create_task(mirroring.follow(lambda: feed, states, place.warehouse, place.settings))
    async with asyncio.timeout(30):
        while states.newest().settled_count < 130:
            await asyncio.sleep(0.01)
            assert not task.done(), task.exception()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await place.event_ids() == sorted(f"{journal}-{sequence}" for journal, sequence in feed.keys)
    assert not states.aside
    assert not double.faults
    assert not double.job_fates
    assert "SECRET" not in caplog.text


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

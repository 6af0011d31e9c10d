"""BigQuery as the mirror's warehouse: load jobs through Google's client, off the event loop.

The client's own retries are off. The mirror has one place that waits and tries again, and there it knows that a job id
is taken once; a retry inside the client could hide that an answer was lost.
"""

import asyncio
import contextlib
import functools
import io
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from google.api_core import exceptions as api_errors
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.resumable_media import common as upload_errors

from capture_svc.mirror.settings import BigQuerySettings
from capture_svc.mirror.warehouse import JobOutcome, JobResult, WarehouseUnavailableError

T = TypeVar("T")

CONTENT_REASONS = frozenset({"invalid"})
"""Codes of a job that failed for its rows, or for what the table is; any other may go away by itself."""
REQUEST_TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and seconds without an answer. A process that ends waits this long for a thread that waits."""
POLL_SECONDS = (0.25, 5.0)
"""First and longest wait between two looks at a job."""


def _fields() -> list[bigquery.SchemaField]:
    """Return the specification's columns."""
    return [
        bigquery.SchemaField("organization_id", "STRING", "REQUIRED"),
        bigquery.SchemaField("event_id", "STRING", "REQUIRED"),
        bigquery.SchemaField("timestamp", "TIMESTAMP", "REQUIRED"),
        bigquery.SchemaField("request_data", "JSON"),
        bigquery.SchemaField("event_type", "STRING"),
        bigquery.SchemaField("click_id", "STRING"),
        bigquery.SchemaField("session_id", "STRING"),
        bigquery.SchemaField("source", "STRING"),
        bigquery.SchemaField("medium", "STRING"),
        bigquery.SchemaField("campaign", "STRING"),
    ]


class BigQueryWarehouse:
    """One table in BigQuery. For one task: one job at a time."""

    def __init__(self, settings: BigQuerySettings) -> None:
        self._settings = settings
        self._table_id = f"{settings.project}.{settings.dataset}.{settings.table}"
        self._location: str | None = settings.location or None
        self._client: bigquery.Client | None = None
        self._lock = threading.Lock()

    async def prepare(self) -> None:
        """Create the table when it is missing. Idempotent."""
        table = await self._call(self._get_or_create_table)
        self._location = self._settings.location or table.location

    async def load(self, job_id: str, content: bytes) -> JobResult:
        """Load a file by a job of this id, wait for its end and return that; see ``Warehouse``."""
        # A job of this id that exists is ours, of an earlier try whose answer was lost: its end is what counts.
        with contextlib.suppress(_JobExistsError):
            await self._call(functools.partial(self._start, job_id, content))
        result = await self.result_of(job_id)
        if result is None:
            raise WarehouseUnavailableError("BigQuery took a job and does not show it yet")
        return result

    async def result_of(self, job_id: str) -> JobResult | None:
        """Wait for the end of a job that may exist and return it; None when there is no job of this id."""
        delay, longest = POLL_SECONDS
        while True:
            job = await self._call(functools.partial(self._find, job_id))
            if job is None:
                return None
            if job.state == "DONE":
                return _result(job)
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            delay = min(delay * 2, longest)

    async def is_accepting(self) -> bool:
        """Say whether a load job without a row succeeds."""
        result = await self.load(f"trellis_control_{uuid.uuid4().hex}", b"")
        if result.outcome is JobOutcome.FAILED:
            raise WarehouseUnavailableError(f"a load job failed: {result.reason}")
        return result.outcome is JobOutcome.LOADED

    async def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    def _get_client(self) -> Any:
        # Made on first use and in a worker thread: looking for the default credentials may ask the network.
        with self._lock:
            if self._client is None:
                endpoint = self._settings.api_endpoint
                # Credentials never travel in the clear: a plain endpoint is an emulator and gets none.
                anonymous = (
                    AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth's constructors are not typed
                    if endpoint.startswith("http://")
                    else None
                )
                self._client = bigquery.Client(
                    project=self._settings.project,
                    location=self._location,
                    credentials=anonymous,
                    client_options={"api_endpoint": endpoint} if endpoint else None,
                )
            return self._client

    def _get_or_create_table(self) -> Any:
        client = self._get_client()
        try:
            return client.get_table(self._table_id, retry=None, timeout=REQUEST_TIMEOUT)
        except api_errors.NotFound:
            pass
        ingested_at = bigquery.SchemaField("ingested_at", "TIMESTAMP", default_value_expression="CURRENT_TIMESTAMP()")
        table = bigquery.Table(self._table_id, schema=[*_fields(), ingested_at])
        table.time_partitioning = bigquery.TimePartitioning(bigquery.TimePartitioningType.DAY, field="timestamp")
        table.clustering_fields = ["organization_id", "event_type"]
        try:
            return client.create_table(table, retry=None, timeout=REQUEST_TIMEOUT)
        except api_errors.Conflict:  # another replica was faster
            return client.get_table(self._table_id, retry=None, timeout=REQUEST_TIMEOUT)

    def _start(self, job_id: str, content: bytes) -> None:
        try:
            self._get_client().load_table_from_file(
                io.BytesIO(content),
                self._table_id,
                size=len(content),
                num_retries=0,
                job_id=job_id,
                location=self._location,
                job_config=_job_config(),
                timeout=REQUEST_TIMEOUT,
            )
        except api_errors.Conflict as error:
            raise _JobExistsError from error

    def _find(self, job_id: str) -> Any:
        try:
            return self._get_client().get_job(job_id, location=self._location, retry=None, timeout=REQUEST_TIMEOUT)
        except api_errors.NotFound:
            return None

    async def _call(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread; whatever keeps BigQuery from answering becomes one error."""
        try:
            return await asyncio.to_thread(work)
        except _JobExistsError:
            raise
        except api_errors.GoogleAPICallError as error:
            reasons = [str(item.get("reason", "")) for item in error.errors if isinstance(item, dict)]
            raise _unavailable(error, *reasons) from error
        except _NO_ANSWER as error:
            raise _unavailable(error) from error


class _JobExistsError(Exception):
    """There is a job of this id."""


_NO_ANSWER = (
    auth_errors.GoogleAuthError,
    requests.RequestException,
    upload_errors.InvalidResponse,
    upload_errors.DataCorruption,
    OSError,
    # An answer of another shape, from a proxy on the way perhaps: the client stumbles over it.
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


def _unavailable(error: Exception, *reasons: str) -> WarehouseUnavailableError:
    """Name the kind of error and BigQuery's codes; never its text, which may quote a row."""
    return WarehouseUnavailableError(
        "BigQuery does not answer as it should: " + ", ".join([type(error).__name__, *reasons])
    )


def _job_config() -> bigquery.LoadJobConfig:
    config = bigquery.LoadJobConfig()
    config.schema = [*_fields(), bigquery.SchemaField("ingested_at", "TIMESTAMP")]
    config.source_format = bigquery.SourceFormat.NEWLINE_DELIMITED_JSON
    config.write_disposition = bigquery.WriteDisposition.WRITE_APPEND
    # A load job would make a missing table without its partitions.
    config.create_disposition = bigquery.CreateDisposition.CREATE_NEVER
    config.max_bad_records = 0
    config.ignore_unknown_values = False
    config.labels = {"application": "trellis"}
    return config


def _result(job: Any) -> JobResult:
    error = job.error_result
    if not error:
        return JobResult(JobOutcome.LOADED, row_count=job.output_rows or 0)
    reason = str(error.get("reason", "unknown"))
    outcome = JobOutcome.REFUSED if reason in CONTENT_REASONS else JobOutcome.FAILED
    return JobResult(outcome, reason=reason)

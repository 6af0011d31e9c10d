"""Small parts: ids, codes, DSNs, settings, quotas, health, spans."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from capture_svc import availability, traces
from capture_svc.availability import StoreWatch, ended, unbroken
from capture_svc.batch import Batch, own_journal_id
from capture_svc.event_ids import keyed_event_id, new_event_id
from capture_svc.health import report_health
from capture_svc.hosts import host_name
from capture_svc.quarantine import UnclaimedQuota, unclaimed_reason
from capture_svc.settings import CaptureSettings
from capture_svc.store.clickhouse import EVENT_FIELDS
from capture_svc.store.error_codes import CONTENT_NAMES, Verdict, verdict
from ingress_gateway import ids as gateway_ids
from svc_runtime.clickhouse import parse_dsn
from svc_runtime.clickhouse_migrations import for_cluster, statements
from svc_runtime.errors import UnavailableError
from svc_runtime.protobuf_schema import schema_text
from svc_runtime.settings import load
from tests.contract.capture.memory_store import Memory
from tests.contract.capture.store_contract import kept
from trellis.capture.v1 import event_pb2

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"a", b"", b"\xff\x00", "ü".encode(), b"x" * 500])
def test_we_and_the_gateway_give_a_key_the_same_id(key: bytes) -> None:
    assert keyed_event_id("org_acmecorp", key) == gateway_ids.keyed_event_id("org_acmecorp", key)
    assert keyed_event_id("org_acmecorp", key) != keyed_event_id("org_globex", key)


def test_new_ids_are_of_their_time_and_differ() -> None:
    found = {new_event_id(1_795_176_000_123) for _ in range(100)}
    assert len(found) == 100
    for text in found:
        identity = uuid.UUID(text)
        assert (identity.version, identity.variant, identity.int >> 80) == (7, uuid.RFC_4122, 1_795_176_000_123)


def test_our_own_journals_have_ids_of_their_own() -> None:
    found = {own_journal_id(kind, name) for kind in ("direct", "replay") for name in ("r0", "r1")}
    assert len(found) == 4
    assert all(len(bytes.fromhex(text)) == 16 for text in found)


# -- ClickHouse --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (376, Verdict.CONTENT),
        (469, Verdict.CONTENT),
        (159, Verdict.TOO_SLOW),
        (243, Verdict.UNAVAILABLE),
        (252, Verdict.UNAVAILABLE),
        (60, Verdict.UNAVAILABLE),
        (None, Verdict.UNAVAILABLE),
        (999_999, Verdict.UNAVAILABLE),
    ],
)
def test_errors_are_judged_by_code(code: int | None, expected: Verdict) -> None:
    assert verdict(code) is expected


@pytest.mark.parametrize("code", [60, 81, 159, 164, 202, 209, 210, 241, 242, 243, 252, 319, 394, 425, 516, 999])
def test_no_trouble_of_the_store_is_taken_for_bad_content(code: int) -> None:
    assert code not in CONTENT_NAMES


def test_dsns() -> None:
    embedded = parse_dsn("chdb:///var/lib/trellis/capture/?database=other", default_database="capture")
    assert (embedded.is_embedded, embedded.path, embedded.database) == (True, "/var/lib/trellis/capture", "other")
    server = parse_dsn("clickhouse://u%40x:p%2Fw@ch.example/events?insert_quorum=auto", default_database="capture")
    assert dict(server.client) == {
        "interface": "http",
        "host": "ch.example",
        "port": 8123,
        "username": "u@x",
        "password": "p/w",
    }
    assert (server.database, server.settings) == ("events", (("insert_quorum", "auto"),))
    secure = dict(parse_dsn("clickhouses://ch.example?ca_cert=/ca.pem", default_database="capture").client)
    assert (secure["interface"], secure["port"], secure["ca_cert"]) == ("https", 8443, "/ca.pem")


@pytest.mark.parametrize(
    "text", ["", "chdb:relative", "chdb://host/x", "postgres://x", "clickhouse:///x", "clickhouse://"]
)
def test_bad_dsns_are_refused_without_being_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(chdb|not chdb)") as refused:
        parse_dsn(text, default_database="capture")
    assert text == "" or text not in str(refused.value)


def test_a_dsn_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(parse_dsn("clickhouse://u:hunter2@ch.example/x", default_database="capture"))


def test_statements_for_one_server_and_for_a_cluster() -> None:
    text = "CREATE TABLE t ${on_cluster} (x UInt8)\nENGINE = ${replicated}MergeTree;\nSELECT ';';\n"
    first, second = statements(text)
    assert for_cluster(first, "") == "CREATE TABLE t  (x UInt8)\nENGINE = MergeTree"
    assert for_cluster(first, "main") == "CREATE TABLE t ON CLUSTER 'main' (x UInt8)\nENGINE = ReplicatedMergeTree"
    assert second == "SELECT ';'"


def test_the_schema_is_every_field_of_the_event_and_imports_nothing() -> None:
    text = schema_text(event_pb2.Event.DESCRIPTOR)
    for field in event_pb2.Event.DESCRIPTOR.fields:
        assert f" {field.name} = {field.number};" in text
        assert field.name in EVENT_FIELDS
    assert "import" not in text
    assert "repeated string marks = 22;" in text


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTURE_CLICKHOUSE_DSN", "chdb:///data")
    monkeypatch.setenv("CAPTURE_REPLICA", "capture-3")
    monkeypatch.setenv("CAPTURE_UNCLAIMED_PER_DAY", "7")
    monkeypatch.setenv("CAPTURE_BIGQUERY_PROJECT", "p")
    monkeypatch.setenv("CAPTURE_BIGQUERY_MAX_ROWS", "11")
    problems: list[str] = []
    found = load(CaptureSettings, problems)
    assert not problems
    assert found is not None
    assert (found.dsn.path, found.replica, found.unclaimed_per_day) == ("/data", "capture-3", 7)
    assert (found.bigquery.is_on, found.bigquery.max_rows) == (True, 11)


def test_a_bad_dsn_is_a_problem_that_does_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTURE_CLICKHOUSE_DSN", "clickhause://u:hunter2@h/x")
    problems: list[str] = []
    assert load(CaptureSettings, problems) is None
    assert len(problems) == 1
    assert problems[0].startswith("CAPTURE_CLICKHOUSE_DSN: ")
    assert "hunter2" not in problems[0]


# -- hosts, quotas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"Go.Example:8080", "go.example"),
        (b"go.example", "go.example"),
        (b" go.example ", "go.example"),
        (b"[::1]:80", "[::1]"),
        (b"", ""),
        (b"\xff.example", "\ufffd.example"),
    ],
)
def test_host_names(header: bytes, name: str) -> None:
    assert host_name(header) == name


def test_reasons_of_the_unclaimed() -> None:
    assert unclaimed_reason(("test", "unclaimed_key")) == "unclaimed_key"
    assert unclaimed_reason(()) == "unclaimed_host"


async def test_the_quota_counts_what_is_there_and_begins_anew_each_day() -> None:
    store = Memory().quarantine
    today = datetime(2026, 11, 20, tzinfo=UTC)
    await store.insert([kept(1, organization_id="", event=b"12345")], token="t")
    quota = UnclaimedQuota(store, count_per_day=4, bytes_per_day=100)
    assert await quota.admit([1, 1], today) == 2
    assert await quota.admit([1, 1, 1], today + timedelta(hours=23)) == 1
    assert await quota.admit([1], today + timedelta(hours=23)) == 0
    assert await quota.admit([60, 39, 2], today + timedelta(days=1)) == 2


# -- a store that fails ------------------------------------------------------------------------------------------------


async def test_work_is_repeated_with_growing_delays_until_it_is_done() -> None:
    watch, tries = StoreWatch(), list[float]()

    async def work() -> str:
        tries.append(time.monotonic())
        if len(tries) < 5:
            raise UnavailableError("away")
        return "done"

    assert await watch.persist(work, patience_seconds=10) == "done"
    gaps = [b - a for a, b in itertools.pairwise(tries)]
    assert 0.02 < gaps[0] < gaps[-1]
    assert watch.failing_seconds == 0


async def test_patience_ends() -> None:
    watch = StoreWatch()

    async def work() -> None:
        raise UnavailableError("away")

    with pytest.raises(UnavailableError):
        await watch.persist(work, patience_seconds=0.1)
    assert watch.failing_seconds > 0
    other = StoreWatch()
    with pytest.raises(UnavailableError):
        await other.persist(work, patience_seconds=0, is_write=False)
    assert other.failing_seconds == 0


async def test_unbroken_work_ends_before_the_cancellation_goes_on() -> None:
    order: list[str] = []
    go_on = asyncio.Event()

    async def work() -> None:
        order.append("begun")
        await go_on.wait()
        order.append("ended")

    async def caller() -> None:
        try:
            await unbroken(work())
        finally:
            order.append("left")

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["begun", "ended", "left"]


async def test_failed_tasks_are_waited_for_in_silence() -> None:
    async def fail() -> None:
        raise ValueError("x")

    await ended(asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0)))


class Probe:
    """A store that can be made to fail."""

    def __init__(self) -> None:
        self.is_up = True
        self.calls: list[str] = []

    async def ping(self) -> None:
        """Answer."""
        await self._call("ping")

    async def write(self) -> None:
        """Take a row."""
        await self._call("write")

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if not self.is_up:
            raise UnavailableError("away")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_health_follows_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture_svc.health._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("capture_svc.health.FAILING_SECONDS", 0.1)
    monkeypatch.setattr(availability, "_PROBE_SECONDS", 0.05)
    watch, probe, said, is_ready = StoreWatch(), Probe(), list[bool](), list[bool]()

    async def set_serving(is_serving: bool) -> None:
        said.append(is_serving)

    task = asyncio.create_task(report_health(watch, probe, set_serving, is_ready=lambda: bool(is_ready)))
    await asyncio.sleep(0.05)
    assert (said, probe.calls) == ([False], []), "before it is ready nobody asks the store"
    is_ready.append(True)
    await _until(lambda: said == [False, True])
    probe.is_up = False
    await asyncio.sleep(0.05)
    assert said == [False, True], "not at once"
    await _until(lambda: said == [False, True, False])
    probe.is_up = True
    await _until(lambda: said == [False, True, False, True])
    assert "write" in probe.calls

    def batches_do_not_go_in() -> bool:
        watch.failed(UnavailableError("disk full"))
        return said[-1] is False

    await _until(batches_do_not_go_in)
    # Reads work and small writes too: nobody tries any more.
    await _until(lambda: said[-1] is True)
    task.cancel()


# -- spans -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Collect the spans that end."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(traces, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def traceparent(number: int, flags: str = "01") -> str:
    """Return one."""
    return f"00-{number:032x}-{number:016x}-{flags}"


def test_a_batch_without_a_sampled_request_makes_no_span(spans: InMemorySpanExporter) -> None:
    for given in ((), (traceparent(1, "00"),), ("nonsense", "00-0-0-01", "")):
        with traces.insert_span(Batch("a" * 32, 1, 2, b"", {}, traceparents=given)):
            assert not trace.get_current_span().get_span_context().is_valid
    assert spans.get_finished_spans() == ()


def test_the_insert_is_in_the_first_sampled_trace_and_linked_to_the_others(spans: InMemorySpanExporter) -> None:
    given = ("bad", traceparent(1, "00"), traceparent(2), traceparent(3), traceparent(4))
    with traces.insert_span(Batch("a" * 32, 7, 9, b"123", {"o": 3}, traceparents=given)):
        pass
    (span,) = spans.get_finished_spans()
    assert span.name == "capture.insert"
    assert span.context is not None
    assert span.parent is not None
    assert span.context.trace_id == span.parent.trace_id == 2
    assert span.parent.span_id == 2
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [(3, 3), (4, 4)]
    assert span.attributes is not None
    assert span.attributes["trellis.sequence"] == 7
    assert span.attributes["trellis.event_count"] == 3

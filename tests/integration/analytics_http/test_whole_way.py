"""From an HTTP request to rows in a real engine and back: the gateway before what analytics_svc really answers."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import pytest_asyncio

from analytics_svc.behavior.questions import BehaviorQuestions
from analytics_svc.cache import Results
from analytics_svc.reports import Reports
from analytics_svc.servicer.behavior import BehaviorMethods
from analytics_svc.servicer.realtime import RealtimeMethods
from analytics_svc.servicer.reports import ReportMethods
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.reader import ClickHouseReadingReader
from analytics_svc.watch import RealtimeQuestions
from svc_runtime.paging import PageTokens
from tests.contract.gateway_api.fakes import ACME, OTHER, OTHER_KEY
from tests.contract.gateway_api.mesh import Answer, Mesh, running_mesh
from tests.reading import insert_events, reading
from trellis.analytics.v1 import analytics_service_pb2, analytics_service_pb2_grpc

pytestmark = [pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]

assert analytics_service_pb2.DESCRIPTOR.services_by_name  # access rules are looked up there
ROOT = "/api/v1/analytics"
CAMPAIGN = "tiktok_organic_q2_2024"
NOW = datetime(2024, 6, 2, 12, tzinfo=UTC)
FRIDAY = datetime(2024, 3, 1, 19, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return NOW


class Servicer(ReportMethods, BehaviorMethods, RealtimeMethods, analytics_service_pb2_grpc.AnalyticsServiceServicer):  # type: ignore[misc]  # all but SQL
    """The RPCs behind the reports."""

    def __init__(self, reader: ClickHouseReadingReader) -> None:
        self.clock = Clock()
        self.page_tokens = PageTokens("m" * 40, "analytics")
        results = Results(MemoryResultCache())
        self.reports = Reports(reader, results, watermark=lambda: NOW, clock=self.clock)
        self.behavior = BehaviorQuestions(reader, results, clock=self.clock, watermark_time=lambda: NOW)
        self.realtime = RealtimeQuestions(reader, clock=self.clock, watermark_time=lambda: NOW)


def _events() -> list[dict[str, Any]]:
    """Make 40 clicks of 20 visitors from TikTok, 4 of whom buy; a visitor who came twice; another organisation's."""
    clicks = [
        {
            "event_time": FRIDAY + timedelta(days=7 * (number % 13), minutes=number),
            "user_id": f"u{number % 20}",
            "session_id": f"s{number}",
            "source": "tiktok",
            "medium": "organic",
            "channel": "organic_social",
            "campaign_id": CAMPAIGN,
            "country": "US" if number % 4 else "CA",
            "device_type": "mobile" if number % 10 else "desktop",
            "params": {"zoneid": str(number % 2)},
            "click_id": f"c{number}",
        }
        for number in range(40)
    ]
    sales = [
        {
            **clicks[number],
            "event_time": clicks[number]["event_time"] + timedelta(minutes=30),
            "event_type": "purchase",
            "is_conversion": 1,
            "conversion_event": "purchase",
            "value": "99.99",
            "currency": "USD",
            "click_id": "",
        }
        for number in range(4)
    ]
    other = {"source": "google", "medium": "organic", "campaign_id": "", "user_id": "g1", "event_time": NOW}
    bot = {**other, "is_bot": 1, "user_id": ""}
    theirs = {**clicks[0], "organization_id": OTHER, "campaign_id": "theirs", "user_id": "v1", "click_id": "secret"}
    return [*clicks, *sales, other, bot, theirs]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with contextlib.AsyncExitStack() as stack:
        dsn, client = stack.enter_context(reading(tmp_path_factory.mktemp("reading")))
        insert_events(client, _events())
        reader = await stack.enter_async_context(ClickHouseReadingReader.open(dsn, thread_count=2))
        directory: Path = tmp_path_factory.mktemp("gateway")
        yield await stack.enter_async_context(running_mesh(directory, reading=Servicer(reader)))


async def ask(mesh: Mesh, path: str) -> Any:
    answer = await mesh.get(f"{ROOT}/{path}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_campaign_of_the_past_is_told_as_the_specification_tells_it(mesh: Mesh) -> None:
    found = await ask(mesh, f"campaigns?campaign_id={CAMPAIGN}")
    info = found.pop("info")
    assert found == {
        "campaign_id": CAMPAIGN,
        "period": "2024-03-01 to 2024-05-24",
        "metrics": {
            "clicks": 40,
            "unique_users": 20,
            "conversions": 4,
            "conversion_rate": 10.0,
            "revenue": 399.96,
            "average_order_value": 99.99,
            "roas": 0,
            "top_converting_hours": [19],
            "top_converting_days": ["friday"],
            "device_breakdown": {"mobile": 36, "desktop": 4},
        },
    }
    assert (info["currency"], info["watermark"]) == ("USD", "2024-06-02T12:00:00Z")
    asked = await mesh.get(
        f"{ROOT}/campaigns?campaign_id={CAMPAIGN}&metrics=clicks,conversions,revenue&start=2024-03-01&end=2024-06-01"
    )
    assert asked.json["period"] == "2024-03-01 to 2024-06-01"
    assert b'"revenue":399.96,' in asked.body


async def test_campaigns_are_a_table_with_totals(mesh: Mesh) -> None:
    found = await ask(mesh, "campaigns?start=2024-03-01&end=2024-07-01&metrics=clicks,revenue")
    assert [(row["dimensions"]["campaign_id"], row["metrics"]["clicks"]) for row in found["rows"]] == [
        (CAMPAIGN, 40),
        ("", 1),
    ]
    assert found["totals"] == {"clicks": 41, "revenue": 399.96}


async def test_equalities_and_rules_narrow_alike(mesh: Mesh) -> None:
    span = "start=2024-03-01&end=2024-07-01&metrics=clicks"
    for narrowed in (
        "country=CA",
        f"filter={quote(orjson.dumps({'field': 'country', 'operator': 'equals', 'value': 'CA'}))}",
        f"where={quote(orjson.dumps({'country': ['CA'], 'campaign_id': CAMPAIGN}))}",
        "country=CA&country=MX&param.zoneid=0",
    ):
        assert (await ask(mesh, f"breakdown?dimensions=country&{span}&{narrowed}"))["totals"] == {"clicks": 10}, (
            narrowed
        )
    assert (await ask(mesh, f"sources?{span}&param.zoneid=1"))["totals"] == {"clicks": 20}
    assert (await ask(mesh, f"sources?{span}&is_bot=true"))["totals"] == {"clicks": 1}
    assert (await ask(mesh, f"sources?{span}&include_bots=true"))["totals"] == {"clicks": 42}


async def test_a_chart_has_every_step(mesh: Mesh) -> None:
    path = "timeseries?start=2024-03-01&end=2024-04-01&granularity=week&time_zone=Europe/Berlin&metrics=clicks"
    found = await ask(mesh, f"{path}&compare=previous_period")
    (series,) = found["series"]
    assert [point["time"] for point in series["points"]][:2] == ["2024-02-25T23:00:00Z", "2024-03-03T23:00:00Z"]
    assert sum(point["metrics"]["clicks"] for point in series["points"]) == series["totals"]["clicks"] > 0
    assert found["comparison_series"][0]["totals"] == {"clicks": 0}


async def test_pages_of_a_table_follow_each_other(mesh: Mesh) -> None:
    path = "breakdown?dimensions=param.zoneid,country&start=2024-03-01&end=2024-07-01&metrics=clicks&limit=2"
    rows, token = [], ""
    for _ in range(10):
        page = await ask(mesh, f"{path}&page_token={quote(token)}")
        rows += [tuple(row["dimensions"].values()) for row in page["rows"]]
        token = page["next_page_token"]
        if not token:
            break
    assert len(rows) == len(set(rows)) == 4


async def test_behaviour_is_counted(mesh: Mesh) -> None:
    span = "start=2024-03-01&end=2024-07-01"
    steps = (await ask(mesh, f"funnel?{span}&step=click&step=purchase&window=1h"))["funnels"][0]["steps"]
    assert [(step["name"], step["count"]) for step in steps] == [("click", 21), ("purchase", 4)]
    assert steps[1]["percent_of_previous"] == 19.05
    cohorts = (await ask(mesh, f"cohorts?{span}&start_events=click"))["cohorts"]
    assert sum(cohort["size"] for cohort in cohorts) == 21
    revenue = (await ask(mesh, f"retention?{span}&metric=revenue"))["overall"]["cells"][0]
    assert revenue == {"value": 399.96, "percent": None, "is_complete": True}
    paths = await ask(mesh, f"paths?{span}&dimension=source")
    assert (paths["paths"][0]["values"], paths["paths"][0]["conversion_count"]) == (["tiktok"], 4)
    (journey,) = (await ask(mesh, f"journeys?{span}&click_id=c0"))["journeys"]
    assert [touch["event_type"] for touch in journey["touches"]][:2] == ["click", "purchase"]
    assert journey["revenue"] == [{"currency": "USD", "amount": 99.99}]


async def test_realtime_is_of_now(mesh: Mesh) -> None:
    found = await ask(mesh, "realtime")
    assert (found["clicks_last_hour"], found["clicks_today"], found["active_users"]) == (1, 1, 1)
    assert found["traffic_timeline"][0] == {
        "minute": "2024-06-02T12:00:00Z",
        "clicks": 1,
        "conversions": 0,
        "revenue": 0,
    }
    assert found["top_last_hour"]["source"][0]["value"] == "google"


async def test_the_catalogue_is_that_of_the_reports(mesh: Mesh) -> None:
    found = await ask(mesh, "catalog")
    names = {metric["name"] for metric in found["metrics"]}
    assert {"clicks", "unique_users", "conversion_rate", "roas"} <= names
    span = "start=2024-03-01&end=2024-07-01"
    assert (await ask(mesh, f"sources?{span}&metrics={','.join(sorted(names))}"))["totals"].keys() == names


@pytest.mark.parametrize(
    ("path", "field", "text"),
    [
        ("sources?metrics=clocks", "metrics[0]", "'clocks' is no metric; there are events, clicks, unique_users"),
        ("breakdown?dimensions=colour", "dimensions", "'colour' is no dimension; there are asn, browser"),
        ("timeseries?dimension=colour", "dimension", "'colour' is no dimension; there are asn, browser"),
        ("sources?where=%7B%22colour%22:%22red%22%7D", "where", "'colour' is no dimension; there are asn, browser"),
        ("sources?order_by=events", "order_by", None),
        ("sources?currency=XXQ", "currency", None),
        ("sources?page_token=x", "page_token", None),
        ("timeseries?start=2024-01-01&end=2024-06-01&granularity=minute", "granularity", None),
        ("funnel?step=click&window=400d", "window", None),
        ("funnel?step=click&dimension=colour", "dimension", "'colour' is no dimension"),
        ("retention?kind=bracket", "brackets", None),
        ("retention?metric=clicks", "metric", None),
        ("paths?lookback=400d", "lookback", None),
        ("journeys?page_token=x", "page_token", None),
    ],
)
async def test_a_bad_question_is_refused_by_the_name_that_the_client_gave(
    mesh: Mesh, path: str, field: str, text: str | None
) -> None:
    answer: Answer = await mesh.get(f"{ROOT}/{path}")
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT"), answer.body
    assert list(answer.violations) == [field]
    assert text is None or answer.violations[field].startswith(text)


@pytest.mark.parametrize(
    ("theirs", "missing"),
    [
        ("campaigns?campaign_id=theirs", "campaigns?campaign_id=nobody"),
        ("journeys?user_id=v1", "journeys?user_id=nobody"),
        ("journeys?click_id=secret", "journeys?click_id=nobody"),
    ],
)
async def test_what_another_organisation_has_is_like_nothing(mesh: Mesh, theirs: str, missing: str) -> None:
    answers = [await mesh.get(f"{ROOT}/{path}") for path in (theirs, missing)]
    for answer, path in zip(answers, (theirs, missing), strict=True):
        assert (answer.status, answer.reason) == (404, "NOT_FOUND")
        name = path.rpartition("=")[2]
        assert answer.json["detail"].replace(name, "…") == answers[0].json["detail"].replace(
            theirs.rpartition("=")[2], "…"
        )
    seen = await mesh.get(f"{ROOT}/sources?start=2024-03-01&end=2024-07-01&metrics=clicks", key=OTHER_KEY)
    assert seen.json["totals"] == {"clicks": 1}
    assert ACME not in seen.body.decode()

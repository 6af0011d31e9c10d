"""The specification's SQL, byte for byte, through RPC and through HTTP, over a reading whose numbers are known."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import ListValue

from tests.contract.gateway_api.fakes import OTHER_KEY, SECRET_KEY
from tests.contract.gateway_api.mesh import Mesh, running_mesh
from tests.integration.analytics_sql.service import Service
from tests.reading import OTHER, insert_events
from tests.unit.sql_guard.specification import NAMES, WRITES, parameters, text_of
from trellis.analytics.v1 import sql_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]

_FACEBOOK = {"source": "facebook", "medium": "cpc"}


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _half_an_hour_before(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) - timedelta(minutes=30)


def _events(now: datetime) -> Iterator[dict[str, Any]]:
    yield from _of_last_year()
    yield from _of_one_customer()
    yield from _of_the_last_days(now)
    yield from _of_the_last_hours(now)


def _of_last_year() -> Iterator[dict[str, Any]]:
    for day in (1, 15, 30):
        yield {"event_time": datetime(2023, 8, day, tzinfo=UTC), **_FACEBOOK}
    yield {"event_time": datetime(2023, 8, 2, tzinfo=UTC), **_FACEBOOK, "campaign_id": "summer"}
    yield {"event_time": datetime(2023, 6, 30, tzinfo=UTC), **_FACEBOOK}


def _of_one_customer() -> Iterator[dict[str, Any]]:
    journey = (
        ("2024-06-01T10:15", "facebook", "cpc", "summer_awareness", "click", None),
        ("2024-06-03T14:22", "google", "organic", "", "click", None),
        ("2024-06-05T19:45", "email", "newsletter", "june_promo", "click", None),
        ("2024-06-05T19:52", "direct", "", "", "click", None),
        ("2024-06-05T19:55", "direct", "", "", "purchase", 149.99),
    )
    for text, source, medium, campaign_id, event_type, value in journey:
        event_time = datetime.fromisoformat(text).replace(tzinfo=UTC)
        yield {
            "event_time": event_time,
            "user_id": "usr_customer123",
            "session_id": f"journey{event_time.day}",
            "source": source,
            "medium": medium,
            "campaign_id": campaign_id,
            "event_type": event_type,
            "is_conversion": int(value is not None),
            "value": value,
        }


def _of_the_last_days(now: datetime) -> Iterator[dict[str, Any]]:
    yesterday = now.replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
    google = {"source": "google", "medium": "cpc", "country": "US", "device_type": "mobile"}
    number = 0
    for days, clicks, values in ((0, 10, (30,)), (1, 4, (10, 20))):
        at = yesterday - timedelta(days=days)
        for _ in range(clicks):
            number += 1
            yield {**google, "event_time": at, "ip": f"192.0.2.{number}"}
        for value in values:
            number += 1
            sale = {"event_type": "purchase", "is_conversion": 1, "value": value, "session_id": f"sale{number}"}
            yield {**google, **sale, "event_time": at, "ip": f"192.0.2.{number}"}


def _of_the_last_hours(now: datetime) -> Iterator[dict[str, Any]]:
    minute = _half_an_hour_before(now)
    for number in range(24):
        bad = {"source": "badnet", "country": "RU", "device_type": "mobile", "fraud_score": 10.0}
        yield {**bad, "event_time": now - timedelta(hours=2), "ip": f"198.51.100.{number % 2}"}
    for number in range(3):
        bot = {"source": "botnet", "country": "CN", "fraud_score": 90.0}
        yield {**bot, "event_time": now - timedelta(hours=2), "ip": f"198.51.100.{100 + number}"}
    radio = {"source": "radio", "country": "DE"}
    sale = {"event_type": "purchase", "is_conversion": 1, "value": 9.5, "session_id": "radio"}
    for number, (minutes, more) in enumerate(((0, {}), (0, {}), (0, sale), (5, {}))):
        yield {**radio, **more, "event_time": minute - timedelta(minutes=minutes), "ip": f"10.0.0.{number}"}
    for number in range(120):
        yield {
            "source": "swarm",
            "country": "US",
            "event_time": minute - timedelta(minutes=10) + timedelta(seconds=10 + number / 4),
            "ip": "203.0.113.7",
            "user_agent": f"agent {number % 2}",
            "click_id": f"swarm{number}",
        }


_EXPECTED: dict[str, list[list[Any]]] = {
    "time_travel": [["3"]],
    "journeys": [
        ["1", "email", 0, "1"],
        ["1", "google", 20, "3"],
        ["1", "radio", 9.5, "1"],
        ["2", "direct", 0, "1"],
        ["3", "direct", 149.99, "1"],
    ],
    "fraud": [
        ["botnet", "CN", "desktop", "3", "3", 90, 1],
        ["badnet", "RU", "mobile", "24", "2", 10, 12],
        ["swarm", "US", "desktop", "120", "1", 0, 120],
    ],
    # A tenth and a half of the clicks became sales of 30, and of 15 on average; 14 clicks in 28 days.
    "prediction": [["google", "cpc", "US", "mobile", 0.3, 22.5, 0.5, 3.375]],
    "journey_of_one": [
        ["2024-06-01T10:15:00.000Z", "facebook", "cpc", "summer_awareness", "click", "0"],
        ["2024-06-03T14:22:00.000Z", "google", "organic", None, "click", "0"],
        ["2024-06-05T19:45:00.000Z", "email", "newsletter", "june_promo", "click", "0"],
        ["2024-06-05T19:52:00.000Z", "direct", None, None, "click", "0"],
        ["2024-06-05T19:55:00.000Z", "direct", None, None, "purchase", "149.99"],
    ],
    "suspicious": [["203.0.113.7", "US", "120", "2", "120", 0.25]],
}
_COLUMNS = {
    "time_travel": ["potential_attributed_traffic"],
    "prediction": [
        "source",
        "medium",
        "country",
        "device_type",
        "historical_cvr",
        "historical_aov",
        "estimated_daily_traffic",
        "predicted_daily_revenue",
    ],
}


def _expected(name: str, now: datetime) -> list[list[Any]]:
    if name != "realtime":
        return _EXPECTED[name]
    minute = _half_an_hour_before(now)
    return [
        [_text(minute), "3", "1", "9.5"],
        [_text(minute - timedelta(minutes=5)), "1", "0", "0"],
        [_text(minute - timedelta(minutes=10)), "120", "0", "0"],
    ]


def _comparable(name: str, rows: list[list[Any]]) -> list[list[Any]]:
    rows = [[round(cell, 9) if isinstance(cell, float) else cell for cell in row] for row in rows]
    if name == "journeys":
        # It orders by the first column alone.
        return sorted(rows)
    if name == "prediction":
        # Around midnight the last hours are of yesterday too.
        return [row for row in rows if row[0] == "google"]
    return rows


@pytest.fixture(scope="module")
def now() -> datetime:
    """When the first of these tests runs, not when its file was read: statements look back an hour from now."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def populated(service: Service, now: datetime) -> Service:
    """Both organisations have the events; the other one's are worth more."""
    theirs = [
        {**event, "organization_id": OTHER, "value": 987654 if event.get("value") else None} for event in _events(now)
    ]
    insert_events(service.client, [*_events(now), *theirs, *theirs])
    return service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(populated: Service, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """A gateway before it."""
    directory = tmp_path_factory.mktemp("gateway")
    async with running_mesh(directory, analytics_target=populated.target) as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
async def test_a_statement_answers_over_rpc(populated: Service, now: datetime, name: str) -> None:
    sql = text_of(name)
    request = pb.RunSqlRequest(sql=sql, format=pb.SQL_FORMAT_JSON_ROWS)
    if parameters(sql):
        positional = ListValue()
        positional.extend(parameters(sql))
        request.positional.CopyFrom(positional)
    header, *pieces, summary = [message async for message in populated.call(request)]
    rows = [orjson.loads(line) for line in b"".join(piece.rows for piece in pieces).splitlines()]
    assert _comparable(name, rows) == _expected(name, now)
    assert summary.summary.row_count == len(rows)
    assert summary.summary.rows_read % 8192 == 0 < summary.summary.rows_read
    assert len(header.header.columns) == len(_expected(name, now)[0])
    if name in _COLUMNS:
        assert [column.name for column in header.header.columns] == _COLUMNS[name]


@pytest.mark.parametrize("name", NAMES)
async def test_a_statement_answers_over_http(mesh: Mesh, now: datetime, name: str) -> None:
    sql = text_of(name)
    body = {"sql": sql, "parameters": parameters(sql)} if parameters(sql) else {"sql": sql}
    answer = await mesh.post("/api/v1/query", body, key=SECRET_KEY)
    assert answer.status == 200, answer.body
    assert _comparable(name, answer.json["rows"]) == _expected(name, now)
    assert answer.json["row_count"] == len(answer.json["rows"])
    assert answer.json["watermark"] == "2026-11-03T12:00:00Z"


async def test_the_key_says_whose_rows_they_are_and_the_text_does_not(mesh: Mesh) -> None:
    sql = text_of("journey_of_one")
    mine = (await mesh.post("/api/v1/query", {"sql": sql}, key=SECRET_KEY)).json["rows"]
    theirs = (await mesh.post("/api/v1/query", {"sql": sql}, key=OTHER_KEY)).json["rows"]
    assert "organization_id = 'org_acmecorp'" in sql
    assert len(mine) == 5
    assert len(theirs) == 10
    assert {row[-1] for row in theirs} == {"0", "987654"}


@pytest.mark.parametrize("name", WRITES)
async def test_what_the_documents_write_is_no_matter_for_sql(mesh: Mesh, name: str) -> None:
    answer = await mesh.post("/api/v1/query", {"sql": text_of(name)}, key=SECRET_KEY)
    assert (answer.status, answer.reason) == (400, "SQL_REFUSED")


async def test_the_schema_lists_what_the_statements_name(mesh: Mesh) -> None:
    tables = {table["name"]: table for table in (await mesh.get("/api/v1/query/schema")).json["tables"]}
    assert set(tables) == {"events", "campaign_performance_daily", "traffic_projections"}
    types = {column["name"]: column["type"] for column in tables["events"]["columns"]}
    assert types["conversion_value"] == "Decimal(18, 6)"
    assert types["params"] == "Map(String, String)"
    assert "organization_id" not in types
    assert all(table["description"] for table in tables.values())

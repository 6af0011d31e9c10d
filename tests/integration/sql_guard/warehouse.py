"""Two warehouses with the same rows of one organisation; in one of them somebody else has rows as well.

Whatever an organisation asks, both must answer alike, failures included: then it learns nothing of the other. And no
answer may hold a canary, which is what the other's rows and the things around them are full of.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

OWN = "org_acmecorp"
OTHER = "org_canary"
MARK = "CANARY-7f3a91"
"""In every text of the other organisation, and in no statement of the corpus."""
CANARIES = (MARK, "987654321")
SHARED, ALONE = "shared", "alone"

_COLUMNS = """
    organization_id LowCardinality(String), event_id UUID, event_time DateTime64(3, 'UTC'),
    event_type LowCardinality(String), click_id String, external_click_id String, session_id String, user_id String,
    source LowCardinality(String), medium LowCardinality(String), campaign LowCardinality(String),
    campaign_id LowCardinality(String), tags Array(LowCardinality(String)), country LowCardinality(String),
    region LowCardinality(String), city LowCardinality(String), device_type LowCardinality(String),
    os LowCardinality(String), browser LowCardinality(String), language LowCardinality(String), ip String,
    user_agent String, referer String, url String, params Map(String, String), headers Map(String, String),
    conversion_event LowCardinality(String), conversion_value Float64, conversion_time Nullable(DateTime64(3, 'UTC')),
    currency LowCardinality(String), order_id String, fraud_score Float32, is_bot Bool
"""
_NAMES = [part.split()[0] for part in _COLUMNS.replace(", 'UTC'", "").replace("(String, String)", "").split(",")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query came to; ``text`` is all of it that its author would see."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    error_code: int | None
    text: str

    def canaries(self) -> list[str]:
        """Return the canaries that it holds."""
        return [canary for canary in CANARIES if canary in self.text]


class Warehouse:
    """The embedded engine with both databases. Its session is in one of them, so that a bare name would resolve."""

    def __init__(self, open_client: Callable[[], Client]) -> None:
        self._open_client = open_client
        self._client = open_client()

    def close(self) -> None:
        """Close it."""
        self._client.close()

    def ask(self, sql: str, parameters: dict[str, Any], settings: dict[str, str]) -> Answer:
        """Run a statement."""
        try:
            result = self._client.query(sql, parameters=parameters, settings=settings)
            rows = tuple(sorted(map(repr, result.result_rows)))
        except ClickHouseError as error:
            # What it gave out before it failed stays in the connection, and would be in front of the next answer.
            self._client.close()
            self._client = self._open_client()
            return Answer((), (), getattr(error, "code", None) or -1, str(error))
        return Answer(tuple(result.column_names), rows, None, "\n".join((*result.column_names, *rows)))


@contextmanager
def opened(directory: Path) -> Iterator[Warehouse]:
    """Make both databases under ``directory``."""

    def open_client(database: str = SHARED) -> Client:
        return clickhouse_connect.get_client(interface="chdb", path=str(directory), database=database)

    client = open_client("default")
    try:
        own, other = list(_own_rows()), list(_other_rows())
        for database, rows in ((SHARED, own + other), (ALONE, own)):
            client.command(f"CREATE DATABASE {database}")
            client.command(
                f"CREATE TABLE {database}.events ({_COLUMNS}) ENGINE = MergeTree PARTITION BY toYYYYMM(event_time)"
                " ORDER BY (organization_id, event_time, event_id)"
            )
            client.insert(f"{database}.events", rows, column_names=_NAMES)
            client.command(f"OPTIMIZE TABLE {database}.events FINAL")
            _surroundings(client, database)
        warehouse = Warehouse(open_client)
        try:
            yield warehouse
        finally:
            warehouse.close()
    finally:
        client.close()


_DICTIONARY = (
    "CREATE DICTIONARY {d}.secrets (id UInt64, secret String) PRIMARY KEY id"
    " SOURCE(CLICKHOUSE(DB '{d}' TABLE 'plain_secrets')) LAYOUT(FLAT()) LIFETIME(0)"
)


def _surroundings(client: Client, database: str) -> None:
    for statement in (
        "CREATE TABLE {d}.cursors (cursor String) ENGINE = MergeTree ORDER BY cursor",
        "INSERT INTO {d}.cursors VALUES ('{mark} cursor')",
        "CREATE TABLE {d}.plain_secrets (id UInt64, secret String) ENGINE = MergeTree ORDER BY id",
        "INSERT INTO {d}.plain_secrets VALUES (1, '{mark} secret')",
        "CREATE TABLE {d}.join_secrets (id UInt64, secret String) ENGINE = Join(ANY, LEFT, id)",
        "INSERT INTO {d}.join_secrets VALUES (1, '{mark} join')",
        _DICTIONARY,
        "CREATE TABLE {d}.states (state AggregateFunction(uniq, String)) ENGINE = MergeTree ORDER BY tuple()",
        "INSERT INTO {d}.states SELECT uniqState(click_id) FROM {d}.events",
    ):
        client.command(statement.format(d=database, mark=MARK))


def _row(organization_id: str, number: int, event_time: datetime, **given: Any) -> list[Any]:
    row: dict[str, Any] = dict.fromkeys(_NAMES, "")
    row |= {
        "organization_id": organization_id,
        "event_id": UUID(int=number),
        "event_time": event_time,
        "event_type": "click",
        "tags": [],
        "params": {},
        "headers": {},
        "conversion_value": 0.0,
        "conversion_time": None,
        "fraud_score": 5.0,
        "is_bot": False,
    }
    return list((row | given).values())


def _own_rows() -> Iterator[list[Any]]:
    now = datetime.now(UTC).replace(microsecond=0)
    plan = [now - timedelta(minutes=20 * n) for n in range(6)] + [now - timedelta(days=n) for n in range(2, 8)]
    plan += [datetime(2023, 8, day, tzinfo=UTC) for day in (1, 2, 3)]
    for number, event_time in enumerate(plan, 1):
        yield _row(
            OWN,
            number,
            event_time,
            click_id=f"c{number}",
            session_id=f"s{number % 3}",
            user_id="usr_customer123" if number % 2 else f"usr_{number}",
            source="facebook",
            medium="cpc",
            country="US",
            device_type="mobile",
            ip=f"198.51.100.{number % 3}",
            user_agent="Mozilla/5.0",
            tags=["summer", f"t{number}"],
            params={"utm_campaign": "summer2024"},
            campaign_id="" if number > 12 else "summer_sale",
            conversion_event="purchase" if number % 4 == 0 else "",
            conversion_value=float(number) if number % 4 == 0 else 0.0,
        )
    # Two clicks within a second: what the specification's fraud query looks for.
    for number in (101, 102):
        yield _row(
            OWN,
            number,
            now - timedelta(minutes=5, milliseconds=500 * (number - 100)),
            click_id=f"c{number}",
            ip="203.0.113.7",
        )


def _other_rows() -> Iterator[list[Any]]:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    for number in range(1000, 1400):
        event_time = start + timedelta(minutes=number - 1000) if number % 4 else datetime(2023, 8, 2, tzinfo=UTC)
        texts = {name: f"{MARK} {name} {number}" for name in _NAMES if name not in _NOT_TEXT}
        yield _row(
            OTHER,
            number,
            event_time,
            **texts | {"source": MARK, "user_id": "usr_customer123"},
            tags=[f"{MARK} tag"],
            params={MARK: MARK},
            headers={MARK: MARK},
            conversion_value=987654321.0,
            fraud_score=99.0,
        )


_NOT_TEXT = frozenset(
    ("organization_id", "event_id", "event_time", "event_type", "tags", "params", "headers")
) | frozenset(("conversion_value", "conversion_time", "fraud_score", "is_bot", "source", "user_id"))

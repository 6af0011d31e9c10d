"""Two warehouses with the same rows of one organisation; in one of them somebody else has rows as well.

Whatever an organisation asks, both must answer alike, failures included: then it learns nothing of the other. And no
answer may hold a canary, which is what the other's rows and the things around them are full of.
"""

import contextlib
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

from tests.reading import insert_events, reading

OWN = "org_acmecorp"
OTHER = "org_canary"
MARK = "CANARY-7f3a91"
"""In every text of the other organisation, and in no statement of the corpus."""
CANARIES = (MARK, "987654321")
SHARED, ALONE = "shared", "alone"

_TEXTS = """
    click_id external_click_id session_id user_id source medium channel campaign campaign_id source_campaign_id term
    content placement country region city device os os_version browser browser_version language host path url referer
    referer_host user_agent ip conversion_event conversion_status currency order_id cost_currency
"""


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

    def open_client() -> Client:
        return clickhouse_connect.get_client(interface="chdb", path=str(directory), database=SHARED)

    own, other = list(_own_rows()), list(_other_rows())
    with contextlib.ExitStack() as stack:
        for database, rows in ((SHARED, own + other), (ALONE, own)):
            _, client = stack.enter_context(reading(directory, database))
            insert_events(client, rows)
            client.command("OPTIMIZE TABLE events FINAL")
            _surroundings(client, database)
        warehouse = Warehouse(open_client)
        try:
            yield warehouse
        finally:
            warehouse.close()


_DICTIONARY = (
    "CREATE DICTIONARY {d}.secrets (id UInt64, secret String) PRIMARY KEY id"
    " SOURCE(CLICKHOUSE(DB '{d}' TABLE 'plain_secrets')) LAYOUT(FLAT()) LIFETIME(0)"
)


def _surroundings(client: Client, database: str) -> None:
    for statement in (
        "INSERT INTO {d}.cursors (follower, cursor) VALUES ('{mark} follower', '{mark} cursor')",
        "CREATE TABLE {d}.plain_secrets (id UInt64, secret String) ENGINE = MergeTree ORDER BY id",
        "INSERT INTO {d}.plain_secrets VALUES (1, '{mark} secret')",
        "CREATE TABLE {d}.join_secrets (id UInt64, secret String) ENGINE = Join(ANY, LEFT, id)",
        "INSERT INTO {d}.join_secrets VALUES (1, '{mark} join')",
        _DICTIONARY,
        "CREATE TABLE {d}.states (state AggregateFunction(uniq, String)) ENGINE = MergeTree ORDER BY tuple()",
        "INSERT INTO {d}.states SELECT uniqState(click_id) FROM {d}.events",
    ):
        client.command(statement.format(d=database, mark=MARK))


def _row(organization_id: str, number: int, event_time: datetime, **given: Any) -> dict[str, Any]:
    row = {
        "organization_id": organization_id,
        "event_id": UUID(int=number),
        "event_time": event_time,
        "event_type": "click",
        "device_type": "",
        "fraud_score": 5.0,
    }
    return row | given


def _own_rows() -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC).replace(microsecond=0)
    plan = [now - timedelta(minutes=20 * n) for n in range(6)] + [now - timedelta(days=n) for n in range(2, 8)]
    plan += [datetime(2023, 8, day, tzinfo=UTC) for day in (1, 2, 3)]
    for number, event_time in enumerate(plan, 1):
        is_sale = number % 4 == 0
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
            conversion_event="purchase" if is_sale else "",
            is_conversion=int(is_sale),
            value=number if is_sale else None,
        )
    # Two clicks within a second: what the specification's fraud query looks for.
    for number in (101, 102):
        yield _row(
            OWN,
            number,
            now - timedelta(minutes=5, milliseconds=500 * (number - 100)),
            click_id=f"c{number}",
            ip="203.0.113.7",
            country="",
        )


def _other_rows() -> Iterator[dict[str, Any]]:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    for number in range(1000, 1400):
        event_time = start + timedelta(minutes=number - 1000) if number % 4 else datetime(2023, 8, 2, tzinfo=UTC)
        texts = {name: f"{MARK} {name} {number}" for name in _TEXTS.split()}
        yield _row(
            OTHER,
            number,
            event_time,
            **texts | {"source": MARK, "user_id": "usr_customer123", "device_type": MARK, "route": MARK},
            tags=[f"{MARK} tag"],
            marks=[MARK],
            bot_reasons=[MARK],
            mapping_versions=[MARK],
            params={MARK: MARK},
            headers={MARK: MARK},
            is_conversion=1,
            value=987654321,
        )

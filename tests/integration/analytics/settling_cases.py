"""Random traffic that is hard to settle, and the way of rows into the reading."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from analytics_svc.operation import Scope
from analytics_svc.store import rollups
from analytics_svc.store.partitions import make_like, replace_month
from analytics_svc.store.settle import affected, reconcile, reconcile_month, settle, settle_late, settle_month

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

COLUMNS = (
    "organization_id", "event_id", "event_time", "event_type", "route", "click_id", "external_click_id", "user_id",
    "source", "medium", "channel", "campaign", "campaign_id", "campaign_version", "rule_id", "destination_id",
    "source_campaign_id", "term", "content", "placement", "traffic_rule", "country", "region", "city", "asn",
    "device_type", "device", "os", "os_version", "browser", "browser_version", "language", "is_bot", "bot_reasons",
    "fraud_score",
    "conversion_event", "is_conversion", "value", "currency", "conversion_time", "references",
)  # fmt: skip
SEEN = (*COLUMNS, "session_id", "touch_event_id", "touch_time")
_START = datetime(2026, 2, 28, 22, tzinfo=UTC)
_REASONS: tuple[list[str], ...] = (
    [],
    ["library_client"],
    ["empty_user_agent", "library_client"],
    ["declared_bot", "library_client"],
)


def traffic(seed: int) -> list[dict[str, Any]]:
    """Return rows of a few visitors of two organisations with equal ids, around the end of a month."""
    dice = random.Random(seed)
    span = dice.choice((90, 240, 3000))
    return [_row(dice, span) for _ in range(dice.choice((3, 12, 30, 60)))]


def _row(dice: random.Random, span_minutes: int) -> dict[str, Any]:
    # Whole tens of minutes meet the gap exactly, and one another.
    minutes = dice.choice((dice.randrange(0, span_minutes, 10), dice.uniform(0, span_minutes)))
    time = _START + timedelta(milliseconds=round(minutes * 60_000))
    ids = ["", "k1", "k2", "k3", "x1", "x2", f"n{dice.randrange(50)}"]
    kind = dice.choice(("click", "click", "pageview", "conversion", "conversion"))
    reasons = dice.choice(_REASONS)
    is_bot = int(bool(reasons) and dice.random() < 0.8)
    is_sale = kind == "conversion" and dice.random() < 0.8
    value = Decimal(dice.randrange(1, 900)) / 100 if is_sale and dice.random() < 0.8 else None
    return {
        "organization_id": dice.choice(("org_a", "org_b")),
        "event_id": UUID(int=dice.getrandbits(128)),
        "event_time": time,
        "event_type": "click" if kind == "click" else dice.choice(("pageview", "purchase")),
        "route": dice.choice(("in", "pixel", "events", "postback", "postback", "rpc", "batch")),
        "click_id": dice.choice(ids) if kind == "click" or dice.random() < 0.3 else "",
        "external_click_id": dice.choice(ids) if kind == "click" else "",
        "user_id": dice.choice(("", "u1", "u1", "u2")),
        **{
            name: dice.choice(("", name, f"{name}2"))
            for name in ("source", "medium", "channel", "campaign", "campaign_id", "rule_id", "destination_id",
                         "source_campaign_id", "term", "content", "placement", "device_type", "device", "os",
                         "os_version", "browser", "browser_version", "language")
        },
        "campaign_version": dice.choice((0, 3)),
        "traffic_rule": dice.choice(("", "direct", "tagged", "referrer")),
        "country": dice.choice((None, "", "DE", "FR")),
        "region": dice.choice((None, "BY")),
        "city": dice.choice((None, "", "München")),
        "asn": dice.choice((None, 0, 3320)),
        "is_bot": is_bot,
        "bot_reasons": reasons,
        "fraud_score": 100.0 if is_bot else dice.choice((0.0, 12.5)),
        "conversion_event": "sale" if is_sale or (kind == "conversion" and dice.random() < 0.5) else "",
        "is_conversion": int(is_sale),
        "value": value,
        "currency": "" if value is None else dice.choice(("USD", "EUR")),
        "conversion_time": time - timedelta(minutes=dice.randrange(-30, 90)) if dice.random() < 0.3 else None,
        "references": dice.sample(ids, dice.randrange(0, 4)) if kind != "click" or dice.random() < 0.2 else [],
    }  # fmt: skip


def cut(rows: Sequence[Any], dice: random.Random) -> list[list[Any]]:
    """Return the rows in another order, cut into pages."""
    mixed = list(rows)
    if dice.random() < 0.8:
        dice.shuffle(mixed)
    cuts = sorted(dice.randrange(0, len(mixed) + 1) for _ in range(dice.randrange(0, 8)))
    pages = [mixed[start:end] for start, end in zip([0, *cuts], [*cuts, len(mixed)], strict=True)]
    return [page for page in pages if page]


def stage(
    client: "Client", rows: Iterable[dict[str, Any]], table: str = "staged", columns: Sequence[str] = COLUMNS
) -> None:
    """Make rows the ones of a page."""
    client.command(f"CREATE TABLE IF NOT EXISTS {table} AS events ENGINE = Memory")
    client.command(f"TRUNCATE TABLE {table}")
    client.insert(table, [[row[name] for name in columns] for row in rows], column_names=list(columns))


def take_in(
    client: "Client", rows: Sequence[dict[str, Any]], *, crash: str = "", columns: Sequence[str] = COLUMNS
) -> None:
    """Write a page, or as much of it as is done before the ``crash``."""
    stage(client, rows, columns=columns)
    client.command("CREATE TABLE IF NOT EXISTS settled AS events ENGINE = Memory")
    client.command("TRUNCATE TABLE settled")
    settle(client, "staged", "settled")
    if crash == "settled":
        return
    changed = affected(client, "settled")
    reconcile(client, changed)
    if crash == "reconciled":
        return
    client.command("INSERT INTO events SELECT * FROM settled")
    rollups.add(client, "settled")


def stored(client: "Client", table: str = "events") -> dict[UUID, dict[str, Any]]:
    """Return every row of the reading by event id."""
    result = client.query(f"SELECT {', '.join(SEEN)} FROM {table}")
    assert len({row[1] for row in result.result_rows}) == len(result.result_rows)
    return {row[1]: dict(zip(SEEN, map(_aware, row), strict=True)) for row in result.result_rows}


def _aware(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def empty(client: "Client") -> None:
    """Throw everything away."""
    for table in ("events", "click_keys", "reference_keys", *rollups.ROWS):
        client.command(f"TRUNCATE TABLE {table}")


def make_month(client: "Client", month: date, rows: Sequence[dict[str, Any]], late: Sequence[dict[str, Any]]) -> None:
    """Make a month of these rows, some of which are late, and let it take the place of the one that is there."""
    scope = Scope(month)
    for table in ("own", "made"):
        make_like(client, table, "events")
    stage(client, rows)
    client.command("INSERT INTO own SELECT * FROM staged")
    settle_month(client, "own", "made", scope)
    for row in late:
        stage(client, [row], "late")
        settle_late(client, "late", "made", scope)
    replace_month(client, "events", "made", scope)
    reconcile_month(client, "made", scope)


def month_of(row: dict[str, Any]) -> date:
    """Return the first day of the row's month."""
    return date(row["event_time"].year, row["event_time"].month, 1)


def plain(**values: Any) -> dict[str, Any]:
    """Return a page view without anything, but for what is given."""
    row = _row(random.Random(0), 10)
    nothing: dict[str, Any] = {
        name: type(value)() for name, value in row.items() if isinstance(value, str | int | float | list)
    }
    return {
        **row,
        **nothing,
        "organization_id": "org_a",
        "event_id": uuid4(),
        "event_time": datetime(2026, 3, 2, 12, tzinfo=UTC),
        "event_type": "pageview",
        "route": "pixel",
        "value": None,
        "conversion_time": None,
        **values,
    }

"""Random traffic and mappings that are hard to tell apart, and the way of events into the reading."""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus
from uuid import UUID

from analytics_svc.mappings.mapping import FIELDS, ActiveMapping
from analytics_svc.projection.arrival import Arrival
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.read import read_event
from analytics_svc.projection.row import COLUMNS, encode
from analytics_svc.store.settle import settle

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

START = datetime(2026, 2, 26, tzinfo=UTC)
END = START + timedelta(days=6)
_PLACES = ("utm_source", "source", "utm_medium", "utm_campaign", "zoneid", "site_id", "p3", "x", "y", "ref", "gclid")
_MONEY = ("payout", "amount", "currency", "status", "action", "order_id", "transaction_id", "cost", "event_id")
_NAMES = (*_PLACES, *_MONEY, "clickid", "external_id", "utm_term", "utm_content", "sub1", "campaign_id", "Zoneid", "X")
_VALUES = (
    "", " ", "{clickid}", "null", "a", "b", "A", " a ", "PropellerAds", "propellerads", "google", "cpc", "email",
    "1.5", "12", "99,99", "EUR", "usd", "$5", "approved", "rejected", "sale", "purchase", "(not set)", "none",
    "https://www.tiktok.com/x", "k1", "k2", "x1", "x2", "ä", "100%",
)  # fmt: skip
_REFERERS = (
    "",
    "https://www.google.com/",
    "https://track.acme.example/page",
    "https://blog.example/post?a=b",
    "nonsense",
)


def arrivals(dice: random.Random, organization_id: str, count: int) -> list[Arrival]:
    """Return some events of an organisation."""
    return [_arrival(dice, organization_id) for _ in range(count)]


def _arrival(dice: random.Random, organization_id: str) -> Arrival:
    route = dice.choice(("in", "in", "pixel", "events", "postback", "track"))
    pairs = [(dice.choice(_NAMES), dice.choice(_VALUES)) for _ in range(dice.randrange(7))]
    # A mapping begins and ends on whole days.
    time = START + timedelta(hours=dice.choice((dice.randrange(0, 144, 24), dice.randrange(144))))
    kind = b"click" if route == "in" else dice.choice((b"pageview", b"purchase", b"conversion", b"custom", b"click"))
    referer = dice.choice(_REFERERS)
    return Arrival(
        organization_id=organization_id,
        event_id=str(UUID(int=dice.getrandbits(128))),
        event_time_ms=int(time.timestamp() * 1000),
        event_type=kind,
        route=route,
        target=f"/{route}?{'&'.join(f'{name}={quote_plus(value)}' for name, value in pairs)}".encode(),
        headers=f"Host: track.acme.example\r\n{f'Referer: {referer}' if referer else 'X: y'}\r\n".encode(),
        host=b"track.acme.example",
        scheme="https",
        click_id=dice.choice(("k1", "k2", "k3", "")) if kind == b"click" else "",
        external_click_id=dice.choice((b"", b"", b"a", b"x1", b"x3")),
        user_id=dice.choice(("", "u1", "u2")),
        marks=dice.choice(((), (), ("test",))),
    )


def mappings(dice: random.Random) -> tuple[tuple[ActiveMapping, ...], tuple[ActiveMapping, ...]]:
    """Return what holds, and what would with one mapping more or another version of one."""
    before = tuple(_mapping(dice, f"m{number}", 1) for number in range(dice.choice((0, 0, 1, 2))))
    if before and dice.random() < 0.6:
        place = dice.randrange(len(before))
        return before, (*before[:place], _mapping(dice, f"m{place}", 2), *before[place + 1 :])
    return before, (*before, _mapping(dice, "new", 1))


def _mapping(dice: random.Random, mapping_id: str, version: int) -> ActiveMapping:
    fields = dice.sample(FIELDS, dice.choice((1, 1, 2, 3)))
    start, end = sorted(dice.sample(range(7), 2))
    return ActiveMapping(
        mapping_id,
        version,
        dice.choice(("", "", "propellerads", "google", "direct", "a")),
        {field: dice.choice(("zoneid", "p3", "x", "y", "utm_term", "sub1", "ref", "utm_source")) for field in fields},
        START + timedelta(days=start) if dice.random() < 0.5 else None,
        START + timedelta(days=end) if dice.random() < 0.5 else None,
    )


def load(
    client: "Client", events: Iterable[Arrival], active: Mapping[str, Sequence[ActiveMapping]], *, keeps: bool = False
) -> None:
    """Make the reading of these events alone, by these mappings; ``keeps``: beside what is there."""
    enricher = Enricher()
    if not keeps:
        for table in ("events", "click_keys", "reference_keys"):
            client.command(f"TRUNCATE TABLE {table}")
    for table in ("staged", "settled"):
        client.command(f"CREATE OR REPLACE TABLE {table} AS events ENGINE = Memory")
    rows = [encode(read_event(event, active.get(event.organization_id, ()), enricher)) for event in events]
    client.raw_insert("staged", column_names=COLUMNS, insert_block=b"".join(rows), fmt="RowBinary")
    settle(client, "staged", "settled")
    client.command("INSERT INTO events SELECT * FROM settled")


def rows(client: "Client", organization_id: str) -> dict[UUID, dict[str, Any]]:
    """Return the organisation's rows by event id."""
    found = client.query(
        "SELECT * FROM events WHERE organization_id = {organization:String}", {"organization": organization_id}
    )
    return {row["event_id"]: row for row in found.named_results()}

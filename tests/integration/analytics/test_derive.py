"""The derivation gives, row by row, what the rules say: the engine's way, Python's way, and the plain reading."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from analytics_svc.mappings.mapping import ActiveMapping
from analytics_svc.projection import readings
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.read import read_event
from analytics_svc.store.derive import Derived, Deriver
from enrichment.geo import Geo
from tests.integration.analytics.nasty import MAPPED, START_MS, Nasty
from tests.integration.analytics.plain_reading import Columns, plain_row
from tests.integration.enrich.networks import CITIES, write
from tests.reading import reading
from trellis.capture.v1 import event_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

_START = datetime.fromtimestamp(START_MS / 1000, UTC)
MAPPINGS = {
    MAPPED: (
        ActiveMapping("map_1", 1, "", {"external_id": "p3", "placement": "x"}),
        ActiveMapping("map_2", 4, "facebook", {"placement": "y", "payout": "sum"}, start_time=_START),
        ActiveMapping("map_3", 2, "propeller", {"source": "x"}, end_time=_START + timedelta(days=1)),
    )
}
_NUMBERS = ("campaign_version", "is_bot", "fraud_score", "is_conversion", "enrichment_version", "asn")
_TIMES = ("event_time", "client_time", "conversion_time")
_MONEY = ("value", "cost")
_LISTS = ("marks", "tags", "bot_reasons", "references", "mapping_versions")
_MAPS = ("params", "headers")
_KNOWN = ("country", "region", "city")


class Derivation:
    """An engine with a table to derive into."""

    def __init__(self, client: "Client", deriver: Deriver, geo: Geo) -> None:
        self.client, self.deriver, self.geo = client, deriver, geo

    def rows(self, derived: Callable[["Client", list[bytes]], Derived], batches: list[bytes]) -> dict[str, Columns]:
        """Derive and return the rows by id."""
        self.client.command("TRUNCATE TABLE derived")
        derived(self.client, batches)
        columns = list(plain_row(event_pb2.Event(), (), self.geo))
        found = self.client.query(f"SELECT {', '.join(map(_as_plain, columns))} FROM derived").result_rows
        rows = [{name: _plain(name, value) for name, value in zip(columns, row, strict=True)} for row in found]
        assert len({row["event_id"] for row in rows}) == len(rows)
        return {row["event_id"]: row for row in rows}


def _as_plain(name: str) -> str:
    if name in _NUMBERS or name in _KNOWN:
        return name
    if name in _TIMES:
        return f"toUnixTimestamp64Milli({name})"
    if name in _MONEY:
        return f"CAST(CAST({name}, 'Nullable(Decimal(38, 6))') * 1000000, 'Nullable(Int64)')"
    if name in _LISTS:
        return f"arrayMap(text -> hex(text), {name})"
    if name in _MAPS:
        return f"(arrayMap(text -> hex(text), mapKeys({name})), arrayMap(text -> hex(text), mapValues({name})))"
    return "toString(event_id)" if name == "event_id" else f"hex({name})"


def _plain(name: str, value: Any) -> Any:
    if name in _MAPS:
        assert len(set(value[0])) == len(value[0])
        return dict(zip(map(bytes.fromhex, value[0]), map(bytes.fromhex, value[1]), strict=True))
    if name in _LISTS:
        return [bytes.fromhex(text) for text in value]
    is_plain = name in _NUMBERS or name in _KNOWN or name in _TIMES or name in _MONEY or name == "event_id"
    return value if is_plain else bytes.fromhex(value)


@pytest.fixture(scope="module")
def derivation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Derivation]:
    """Make an engine for all of them."""
    city = write(tmp_path_factory.mktemp("geo") / "city", CITIES)
    geo = Geo([city])
    geo.refresh()
    with reading(tmp_path_factory.mktemp("clickhouse")) as (dsn, client):
        client.command("CREATE TABLE derived AS events ENGINE = Memory")
        deriver = Deriver(dsn, Enricher([city]), prefix="test", small_bytes=0)
        deriver.prepare(client)
        yield Derivation(client, deriver, geo)


def batch(*events: event_pb2.Event) -> bytes:
    """Encode events."""
    return event_pb2.EventBatch(events=events).SerializeToString()


@pytest.mark.parametrize("seed", range(8))
def test_every_row_is_what_the_rules_say(derivation: Derivation, seed: int) -> None:
    events = Nasty(seed).events(400)
    batches = [batch(*events[:150]), batch(*events[150:])]
    expected = {
        event.event_id: plain_row(event, MAPPINGS.get(event.organization_id, ()), derivation.geo) for event in events
    }
    deriver = derivation.deriver
    for derived in (deriver.derive, deriver.derive_one_by_one):
        rows = derivation.rows(lambda client, batches: derived(client, batches, "derived", MAPPINGS), batches)  # noqa: B023 - called at once
        assert rows.keys() == expected.keys()
        for event in events:
            assert rows[event.event_id] == expected[event.event_id], event


def test_most_clicks_take_the_engines_way(derivation: Derivation, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        event
        for event in Nasty(3).events(1000)
        if event.route == "in" and event.event_type == b"click" and not event.body and b"%25" not in event.target
    ]
    by_python: list[str] = []
    real = read_event

    def counted(arrival: Any, *rest: Any) -> Any:
        by_python.append(arrival.event_id)
        return real(arrival, *rest)

    monkeypatch.setattr("analytics_svc.store.derive.read_event", counted)
    derivation.rows(lambda client, batches: derivation.deriver.derive(client, batches, "derived", {}), [batch(*events)])
    assert 0 < len(by_python) < len(events) / 2


def test_an_event_that_comes_twice_in_a_batch_is_one_row(derivation: Derivation) -> None:
    first, second = Nasty(1).events(2)
    rows = derivation.rows(
        lambda client, batches: derivation.deriver.derive(client, batches, "derived", {}),
        [batch(first, second), batch(first)],
    )
    assert rows.keys() == {first.event_id, second.event_id}


def test_an_event_that_breaks_a_rule_is_a_row_of_what_the_gateway_said(
    derivation: Derivation, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = Nasty(2).events(50)
    poison = events[7]
    poison.body, poison.headers = b'{"poison": 1}', b""

    def breaks(header: bytes) -> str:
        raise ZeroDivisionError(header)

    real = read_event

    def read(arrival: Any, *rest: Any) -> Any:
        return breaks(b"") if b"poison" in arrival.body else real(arrival, *rest)

    monkeypatch.setattr("analytics_svc.store.derive.read_event", read)
    counts: list[Derived] = []
    rows = derivation.rows(
        lambda client, batches: counts.append(derivation.deriver.derive(client, batches, "derived", {})) or counts[0],  # type: ignore[func-returns-value]  # keeps it
        [batch(*events)],
    )
    assert counts == [Derived(50, 50, 1)]
    row = rows[poison.event_id]
    assert row["marks"][-1] == b"unreadable"
    assert (row["route"], row["event_time"], row["user_id"]) == (
        poison.route.encode(),
        poison.event_time_ms,
        poison.user_id.encode(),
    )
    others = {name: row for name, row in rows.items() if name != poison.event_id}
    assert not [name for name, row in others.items() if b"unreadable" in row["marks"]]


def test_the_test_of_the_rows_notices_a_position_that_is_off(
    derivation: Derivation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "PICKS", ("medium", "source", *readings.PICKS[2:]))
    with pytest.raises(AssertionError):
        test_every_row_is_what_the_rules_say(derivation, 0)

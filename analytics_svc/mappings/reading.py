"""How the projection reads an event by one set of mappings and by another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote_from_bytes

from analytics_svc.mappings.classes import Comparison
from analytics_svc.projection.arrival import Arrival
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.read import matching, read_event
from analytics_svc.projection.row import Row
from enrichment.parameters import DEFAULT_ALIASES, parse_query

LABELS = frozenset(
    {
        "source",
        "medium",
        "channel",
        "campaign",
        "source_campaign_id",
        "term",
        "content",
        "placement",
        "traffic_rule",
    }
)
"""What a conversion takes from its click, where it takes any of them, and a mapping can change."""
_COLUMNS = tuple(field.name for field in fields(Row) if field.name not in ("mapping_versions", "gateway_click_id"))
_MICROS = frozenset({"value", "cost"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One event, read twice."""

    before: Row
    after: Row

    @property
    def changed(self) -> frozenset[str]:
        """The columns of its own that differ; which mappings it names is none of them."""
        return frozenset(name for name in _COLUMNS if getattr(self.before, name) != getattr(self.after, name))

    @property
    def turns(self) -> bool:
        """It takes the labels of its click before and has its own after, or the other way round."""
        return self.before.route != "postback" and _has_none(self.before) != _has_none(self.after)


def _has_none(row: Row) -> bool:
    return row.traffic_rule in ("direct", "")


class Reader:
    """Reads the events of a comparison."""

    def __init__(self, comparison: Comparison, enricher: Enricher) -> None:
        self._comparison = comparison
        self._enricher = enricher
        self._labels = frozenset(mapping.label for mapping in comparison.wanted)

    def read(self, arrival: Arrival, gateway_click_id: bytes) -> Reading:
        """Read an event.

        ``external_click_id`` of ``arrival`` is what its row has now, and ``gateway_click_id`` what the gateway took for
        it where that came from a mapping.
        """
        before = read_event(arrival, self._comparison.before, self._enricher)
        if _is_mapped(arrival, before, self._comparison):
            arrival = replace(arrival, external_click_id=gateway_click_id)
            before = read_event(arrival, self._comparison.before, self._enricher)
        return Reading(before, read_event(arrival, self._comparison.after, self._enricher))

    def is_wanted_at(self, event_time_ms: int) -> bool:
        """True where the wanted mapping, of any source, speaks of events of that time."""
        return bool(matching(self._comparison.wanted, "", event_time_ms))

    def is_matched(self, reading: Reading) -> bool:
        """True where the wanted mapping speaks of the event."""
        return not self._labels.isdisjoint(reading.after.mapping_versions)


def _is_mapped(arrival: Arrival, row: Row, comparison: Comparison) -> bool:
    """True where a mapping that holds gave the event its external click id."""
    parameters = parse_query(arrival.target.partition(b"?")[2])
    return any(
        mapping.label in row.mapping_versions and bool(parameters.get(mapping.parameters["external_id"].encode()))
        for mapping in comparison.before
        if "external_id" in mapping.parameters
    )


def arrival_of_class(
    organization_id: str, names: Sequence[str], found: Mapping[str, Any], event_time_ms: int
) -> Arrival:
    """Return an event that is read as every event of a class is."""
    route = found["class_route"]
    values = map(bytes.fromhex, found["class_values"])
    pairs = [(name.encode(), value) for name, value in zip(names, values, strict=True) if value]
    headers = b""
    referrer, page = found.get("class_referrer", ""), found.get("class_page", "")
    if route == "in" and referrer:
        headers = f"Referer: https://{referrer}/\r\n".encode()
    elif route != "in":
        headers = f"Referer: https://{page}/\r\n".encode() if page else b""
        told = DEFAULT_ALIASES.resolve(parse_query(_query(pairs)))
        if referrer and "referrer" not in told:
            pairs.append((b"document_referrer", f"https://{referrer}/".encode()))
    return Arrival(
        organization_id=organization_id,
        event_id="00000000-0000-0000-0000-000000000000",
        event_time_ms=event_time_ms,
        event_type=bytes.fromhex(found.get("class_type", "")),
        route=route,
        target=b"/?" + _query(pairs),
        headers=headers,
        host=bytes.fromhex(found.get("class_host", "")),
        click_id=bytes.fromhex(found.get("class_click_id", "")).decode("utf-8", "replace"),
        external_click_id=bytes.fromhex(found.get("class_external_click_id", "")),
        marks=("test",) if found.get("class_is_test") else (),
    )


def arrival_of_row(organization_id: str, found: Mapping[str, Any]) -> Arrival:
    """Return an event again, as far as its row has it; texts are in hexadecimal."""
    pairs = [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in found["params_hex"].items()]
    headers = [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in found["headers_hex"].items()]
    return Arrival(
        organization_id=organization_id,
        event_id=str(found["event_id"]),
        event_time_ms=found["event_ms"],
        event_type=bytes.fromhex(found["event_type_hex"]),
        route=found["route"],
        target=b"/?" + _query(pairs),
        headers=b"".join(b"%b: %b\r\n" % pair for pair in headers),
        host=bytes.fromhex(found["host_hex"]),
        click_id=found["click_id"],
        external_click_id=bytes.fromhex(found["external_click_id_hex"]),
        marks=tuple(found["marks"]),
    )


def shown(row: Row, columns: Iterable[str]) -> dict[str, str]:
    """Return columns of a row as texts for people."""
    return {name: _text(name, getattr(row, name)) for name in sorted(columns)}


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, tuple):
        return ", ".join(_text("", item) for item in value)
    if name in _MICROS:
        return format(Decimal(value).scaleb(-6).normalize(), "f")
    if name.endswith("_time"):
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds")
    return str(value)


def _query(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    return "&".join(f"{quote_from_bytes(name, '')}={quote_from_bytes(value, '')}" for name, value in pairs).encode()

"""Checks a row: whether it says which click or order it is about, and whether what it says can be read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson

from enrichment.conversion_reading import DEFAULT_EVENT, POSTBACK, Sent, read_conversion
from enrichment.money import read_currency
from enrichment.parameters import DEFAULT_ALIASES, Found, from_pairs
from enrichment.values import client_time_of
from ingress_gateway.payloads import Payload
from ingress_gateway.uploads.csv_file import CsvFile, CsvRow
from svc_runtime.errors import Violation

_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row, and what is wrong with it."""

    row: CsvRow
    payload: Payload
    """Its values by the names of their columns, as JSON; empty ones are left out."""
    violations: tuple[Violation, ...]


def check_row(file: CsvFile, row: CsvRow, *, now_ms: int, most_bytes: int) -> CheckedRow:
    """Check a row of a file that is received at ``now_ms``."""
    if len(row.values) != len(file.columns):
        wrong = Violation("row", f"has {len(row.values)} values, the header has {len(file.columns)} columns")
        # Nobody counts what it holds: hundreds of thousands of values may wait beside others of the kind.
        return CheckedRow(replace(row, values=[]), Payload(b""), (wrong,))
    fields = {name: value for name, value in zip(file.columns, row.values, strict=True) if value.strip()}
    payload = Payload(orjson.dumps(fields), fields)
    if len(payload.data) > most_bytes:
        wrong = Violation("row", f"has {len(payload.data)} bytes as an event; the limit is {most_bytes}")
        return CheckedRow(row, payload, (wrong,))
    nul = next((name for name, value in fields.items() if "\0" in value), None)
    if nul is not None:
        return CheckedRow(row, payload, (Violation(nul, "must not hold the character NUL"),))
    return CheckedRow(row, payload, tuple(_violations(payload, now_ms)))


def _violations(payload: Payload, now_ms: int) -> list[Violation]:
    pairs = [(name.encode(), value.encode()) for name, value in payload.fields.items()]
    parameters = from_pairs(pairs)
    found = DEFAULT_ALIASES.resolve(parameters)
    sent = Sent(payload.event_type(DEFAULT_EVENT), POSTBACK, (), "", b"")
    reading = read_conversion(sent, parameters, DEFAULT_ALIASES, found)
    problems = []
    if reading is not None and not reading.references and not reading.order_id:
        problems.append(Violation("row", "has neither a click id nor an order id"))
    if "currency" in found and read_currency(found["currency"].value) is None:
        problems.append(_unread(found, "currency", "is no ISO 4217 code"))
    elif reading is not None and reading.is_value_unread:
        problems.append(_unread(found, "payout", "is no amount, or more than 999999999999.999999"))
    unix_ms, is_implausible = client_time_of(found, event_time_ms=now_ms)
    if is_implausible:
        problems.append(_unread(found, "client_time", "is before 2000 or in the future"))
    elif "client_time" in found and unix_ms is None:
        problems.append(_unread(found, "client_time", "is no time, such as 2026-11-03T10:00:00Z"))
    return problems


def _unread(found: Mapping[str, Found], field: str, why: str) -> Violation:
    value = found[field].value.decode("utf-8", "replace")
    shown = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…"
    return Violation(found[field].name.decode("utf-8", "replace"), f"{shown!r} {why}")

"""A table with the columns of the reading, filled from facts and asked by predicates."""

from collections.abc import Sequence
from typing import Any

from rule_language.evaluate import Facts, Verdict
from rule_language.field import FIELDS, Kind
from rule_language.predicate import Predicate
from rule_language.sql import compile_sql

_TEXTS = [name for name, field in FIELDS.items() if field.kind is Kind.TEXT]
_FEW_VALUES = {"source", "country", "event_type"}
COLUMNS = {
    "at": "UInt32",
    "event_time": "DateTime64(3, 'UTC')",
    **{name: "LowCardinality(Nullable(String))" if name in _FEW_VALUES else "Nullable(String)" for name in _TEXTS},
    "ip": "String",
    "asn": "Nullable(UInt32)",
    "value": "Nullable(Decimal(38, 6))",
    "is_bot": "Nullable(UInt8)",
    "params": "Map(String, String)",
    "headers": "Map(LowCardinality(String), String)",
}
_SETTINGS = {"max_query_size": 10_000_000}


def _size(number: int) -> bytes:
    """Write a LEB128 number."""
    head, rest = number & 0x7F, number >> 7
    return bytes([head | 0x80]) + _size(rest) if rest else bytes([head])


def _text(text: bytes) -> bytes:
    return _size(len(text)) + text


def _map(pairs: Any) -> bytes:
    return _size(len(pairs)) + b"".join(_text(name) + _text(value) for name, value in pairs.items())


def _nullable(value: Any, write: Any) -> bytes:
    return b"\1" if value is None else b"\0" + write(value)


def _row(at: int, facts: Facts) -> bytes:
    known = facts.fields
    return b"".join(
        [
            at.to_bytes(4, "little"),
            facts.event_time_ms.to_bytes(8, "little", signed=True),
            *(_nullable(known[name], _text) for name in _TEXTS),
            _text(known["ip"]),  # type: ignore[arg-type]  # an address is bytes
            _nullable(known["asn"], lambda number: number.to_bytes(4, "little")),
            _nullable(known["value"], lambda number: int(number.scaleb(6)).to_bytes(16, "little", signed=True)),
            _nullable(known["is_bot"], lambda value: bytes([value])),
            _map(facts.params),
            _map(facts.headers),
        ]
    )


class Reading:
    """One table in an embedded ClickHouse."""

    def __init__(self, client: Any) -> None:
        self._client = client
        client.command(f"CREATE TABLE reading ({', '.join(f'{n} {t}' for n, t in COLUMNS.items())}) ENGINE = Memory")

    def fill(self, events: Sequence[Facts]) -> None:
        """Hold these events and no others."""
        self._client.command("TRUNCATE TABLE reading")
        rows = b"".join(_row(at, facts) for at, facts in enumerate(events))
        self._client.raw_insert("reading", column_names=list(COLUMNS), insert_block=rows, fmt="RowBinary")

    def verdicts(self, predicates: Sequence[Predicate], time_zone: str) -> list[list[Verdict]]:
        """Ask all predicates of all events in one query: a row for each event."""
        compiled = [
            compile_sql(predicate, time_zone=time_zone, prefix=f"p{at}_") for at, predicate in enumerate(predicates)
        ]
        parameters = {name: value for sql in compiled for name, value in sql.parameters.items()}
        query = (
            f"SELECT {', '.join(f'{sql.text} AS v{at}' for at, sql in enumerate(compiled))} FROM reading ORDER BY at"
        )
        rows = self._client.query(query, parameters=parameters, settings=_SETTINGS).result_rows
        return [[None if value is None else bool(value) for value in row] for row in rows]

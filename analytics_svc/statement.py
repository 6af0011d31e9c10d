"""A query as data: text of ours, and the values that it is about, which never become text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analytics_svc.dimension import Dimension
from analytics_svc.slice import DimensionFilter, Slice
from rule_language.sql import compile_sql

ORGANIZATION = "organization"
"""Name of the parameter that holds the caller's organisation."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT."""

    sql: str
    """With ``{name:Type}`` where values belong."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """The values by name."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """ClickHouse's settings, over those of the reader."""
    can_spill: bool = False
    """Where its groups need more memory than there is, it is run again with some of them on disk, which is slower."""


_BLOCK_ROWS = 8192
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer."""

    names: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    rows_read: int
    """As callers may know it, as the bytes: see ``rows_for_tenants``."""
    bytes_read: int
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class Condition:
    """Where a statement looks: ``PREWHERE {prewhere} WHERE {where}``."""

    prewhere: str
    where: str
    parameters: dict[str, object]


def rows_for_tenants(row_count: int) -> int:
    """Round what was read up to whole blocks: the first and the last may hold rows of others, which it would count."""
    return -(-row_count // _BLOCK_ROWS) * _BLOCK_ROWS


def bytes_for_tenants(byte_count: int) -> int:
    """Do the same for bytes."""
    return -(-byte_count // _BLOCK_BYTES) * _BLOCK_BYTES


def condition_of(part: Slice, *, prefix: str = "f") -> Condition:
    """Return the condition that an event of the table ``events`` is in the slice.

    The organisation and the time are compared in PREWHERE, on the reading itself: no other condition is evaluated on
    another organisation's rows. ``prefix`` begins the names of the filter's parameters.
    """
    parameters: dict[str, object] = {
        ORGANIZATION: part.organization_id,
        "start_ms": int(part.start_time.timestamp() * 1000),
        "end_ms": int(part.end_time.timestamp() * 1000),
    }
    prewhere = (
        f"organization_id = {{{ORGANIZATION}:String}}"
        " AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
        " AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
    )
    conditions = [] if part.includes_bots else ["is_bot = 0"]
    if part.filter is not None:
        compiled = compile_sql(part.filter, time_zone=part.time_zone, prefix=prefix)
        conditions.append(f"({compiled.text})")
        parameters |= compiled.parameters
    for at, chosen in enumerate(part.dimension_filters):
        conditions.append(one_of(chosen, f"{prefix}_d{at}", part.time_zone, parameters))
    return Condition(prewhere, " AND ".join(conditions) or "1", parameters)


def one_of(chosen: DimensionFilter, name: str, time_zone: str, parameters: dict[str, object]) -> str:
    """Return the condition that the dimension has one of its values; their parameters get names that begin so."""
    expression = bound(chosen.dimension, name, time_zone, parameters)
    if len(chosen.values) == 1:
        parameters[name] = chosen.values[0]
        return f"({expression} = {{{name}:String}})"
    parameters[name] = list(chosen.values)
    return f"({expression} IN {{{name}:Array(String)}})"


def bound(dimension: Dimension, name: str, time_zone: str, parameters: dict[str, object]) -> str:
    """Return the dimension's expression with its values as ``parameters``, whose names begin with ``name``."""
    expression = dimension.expression
    for place, kind, value in (("time_zone", "String", time_zone), ("key", "String", dimension.key)):
        if f"{{{place}:{kind}}}" in expression:
            expression = expression.replace(f"{{{place}:{kind}}}", f"{{{name}_{place}:{kind}}}")
            parameters[f"{name}_{place}"] = value
    return expression

"""What a tenant's statement is answered with."""

import enum
from dataclasses import dataclass


class SqlFormat(enum.Enum):
    """How rows come."""

    JSON_ROWS = "json"
    """Each row a JSON array on a line of its own; 64-bit integers, decimals and times as text, NaN as null."""
    CSV = "csv"
    """RFC 4180 with a line of names; NULL is nothing, an empty text is ``""``."""
    ARROW = "arrow"
    """Arrow's IPC stream."""
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class AnswerColumn:
    """A column of an answer, or of a table."""

    name: str
    type: str
    """ClickHouse's name of it."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a statement took."""

    row_count: int
    """Rows in the answer."""
    rows_read: int
    """Rows that the store read."""
    bytes_read: int
    """Bytes that the store read, uncompressed."""

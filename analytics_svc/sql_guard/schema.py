"""What a tenant sees: tables, their columns, and how each is made of the rows of one organisation."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

ORGANIZATION_COLUMN = "organization_id"
ORGANIZATION_PARAMETER = "trellis_org"
"""Name of the parameter that holds the caller's organisation; a statement cannot name it."""
RESERVED = "__trellis"
"""How our own names begin; a statement cannot use such a name."""
ROW = f"{RESERVED}_row"
"""A physical row, in expressions of columns."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that tenants may read: an expression over ``ROW``, by default the physical column of the same name."""

    name: str
    expression: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == ORGANIZATION_COLUMN:
            raise ValueError(f"not a name of a tenant's column: {self.name!r}")
        if not self.expression:
            object.__setattr__(self, "expression", f"{ROW}.{self.name}")


@dataclass(frozen=True, slots=True)
class Table:
    """A table that tenants may read: a view of one physical MergeTree table, optionally filtered and grouped."""

    name: str
    columns: tuple[Column, ...]
    database: str
    physical: str
    """The physical table; it has the column ``organization_id``."""
    where: str = ""
    group_by: tuple[str, ...] = ()
    description: str = ""
    """What a row is."""
    column_names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        for name in (self.name, self.database, self.physical):
            if not _NAME.fullmatch(name):
                raise ValueError(f"not a name of a table or database: {name!r}")
        object.__setattr__(self, "column_names", frozenset(column.name for column in self.columns))
        if len(self.column_names) != len(self.columns):
            raise ValueError(f"{self.name} has a column twice")

    def view(self) -> str:
        """Return the SELECT of the caller's rows.

        The organisation is compared in PREWHERE, on the reading itself. In WHERE the engine merges the comparison with
        the tenant's own conditions and may evaluate those first, on everybody's rows: `toUInt64(click_id) > 0` then
        fails with another organisation's click id in the text of the error. Every name is qualified with one that
        tenants cannot use, so no alias of a statement can take the place of a column here.
        """
        columns = ", ".join(f"{column.expression} AS `{column.name}`" for column in self.columns)
        return (
            f"SELECT {columns} FROM `{self.database}`.`{self.physical}` AS {ROW}"  # noqa: S608 - names checked in __post_init__
            f" PREWHERE {ROW}.{ORGANIZATION_COLUMN} = {{{ORGANIZATION_PARAMETER}:String}}"
            + (f" WHERE {self.where}" if self.where else "")
            + (f" GROUP BY {', '.join(self.group_by)}" if self.group_by else "")
        )


@dataclass(frozen=True, slots=True)
class TenantSchema:
    """The tables that tenants may name."""

    tables: dict[str, Table]

    @classmethod
    def of(cls, tables: Iterable[Table]) -> "TenantSchema":
        """Index ``tables`` by name."""
        return cls({table.name: table for table in tables})

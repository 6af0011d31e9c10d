"""The tables that one settling works with, and where it looks for what is there already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from analytics_svc.store.touches import CAMPAIGN, JUDGED, SETTLED, TAKEN

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_ROW = "organization_id LowCardinality(String), event_id UUID, event_time DateTime64(3, 'UTC')"
_TAKEN = ", ".join(f"{name} {of_type}" for name, of_type in TAKEN.items())
_CAMPAIGN = {name: TAKEN[name] for name in CAMPAIGN}


def _by_event(columns: Mapping[str, str]) -> str:
    text = ", ".join((_ROW, *(f"{name} {of_type}" for name, of_type in columns.items())))
    return f"({text}) ENGINE = Join(ANY, LEFT, event_id) SETTINGS persistent = 0"


_TABLES: Mapping[str, str] = {
    # Conversions to find a click for, each as it is of its own; `was` is the click that it had.
    "conversions": (
        f"({_ROW}, is_new UInt8, was UUID, route String, conversion_time Nullable(DateTime64(3, 'UTC')),"
        f" references Array(String), tags Array(String), {_TAKEN}) ENGINE = Memory"
    ),
    # The clicks that these may go back to.
    "clicks": (
        f"({_ROW}, click_id String, external_click_id String, session_id String, routed Array(String), {_TAKEN})"
        " ENGINE = Memory"
    ),
    # The click of each conversion that has one: of the new ones, and of older ones that have another one now.
    "touches": f"({_ROW}, is_new UInt8, was UUID, user_id String, touch_event_id UUID) ENGINE = Memory",
    # What is left of sessions that lose an event to a click.
    "visits": f"({_ROW}, user_id String, session_id String) ENGINE = Memory",
    # The session of each new event, and of each older one that is in another one now.
    "sessions": (
        f"({_ROW}, user_id String, is_new UInt8, is_shaken UInt8, was String, session_id String) ENGINE = Memory"
    ),
    # What claims and verdicts say of staged rows, by event id.
    "claimed": _by_event({**_CAMPAIGN, "tags": "Array(String)"}),
    "verdicts": _by_event({name: JUDGED[name] for name in JUDGED if name != "told"}),
    # What to change in older rows, by event id.
    "renamed": _by_event({"session_id": "String"}),
    "relinked": _by_event(SETTLED),
    "reassigned": _by_event({**_CAMPAIGN, "routed": "Array(String)"}),
    "judged": _by_event(JUDGED),
}
CHANGES: Mapping[str, Sequence[str]] = {
    "renamed": ("session_id",),
    "relinked": tuple(SETTLED),
    "reassigned": (*CAMPAIGN, "routed"),
    "judged": tuple(JUDGED),
}
"""The tables that say what to change in older rows, and the columns that each changes."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table of settled rows, or the part of one that counts."""

    table: str
    where: str = "1"
    is_final: bool = False
    """No row of it changes."""


@dataclass(frozen=True, slots=True)
class Settling:
    """One settling: of the rows of ``staged``, among those of ``sources``."""

    client: "Client"
    staged: str
    name: str
    """What the names of its tables begin with."""
    sources: Sequence[Source] = field(default=(Source("events"),))
    """Rows that are settled already."""
    far_table: str = ""
    """Where to keep the times of conversions, anywhere, that refer to a staged click; empty: nowhere."""
    is_again: bool = False
    """Staged rows may be among them; there they do not count."""

    @property
    def is_older(self) -> str:
        """The condition that a settled row counts."""
        return "event_id NOT IN (SELECT event_id FROM <staged>)" if self.is_again else "1"

    def table(self, name: str) -> str:
        """Return the name of one of its tables."""
        return f"{self.name}_{name}"

    @property
    def changing(self) -> Sequence[Source]:
        """The sources whose rows may change."""
        return [source for source in self.sources if not source.is_final]

    def prepare(self) -> None:
        """Make the tables, or empty those of the settling before."""
        names = {self.table(name): definition for name, definition in _TABLES.items()}
        rows = self.rows(
            "SELECT name, total_rows FROM system.tables WHERE database = currentDatabase()"
            " AND name IN {names:Array(String)}",
            {"names": list(names)},
        )
        there = {str(name): count for name, count in rows}
        for name, definition in names.items():
            if name not in there:
                self.client.command(f"CREATE TABLE {name} {definition}")
            elif there[name] != 0:
                self.client.command(f"TRUNCATE TABLE {name}")

    def drop(self) -> None:
        """Drop the tables."""
        for name in _TABLES:
            self.client.command(f"DROP TABLE IF EXISTS {self.table(name)}")

    def run(self, sql: str, values: Mapping[str, object] | None = None) -> None:
        """Run a statement that writes."""
        self.client.command(self.text(sql), parameters=dict(values or {}), settings={"insert_deduplicate": "0"})

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        found: Sequence[Sequence[Any]] = self.client.query(self.text(sql), parameters=dict(values or {})).result_rows
        return found

    def text(self, sql: str) -> str:
        """Fill in the tables' names: ``<visits>``, ``<staged>``."""
        for name in _TABLES:
            sql = sql.replace(f"<{name}>", self.table(name))
        return sql.replace("<staged>", self.staged)

    def count(self, name: str) -> int:
        """Return how many rows one of its tables has."""
        return int(str(self.rows(f"SELECT count() FROM {self.table(name)}")[0][0]))  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class Page:
    """What the staged rows are, on the whole."""

    organization_ids: Sequence[str]
    start_time: datetime
    end_time: datetime
    """Of the last one."""
    click_count: int
    reference_count: int
    visit_count: int
    """Rows with a user id."""

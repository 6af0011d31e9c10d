"""Whether the roll-ups say what a count of the events says."""

import re
from typing import TYPE_CHECKING, Any

from analytics_svc.store import rollups

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


_STATE = re.compile(r"AggregateFunction\((\w+)((?:\(\d+\))?),")


def assert_rollups_agree(client: "Client") -> None:
    """Count all events anew, beside the roll-ups, and compare."""
    for table, rows in rollups.ROWS.items():
        client.command(f"CREATE OR REPLACE TABLE counted AS {table}")
        client.command(f"INSERT INTO counted {rows('events')}")
        kept, counted = totals(client, table), totals(client, "counted")
        client.command("DROP TABLE counted")
        assert kept == counted, table


def totals(client: "Client", table: str) -> list[tuple[Any, ...]]:
    """Return what a roll-up says, its rows of one key added up."""
    columns = client.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        " ORDER BY position",
        parameters={"table": table},
    ).result_rows
    keys = [name for name, kind in columns if "AggregateFunction" not in kind]
    sums = [f"sum({name})" for name, kind in columns if kind.startswith("SimpleAggregateFunction")]
    states = [(name, _STATE.match(kind)) for name, kind in columns]
    unique = [f"{found[1]}Merge{found[2]}({name})" for name, found in states if found]
    return list(
        client.query(
            f"SELECT {', '.join([*keys, *sums, *unique])} FROM {table} GROUP BY {', '.join(keys)} ORDER BY ALL"
        ).result_rows
    )

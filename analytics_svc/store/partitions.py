"""A month of a table, put in the place of what is there: at once for every reader, without copying a row."""

from typing import TYPE_CHECKING

from analytics_svc.operation import Scope

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_AT_ONCE = {"mutations_sync": "1", "alter_sync": "1"}


def partition_of(scope: Scope) -> str:
    """Return the month as the tables name it."""
    return f"{scope.month:%Y%m}"


def condition_of(scope: Scope) -> str:
    """Return the SQL that a row of ``events`` is in the scope, over ``values_of``."""
    own = "organization_id = {scope:String} AND " if scope.organization_id else ""
    return f"({own}toYYYYMM(event_time) = {partition_of(scope)})"


def values_of(scope: Scope) -> dict[str, object]:
    """Return the values of ``condition_of``."""
    return {"scope": scope.organization_id} if scope.organization_id else {}


def make_like(client: "Client", name: str, table: str) -> None:
    """Make an empty table whose months can take the place of those of ``table``."""
    client.command(f"DROP TABLE IF EXISTS {name} SYNC")
    client.command(f"CREATE TABLE {name} AS {table}")


def replace_month(client: "Client", table: str, made: str, scope: Scope) -> None:
    """Put what ``made`` has of the scope in the place of what ``table`` has. Rows of others stay as they are.

    Both have the same structure. Nobody writes to either meanwhile. ``made`` is left with nothing of use.
    """
    if scope.organization_id:
        _add_others(client, table, made, scope)
    _apply_patches(client, made, scope)
    if _has_parts(client, made, scope):
        # Refused, and nothing done, where an update of `made` were left behind.
        client.command(f"ALTER TABLE {table} REPLACE PARTITION {partition_of(scope)} FROM {made}", settings=_AT_ONCE)
    else:
        client.command(f"ALTER TABLE {table} DROP PARTITION {partition_of(scope)}", settings=_AT_ONCE)


def _add_others(client: "Client", table: str, made: str, scope: Scope) -> None:
    """Add to ``made`` what ``table`` has of others: the same files under another name."""
    others = f"{made}_others"
    make_like(client, others, table)
    _apply_patches(client, table, scope)
    client.command(f"ALTER TABLE {others} ATTACH PARTITION {partition_of(scope)} FROM {table}", settings=_AT_ONCE)
    client.command(
        f"DELETE FROM {others} WHERE organization_id = {{scope:String}}",  # noqa: S608 - one of our tables
        parameters=values_of(scope),
        settings={"lightweight_deletes_sync": "1"},
    )
    client.command(f"ALTER TABLE {made} ATTACH PARTITION {partition_of(scope)} FROM {others}", settings=_AT_ONCE)
    client.command(f"DROP TABLE {others} SYNC")


def _apply_patches(client: "Client", table: str, scope: Scope) -> None:
    """Write lightweight updates into the rows that they are about: a month moves without them."""
    if _has_parts(client, table, scope):
        client.command(f"ALTER TABLE {table} APPLY PATCHES IN PARTITION {partition_of(scope)}", settings=_AT_ONCE)


def _has_parts(client: "Client", table: str, scope: Scope) -> bool:
    rows = client.query(
        "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = {table:String}"
        " AND active AND rows > 0 AND partition_id = {partition:String}",
        parameters={"table": table, "partition": partition_of(scope)},
    ).result_rows
    return bool(rows[0][0])

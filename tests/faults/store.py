"""Reads the events back from ClickHouse itself, past every service: ``python -m tests.faults.store PATH RUN_ID``.

The engine lets one process have a directory, and a process one directory, so this runs by itself while capture_svc does
not. It prints a line of totals, then one line for each event of the run.
"""

import asyncio
import base64
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from tests.mesh.mesh import inherited_environment

_ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of ``capture.events``."""

    event_id: str
    target: str
    item_index: int
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds."""

    row_count: int
    """Rows of the table, whatever run they are of."""
    event_id_count: int
    """Different event ids among them."""
    foreign_count: int
    """Rows that carry no ledger's id: nobody sent them."""
    quarantined_count: int
    events: list[StoredEvent]
    """Of the run that was asked for."""


async def read_store(directory: Path, run_id: str) -> Stored:
    """Read a capture directory whose capture_svc is stopped."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.store",
        str(directory),
        run_id,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        env=inherited_environment(),
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise AssertionError(f"the store could not be read: exit code {process.returncode}")
    totals, *rows = output.splitlines()
    events = [
        StoredEvent(event_id, target, item_index, base64.b64decode(body))
        for event_id, target, item_index, body in map(json.loads, rows)
    ]
    row_count, event_id_count, foreign_count, quarantined_count = json.loads(totals)
    return Stored(row_count, event_id_count, foreign_count, quarantined_count, events)


def main() -> None:
    """Print totals and rows."""
    import clickhouse_connect

    path, run_id = sys.argv[1:]
    client = clickhouse_connect.get_client(interface="chdb", path=path)
    totals = client.query(
        "SELECT count(), uniqExact(event_id), countIf(position(target, 'lid=') = 0),"
        " (SELECT count() FROM capture.quarantine) FROM capture.events"
    )
    print(json.dumps([int(value) for value in totals.result_rows[0]]))
    rows: bytes = client.raw_query(
        "SELECT toString(event_id), target, item_index, base64Encode(body) FROM capture.events"
        " WHERE position(target, {mark:String}) > 0",
        parameters={"mark": f"lid={run_id}-"},
        fmt="JSONCompactEachRow",
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(rows)
    client.close()


if __name__ == "__main__":
    main()

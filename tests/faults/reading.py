"""Reads the raw events, or the reading, from ClickHouse itself: ``python -m tests.faults.reading KIND PATH``.

KIND is ``capture`` or ``analytics``; ``forget`` makes the reading forget how far it has read the feed. Like
``tests.faults.store`` it runs by itself while the service whose directory it is does not, and prints one JSON object.
"""

import asyncio
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mesh.mesh import Mesh, inherited_environment

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_ROOT = Path(__file__).parents[2]
FINGERPRINT = "toString(sum(cityHash64(toString(tuple(*)))))"
"""Of whole rows, in any order; one that is there twice counts twice."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """What a directory holds."""

    ids: list[str]
    """Of every row, in order."""
    fingerprint: str = ""
    """Of the reading's rows."""
    differences: list[list[str]] = dataclasses.field(default_factory=list)
    """What roll-ups say otherwise than the events."""
    partitions: list[str] = dataclasses.field(default_factory=list)
    """Of ``analytics.events``."""
    open_intent_count: int = 0


def problems(raw: Kept, reading: Kept) -> list[str]:
    """Say where a reading that has caught up differs from the raw events, and its roll-ups from itself."""
    found = []
    missing, foreign = set(raw.ids) - set(reading.ids), set(reading.ids) - set(raw.ids)
    if missing:
        found.append(f"{len(missing)} of {len(raw.ids)} events are missing: {sorted(missing)[:5]}")
    if foreign:
        found.append(f"{len(foreign)} events come from nowhere: {sorted(foreign)[:5]}")
    if len(reading.ids) != len(set(reading.ids)):
        found.append(f"{len(reading.ids) - len(set(reading.ids))} events are there twice")
    if reading.differences:
        found.append(f"roll-ups differ from the events: {reading.differences[:5]}")
    if reading.open_intent_count:
        found.append(f"{reading.open_intent_count} changes are half made")
    return found


async def read_both(mesh: Mesh) -> tuple[Kept, Kept]:
    """Read both directories of a mesh whose services are stopped: the raw events, then the reading."""
    directory = mesh.directory
    raw, reading = await asyncio.gather(_read("capture", directory.capture), _read("analytics", directory.analytics))
    return raw, reading


async def forget_cursor(mesh: Mesh) -> None:
    """Let the reading of a stopped analytics_svc begin again at the beginning of the feed, with what it has."""
    await _read("forget", mesh.directory.analytics)


async def _read(kind: str, path: Path) -> Kept:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.reading", kind, str(path)),
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        env=inherited_environment(),
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise AssertionError(f"the {kind} directory could not be read: exit code {process.returncode}")
    return Kept(**json.loads(output))


def _of_capture(path: str) -> Kept:
    import clickhouse_connect

    client = clickhouse_connect.get_client(interface="chdb", path=path)
    rows = client.query("SELECT toString(event_id) FROM capture.events ORDER BY event_id").result_rows
    client.close()
    return Kept([row[0] for row in rows])


def _open(path: str) -> "Client":
    from analytics_svc.store.connect import open_client
    from svc_runtime.clickhouse import parse_dsn

    return open_client(parse_dsn(f"chdb://{path}", default_database="analytics"))


def _forget(path: str) -> Kept:
    client = _open(path)
    client.command("TRUNCATE TABLE cursors")
    client.close()
    return Kept([])


def _of_analytics(path: str) -> Kept:
    from analytics_svc.store import rollups
    from analytics_svc.store.intents import open_intents

    client = _open(path)
    ids = client.query("SELECT toString(event_id) FROM events ORDER BY event_id").result_rows
    ((fingerprint,),) = client.query(f"SELECT {FINGERPRINT} FROM events").result_rows
    partitions = client.query(
        "SELECT DISTINCT partition FROM system.parts WHERE database = 'analytics' AND table = 'events' AND active"
        " AND NOT startsWith(partition, 'patch-')"  # what lightweight updates say of rows, until they are merged
    ).result_rows
    kept = Kept(
        ids=[row[0] for row in ids],
        fingerprint=fingerprint,
        differences=[[str(value) for value in row] for row in rollups.differences(client)],
        partitions=sorted(row[0] for row in partitions),
        open_intent_count=len(open_intents(client)),
    )
    client.close()
    return kept


def main() -> None:
    """Print what is there."""
    kind, path = sys.argv[1:]
    made = {"capture": _of_capture, "analytics": _of_analytics, "forget": _forget}[kind](path)
    print(json.dumps(dataclasses.asdict(made)))


if __name__ == "__main__":
    main()

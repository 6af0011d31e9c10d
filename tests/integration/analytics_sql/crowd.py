"""Twenty heavy statements at once, in a process of their own: ``python -m ...crowd DIRECTORY MIB``.

Prints, as JSON, what became of each and how far the resident memory rose above what it was after a warm-up. With
``fill`` for MIB it makes the events that they read, which leaves the engine's memory large.
"""

import asyncio
import collections
import json
import sys
import threading
import time
from pathlib import Path

from svc_runtime.errors import TrellisError
from tests.integration.analytics_sql.service import Service, serving, temporary_files
from tests.reading import reading

_HEAVY = "SELECT length(groupArray(concat(url, url, url, click_id))) AS n FROM events"
"""Some 80 MB in one group, which the engine cannot put aside on disk."""
_COUNT = 20
_ROWS = 1_500_000


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def _outcome(service: Service, number: int) -> str:
    try:
        await service.ask(_HEAVY, organization_id=f"org_{number % 5}")
    except TrellisError as error:
        return error.reason
    return "answered"


def fill(directory: Path) -> None:
    """Make the events."""
    (directory / "spool").mkdir()
    with reading(directory / "engine") as (_, client):
        client.command(
            "INSERT INTO events (organization_id, event_id, event_time, event_type, click_id, user_id, url)"
            " SELECT concat('org_', toString(number % 5)), generateUUIDv7(), now64(3), 'click',"
            f" hex(cityHash64(number)), toString(number), repeat('x', 40) FROM numbers({_ROWS})"
        )


async def crowd(directory: Path, memory_bytes: int) -> None:
    """Warm up, and let all of them come at once."""
    with temporary_files(directory / "spool"), reading(directory / "engine") as (dsn, client):
        async with serving(dsn, client, memory_bytes=memory_bytes) as service:
            await service.ask("SELECT count(), max(url), max(click_id), max(user_id) FROM events")
            baseline, peak, is_over = _resident_bytes(), 0, threading.Event()

            def watch() -> None:
                nonlocal peak
                while not is_over.is_set():
                    peak = max(peak, _resident_bytes())
                    time.sleep(0.005)

            watcher = threading.Thread(target=watch)
            watcher.start()
            outcomes = await asyncio.gather(*(_outcome(service, number) for number in range(_COUNT)))
            is_over.set()
            watcher.join()
            alive = await service.ask("SELECT 42 AS n")
    print(
        json.dumps(
            {
                "outcomes": collections.Counter(outcomes),
                "baseline_mib": baseline >> 20,
                "risen_mib": (peak - baseline) >> 20,
                "is_alive": alive.rows == [[42]],
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[2] == "fill":
        fill(Path(sys.argv[1]))
    else:
        asyncio.run(crowd(Path(sys.argv[1]), int(sys.argv[2]) * 1024**2))

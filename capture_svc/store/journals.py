"""The last words of journals, and the probe, on ClickHouse: the tables ``journals`` and ``probes``."""

from collections.abc import Sequence
from datetime import UTC, datetime

from capture_svc.store import JournalWord
from capture_svc.store.conditions import aware
from svc_runtime.clickhouse import ClickHouse, insert_rows, select

_TIME = "DateTime64(3, 'UTC')"
_COLUMNS = {
    "journal_id": "String",
    "sender": "String",
    "settled_sequence": "UInt64",
    "pending": "Map(String, UInt64)",
    "report_time": _TIME,
}


class ClickHouseJournalWordStore:
    """``JournalWordStore`` on the table ``journals``."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def save(self, words: Sequence[JournalWord]) -> None:
        """See JournalWordStore."""
        rows = [[w.journal_id, w.sender, w.settled_sequence, dict(w.pending), w.report_time] for w in words]
        await insert_rows(self._clickhouse, "journals", _COLUMNS, rows)

    async def read(self) -> Sequence[JournalWord]:
        """See JournalWordStore."""
        rows = await select(
            self._clickhouse,
            "SELECT journal_id, sender, settled_sequence, pending, report_time FROM journals"
            " ORDER BY journal_id, report_time DESC LIMIT 1 BY journal_id",
        )
        return [JournalWord(row[0], row[1], row[2], row[3], aware(row[4])) for row in rows]


class ClickHouseProbe:
    """``StoreProbe`` on the table ``probes``."""

    def __init__(self, clickhouse: ClickHouse, replica: str) -> None:
        self._clickhouse = clickhouse
        self._replica = replica

    async def ping(self) -> None:
        """See StoreProbe."""
        await select(self._clickhouse, "SELECT 1")

    async def write(self) -> None:
        """See StoreProbe."""
        row = [self._replica, datetime.now(UTC)]
        await insert_rows(self._clickhouse, "probes", {"replica": "String", "probe_time": _TIME}, [row])

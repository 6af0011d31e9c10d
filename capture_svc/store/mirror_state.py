"""The state of a mirror on ClickHouse."""

import uuid
from collections.abc import Sequence

from capture_svc.mirror.state import MirrorState, RefusedRow, from_json, to_json
from capture_svc.mirror.state_store import MirrorTakenError
from svc_runtime.clickhouse import ClickHouse, insert_rows, select

_STATE_COLUMNS = {"mirror": "String", "version": "UInt64", "writer": "UUID", "state": "String"}
_REFUSAL_COLUMNS = {
    "mirror": "LowCardinality(String)",
    "journal_id": "LowCardinality(String)",
    "sequence": "UInt64",
    "reason": "LowCardinality(String)",
}


class ClickHouseMirrorStateStore:
    """``MirrorStateStore`` on the tables ``mirror_states`` and ``mirror_refusals``.

    A version is an insert under a token of its own, which ClickHouse takes once: on one server, and through Keeper on
    a cluster. A reader that lags behind there sees an older state; its next write is then refused as taken.
    """

    def __init__(self, clickhouse: ClickHouse, mirror: str) -> None:
        self._clickhouse = clickhouse
        self._mirror = mirror

    async def read(self) -> MirrorState:
        """See MirrorStateStore."""
        rows = await select(
            self._clickhouse,
            "SELECT version, state FROM mirror_states WHERE mirror = {mirror:String} ORDER BY version DESC LIMIT 1",
            {"mirror": self._mirror},
        )
        return from_json(*rows[0]) if rows else MirrorState.initial()

    async def write(self, state: MirrorState) -> None:
        """See MirrorStateStore."""
        writer = uuid.uuid4()
        row = [self._mirror, state.version, writer, to_json(state)]
        token = f"{self._mirror}:{state.version}"
        await insert_rows(self._clickhouse, "mirror_states", _STATE_COLUMNS, [row], token=token)
        newest = await select(
            self._clickhouse,
            "SELECT version, writer FROM mirror_states WHERE mirror = {mirror:String} ORDER BY version DESC LIMIT 1",
            {"mirror": self._mirror},
        )
        if [tuple(found) for found in newest] != [(state.version, writer)]:
            raise MirrorTakenError

    async def set_aside(self, rows: Sequence[RefusedRow]) -> None:
        """See MirrorStateStore."""
        refusals = [[self._mirror, *row.key, row.reason] for row in rows]
        await insert_rows(self._clickhouse, "mirror_refusals", _REFUSAL_COLUMNS, refusals)

    async def feed_event_count(self) -> int:
        """See MirrorStateStore."""
        ((count,),) = await select(self._clickhouse, "SELECT sum(stored) FROM batches")
        return int(count)

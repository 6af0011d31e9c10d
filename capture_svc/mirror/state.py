"""What the mirror keeps between two steps: the cursor, and the batch that is on its way to the warehouse.

A batch is recorded, with the ids of its jobs, before its first job is sent. A job id never names other rows, and the
warehouse takes a job id once, so a step that is repeated after a crash changes nothing. Pure: no I/O, no clock.
"""

import dataclasses
import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Key = tuple[str, int]
"""Identity of an event in the feed: journal id and sequence."""

MOST_REFUSED_JOBS = 256
"""Refused jobs after which the search for the rows of one batch that are to blame is cut short. One bad row in 200,000
takes 19, eight take 152. A failed job counts against BigQuery's daily quota, too."""
PROBE_JOBS = 32
"""Refused jobs more, half of them for single rows, before the rows are held innocent."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a batch between two keys: what one load job carries."""

    after: Key | None = None
    """Rows with a greater key; None: from the first on."""
    upto: Key | None = None
    """Rows with this key or a smaller one; None: up to the last."""
    attempt: int = 1
    """Which job for these rows, from 1. Raised after a job has failed for sure, never while its fate is unknown."""

    def holds(self, key: Key) -> bool:
        """Say whether the row of this key is in the part."""
        return (self.after is None or key > self.after) and (self.upto is None or key <= self.upto)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that the warehouse refuses for what is in it."""

    key: Key
    reason: str
    """The warehouse's code, never its text: that may quote the row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece of the feed on its way: every event after ``before`` whose sequence ``through`` has for its journal."""

    before: bytes
    """Cursor to read the piece from."""
    after: bytes
    """Cursor to go on from, once no part is left."""
    through: Mapping[str, int]
    """Last sequence by journal. The feed gives out a journal in order and whole, so this names the same events at any
    later time, however many have come since."""
    row_count: int
    """Rows in all."""
    watermark_time: datetime
    """The feed's watermark at ``after``."""
    parts: tuple[Part, ...]
    """Parts not settled yet; the first is next."""
    loaded_count: int = 0
    """Rows that the warehouse has."""
    round: int = 1
    """How often the search for refused rows has begun from the whole."""
    refused_job_count: int = 0
    """Jobs of this round that the warehouse refused for their rows."""
    refused_count: int = 0
    """Rows that it refuses."""
    refused_rows: tuple[RefusedRow, ...] = ()
    """Those of them that are not set aside yet: while nothing is loaded, it may still not be the rows."""

    def holds(self, key: Key) -> bool:
        """Say whether the event of this key is in the batch."""
        return key[1] <= self.through.get(key[0], -1)

    def job_id(self, mirror: str, part: Part) -> str:
        """Return the id of the load job for a part: the same for the same rows, another for any others."""
        identity = json.dumps([mirror, self.before.hex(), self.after.hex(), part.after, part.upto, self.round])
        return f"trellis_{hashlib.sha256(identity.encode()).hexdigest()[:40]}_{part.attempt}"

    def loaded(self, row_count: int) -> "Batch":
        """The first part is in the warehouse."""
        return dataclasses.replace(self, parts=self.parts[1:], loaded_count=self.loaded_count + row_count)

    def failed(self) -> "Batch":
        """The job of the first part failed for sure, and not for its rows: the next one has another id."""
        first = self.parts[0]
        again = dataclasses.replace(first, attempt=first.attempt + 1)
        return dataclasses.replace(self, parts=(again, *self.parts[1:]))

    def refused(self, keys: Sequence[Key], reason: str) -> "Batch":
        """The warehouse refused the first part, which has ``keys``, for at least one of its rows.

        Halve it, or set its one row aside. The halves queue up behind the other parts, so what is good is loaded
        before the search for the bad goes on. Past the search's limit a part is set aside whole once anything of the
        batch was loaded; until then single rows are probed, one from each part.
        """
        first, rest = self.parts[0], self.parts[1:]
        is_over_limit = self.refused_job_count >= MOST_REFUSED_JOBS
        counted = dataclasses.replace(self, parts=rest, refused_job_count=self.refused_job_count + 1)
        if len(keys) <= 1 or (is_over_limit and self.loaded_count):
            refused_rows = (*self.refused_rows, *(RefusedRow(key, reason) for key in keys))
            return dataclasses.replace(counted, refused_rows=refused_rows, refused_count=self.refused_count + len(keys))
        last_of_left = sorted(keys)[0 if is_over_limit else len(keys) // 2 - 1]
        left, right = Part(first.after, last_of_left), Part(last_of_left, first.upto)
        return dataclasses.replace(counted, parts=(left, *rest, right) if is_over_limit else (*rest, left, right))

    @property
    def is_hopeless(self) -> bool:
        """Whether so much was refused, and nothing loaded, that the rows are not to blame."""
        return not self.loaded_count and self.refused_job_count >= MOST_REFUSED_JOBS + PROBE_JOBS

    def restarted(self) -> "Batch":
        """Start again with all rows in one part: what was refused was not the rows. Only while nothing is loaded."""
        return dataclasses.replace(
            self,
            parts=(Part(),),
            round=self.round + 1,
            refused_job_count=0,
            refused_count=0,
            refused_rows=(),
        )

    def with_refused_rows_set_aside(self) -> "Batch":
        """The refused rows found so far are recorded elsewhere."""
        return dataclasses.replace(self, refused_rows=())

    @property
    def missing_count(self) -> int:
        """Rows neither loaded nor refused; anything but 0 when no part is left is worth an alert."""
        return self.row_count - self.loaded_count - self.refused_count


@dataclass(frozen=True, slots=True)
class MirrorState:
    """How far the mirror is. Versions rise by one with every change, whoever makes it."""

    version: int
    cursor: bytes
    """Everything up to here is settled: in the warehouse, or set aside."""
    batch: Batch | None
    """What is on its way after ``cursor``."""
    settled_count: int
    """Events up to ``cursor``."""
    watermark_time: datetime | None
    """The feed's watermark at ``cursor``; None at the beginning."""

    @classmethod
    def initial(cls) -> "MirrorState":
        """Nothing mirrored yet."""
        return cls(version=0, cursor=b"", batch=None, settled_count=0, watermark_time=None)

    def with_batch(self, batch: Batch) -> "MirrorState":
        """Return the next version, with this batch on its way."""
        return dataclasses.replace(self, version=self.version + 1, batch=batch)

    def with_batch_settled(self, batch: Batch) -> "MirrorState":
        """Return the next version, with this batch behind it."""
        return MirrorState(
            version=self.version + 1,
            cursor=batch.after,
            batch=None,
            settled_count=self.settled_count + batch.row_count,
            watermark_time=batch.watermark_time,
        )


def to_json(state: MirrorState) -> str:
    """Write a state, its version excepted, which is the store's to keep."""
    batch = state.batch
    return json.dumps(
        {
            "cursor": b64encode(state.cursor).decode(),
            "settled_count": state.settled_count,
            "watermark_time": state.watermark_time and state.watermark_time.isoformat(),
            "batch": batch
            and {
                "before": b64encode(batch.before).decode(),
                "after": b64encode(batch.after).decode(),
                "through": dict(batch.through),
                "row_count": batch.row_count,
                "watermark_time": batch.watermark_time.isoformat(),
                "parts": [[part.after, part.upto, part.attempt] for part in batch.parts],
                "loaded_count": batch.loaded_count,
                "round": batch.round,
                "refused_job_count": batch.refused_job_count,
                "refused_count": batch.refused_count,
                "refused_rows": [[row.key, row.reason] for row in batch.refused_rows],
            },
        },
        separators=(",", ":"),
    )


def from_json(version: int, text: str) -> MirrorState:
    """Read what ``to_json`` wrote."""
    found = json.loads(text)
    return MirrorState(
        version=version,
        cursor=b64decode(found["cursor"]),
        batch=_batch(found["batch"]) if found["batch"] else None,
        settled_count=found["settled_count"],
        watermark_time=datetime.fromisoformat(found["watermark_time"]) if found["watermark_time"] else None,
    )


def _batch(found: dict[str, Any]) -> Batch:
    return Batch(
        before=b64decode(found["before"]),
        after=b64decode(found["after"]),
        through=found["through"],
        row_count=found["row_count"],
        watermark_time=datetime.fromisoformat(found["watermark_time"]),
        parts=tuple(Part(_key(after), _key(upto), attempt) for after, upto, attempt in found["parts"]),
        loaded_count=found["loaded_count"],
        round=found["round"],
        refused_job_count=found["refused_job_count"],
        refused_count=found["refused_count"],
        refused_rows=tuple(RefusedRow((key[0], key[1]), reason) for key, reason in found["refused_rows"]),
    )


def _key(found: Sequence[Any] | None) -> Key | None:
    return None if found is None else (found[0], found[1])

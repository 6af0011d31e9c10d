"""What the clients sent and what they were told: the account against which the store is held."""

import dataclasses
import enum
import json
import os
import secrets
from pathlib import Path


class Fate(enum.Enum):
    """What a client knows about a request."""

    UNKNOWN = "unknown"
    """No answer came: it may be stored or not."""
    ACKNOWLEDGED = "acknowledged"
    """Answered as stored: it must be there, once."""
    UNRECORDED = "unrecorded"
    """Redirected, and told that it is not kept."""
    LATE = "late"
    """Redirected after the redirect's budget was over: the write goes on behind it, and a kill may lose it."""
    REFUSED = "refused"
    """Answered by an error: the client may send it again."""


@dataclasses.dataclass(slots=True)
class Sent:
    """One request, and its repeats where it has an idempotency key."""

    lid: str
    """Its unique id, which is in the target."""
    kind: str
    target: str
    bodies: tuple[bytes, ...] = (b"",)
    """The bytes of each item; one, which is empty, where there is no body."""
    is_keyed: bool = False
    """It carries an idempotency key: it may be sent again, and is to be stored once."""
    attempt_count: int = 0
    acknowledged_count: int = 0
    fate: Fate = Fate.UNKNOWN
    status: int = 0
    event_ids: tuple[str, ...] = ()
    """Ids that the first acknowledgement named, one for each item."""
    problem: str = ""
    """What was wrong with an answer, if anything."""

    @property
    def item_count(self) -> int:
        """How many events it is."""
        return len(self.bodies)


class Ledger:
    """The requests of one run, by their ids."""

    def __init__(self) -> None:
        self.run_id = secrets.token_hex(4)
        self.sent: dict[str, Sent] = {}
        self.redirect_seconds: list[float] = []
        """How long each redirect took, from sending to its answer, as the client saw it."""

    def new(self, kind: str, target: str, *, bodies: tuple[bytes, ...] = (b"",), is_keyed: bool = False) -> Sent:
        """Enter a request that is about to be sent; ``{lid}`` in ``target`` becomes its id."""
        lid = f"{self.run_id}-{len(self.sent)}"
        sent = Sent(lid, kind, target.replace("{lid}", lid), bodies, is_keyed)
        self.sent[lid] = sent
        return sent

    def count(self, fate: Fate) -> int:
        """Return how many events have a fate."""
        return sum(sent.item_count for sent in self.sent.values() if sent.fate is fate)

    def statuses(self, kind: str) -> set[int]:
        """Return the statuses that requests of a kind were answered with."""
        return {sent.status for sent in self.sent.values() if sent.kind == kind and sent.status}

    def redirect_ms(self, share: float) -> float:
        """Return a quantile of the redirects' latency in milliseconds."""
        ordered = sorted(self.redirect_seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0

    def save(self, path: Path) -> None:
        """Write it where somebody can look at it after a failure."""
        with path.open("w") as file:
            for sent in self.sent.values():
                file.write(json.dumps(dataclasses.asdict(sent), default=_as_json) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _as_json(value: object) -> str:
    return str(value.value) if isinstance(value, Fate) else repr(value)[:100]

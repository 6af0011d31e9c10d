"""What an intake handles: a batch of a journal, what became of it, and the receipts that say so for ever."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

UNCLAIMED = ""
"""Organisation of an event that nobody claims: its host, or its key, is unknown."""
_QUARANTINE_IDS = uuid.UUID("0b7f6e6e-5a7c-5f0e-8f3a-7472656c6c69")


@dataclass(frozen=True, slots=True)
class Batch:
    """What becomes one insert. (journal_id, sequence) names it: whoever sends it again sends the same bytes."""

    journal_id: str
    """32 hexadecimal digits."""
    sequence: int
    """Sequence of the first event, from 1."""
    last_sequence: int
    """Sequence of the last event."""
    events: bytes
    """An encoded EventBatch."""
    counts: Mapping[str, int]
    """Events by organisation, as the sender counted them."""
    is_keyed: bool = False
    """At least one event carries a client's idempotency key."""
    traceparents: tuple[str, ...] = ()
    """Of the sampled requests in it."""
    is_direct: bool = False
    """The sender keeps no journal: after a crash nobody sends the batch again."""
    token_suffix: str = ""
    """Tells apart the lives of a process that numbers events itself."""

    @property
    def token(self) -> str:
        """Under this token the store takes the batch once."""
        return f"{self.journal_id}:{self.sequence}{self.token_suffix}"


@dataclass(frozen=True, slots=True)
class EventHead:
    """The few fields of an encoded event that decide what becomes of it."""

    organization_id: str
    event_id: str
    event_time: datetime
    journal_id: str
    sequence: int
    is_keyed: bool
    """The event carries a client's idempotency key."""
    host: bytes
    """Host header."""
    marks: tuple[str, ...]
    """What the gateway found odd about it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one event that was not stored."""

    is_duplicate: bool
    """An event of the same key is stored already, or will be."""
    reason: str = ""
    """Why it is in the quarantine; empty for a duplicate."""


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """An event, or a whole payload, that was kept aside."""

    quarantine_id: str
    """UUID; the same when the same batch is settled again."""
    organization_id: str
    reason: str
    quarantine_time: datetime
    journal_id: str
    sequence: int
    event_count: int
    event: bytes
    """The encoded Event; the whole payload when it does not split into events."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one organisation's events of a settled batch.

    received = stored + duplicates + quarantined + dropped. The receipt of a replay has a negative ``quarantined``.
    """

    journal_id: str
    sequence: int
    last_sequence: int
    organization_id: str
    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    dropped: int = 0
    """Unclaimed events beyond what is kept of them."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a batch; true once its receipts are stored."""

    journal_id: str
    sequence: int
    last_sequence: int
    token: str
    receipts: tuple[Receipt, ...]
    first_event_time: datetime
    """Time of the first event: with the last one's a hint where to look for them, not a bound."""
    last_event_time: datetime
    byte_count: int
    settle_time: datetime
    fates: Mapping[int, Fate] = field(default_factory=dict)
    """By index in the batch: the events that were not stored."""

    @property
    def stored_count(self) -> int:
        """How many events are in the store."""
        return sum(receipt.stored for receipt in self.receipts)


def quarantine_id(journal_id: str, sequence: int, index: int, organization_id: str = "") -> str:
    """Return the id of what is kept aside of a batch; always the same for the same place in it."""
    return str(uuid.uuid5(_QUARANTINE_IDS, f"{journal_id}:{sequence}:{index}:{organization_id}"))


def own_journal_id(kind: str, replica: str) -> str:
    """Return the id of a journal that a replica of ours numbers itself; ``kind`` is ``direct`` or ``replay``."""
    return hashlib.sha256(f"{kind}:{replica}".encode()).hexdigest()[:32]

"""Holds the store against the clients' ledger: nothing acknowledged is lost, nothing is there twice or from nowhere."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence

from tests.faults.ledger import Fate, Ledger, Sent
from tests.faults.store import Stored, StoredEvent
from trellis.capture.v1 import capture_service_pb2 as capture_pb

_LID = re.compile(r"[?&]lid=([0-9a-f]+-\d+)")
_SHOWN = 5


@dataclasses.dataclass(slots=True)
class Verdict:
    """What the comparison found. Everything but the first counts must be empty."""

    acknowledged_count: int = 0
    """Events that were acknowledged as stored."""
    stored_count: int = 0
    unknown_count: int = 0
    """Events without an answer; of those ``unknown_stored_count`` are stored."""
    unknown_stored_count: int = 0
    unrecorded_count: int = 0
    refused_count: int = 0
    late_count: int = 0
    late_lost_count: int = 0
    """Of the late ones: not broken is the promise, but they are gone."""
    lost: list[str] = dataclasses.field(default_factory=list)
    """I1: acknowledged, and not there."""
    phantoms: list[str] = dataclasses.field(default_factory=list)
    """I2: there, and never sent, or sent otherwise."""
    twice: list[str] = dataclasses.field(default_factory=list)
    """I3: there more than once."""
    answers: list[str] = dataclasses.field(default_factory=list)
    """Answers that were wrong in themselves."""
    account: list[str] = dataclasses.field(default_factory=list)
    """I11: the service's own ledger does not add up, or says otherwise than the store."""

    def problems(self) -> list[str]:
        """Return everything that breaks a promise, in words."""
        kinds = {
            "lost": self.lost,
            "phantom": self.phantoms,
            "twice": self.twice,
            "answer": self.answers,
            "account": self.account,
        }
        return [f"{kind}: {text}" for kind, texts in kinds.items() for text in texts]

    def summary(self) -> str:
        """Return the counts in one line."""
        return (
            f"acked {self.acknowledged_count}, stored {self.stored_count}, lost {len(self.lost)}, "
            f"twice {len(self.twice)}, phantom {len(self.phantoms)}, "
            f"late {self.late_count} (lost {self.late_lost_count}), unrecorded {self.unrecorded_count}, "
            f"refused {self.refused_count}, unanswered {self.unknown_count} (stored {self.unknown_stored_count})"
        )

    def must_hold(self) -> None:
        """Raise AssertionError, with the first of each kind, when a promise is broken."""
        problems = self.problems()
        if problems:
            shown = "\n  ".join(problems[: _SHOWN * 4])
            raise AssertionError(f"{self.summary()}\n{len(problems)} problems:\n  {shown}")


def compare(ledger: Ledger, stored: Stored, account: capture_pb.GetLedgerResponse | None) -> Verdict:
    """Compare a run's ledger with what the store holds of it, and with the account of the demo organisation."""
    verdict = Verdict(stored_count=len(stored.events))
    found: dict[tuple[str, int], list[StoredEvent]] = defaultdict(list)
    for event in stored.events:
        match = _LID.search(event.target)
        sent = ledger.sent.get(match[1]) if match else None
        if sent is None or not _is_as_sent(event, sent):
            verdict.phantoms.append(f"{event.event_id} {event.target} item {event.item_index}")
        else:
            found[sent.lid, event.item_index].append(event)
    for sent in ledger.sent.values():
        _judge(sent, [found.get((sent.lid, item), []) for item in range(sent.item_count)], verdict)
    if stored.row_count != stored.event_id_count:
        verdict.twice.append(f"{stored.row_count} rows have {stored.event_id_count} different event ids")
    if stored.foreign_count:
        verdict.phantoms.append(f"{stored.foreign_count} rows carry no id of a ledger")
    if account is not None:
        _check_account(account, stored, verdict)
    return verdict


def _is_as_sent(event: StoredEvent, sent: Sent) -> bool:
    return (
        event.target == sent.target
        and event.item_index < sent.item_count
        and event.body == sent.bodies[event.item_index]
    )


def _judge(sent: Sent, items: Sequence[Sequence[StoredEvent]], verdict: Verdict) -> None:
    if sent.problem:
        verdict.answers.append(f"{sent.lid} {sent.kind}: {sent.problem}")
    stored_count = sum(bool(events) for events in items)
    if not sent.attempt_count:
        # Nobody took the connection.
        verdict.phantoms += [f"{sent.lid} was never sent"] * stored_count
        return
    match sent.fate:
        case Fate.UNKNOWN:
            verdict.unknown_count += sent.item_count
            verdict.unknown_stored_count += stored_count
        case Fate.REFUSED:
            verdict.refused_count += sent.item_count
        case Fate.UNRECORDED:
            verdict.unrecorded_count += sent.item_count
        case Fate.LATE:
            verdict.late_count += sent.item_count
            verdict.late_lost_count += sent.item_count - stored_count
        case Fate.ACKNOWLEDGED:
            verdict.acknowledged_count += sent.item_count
    for item, events in enumerate(items):
        if len(events) > 1:
            verdict.twice.append(f"{sent.lid} {sent.kind} item {item}: {[event.event_id for event in events]}")
        if sent.fate is Fate.ACKNOWLEDGED:
            promised = sent.event_ids[item]
            if not any(event.event_id == promised for event in events):
                others = f", but {[event.event_id for event in events]}" if events else ""
                verdict.lost.append(f"{sent.lid} {sent.kind} item {item}: {promised} is not there{others}")


def _check_account(account: capture_pb.GetLedgerResponse, stored: Stored, verdict: Verdict) -> None:
    told = account.stored_count + account.duplicate_count + account.quarantined_count + account.journal_count
    if account.received_count != told or account.unaccounted_count:
        verdict.account.append(f"the account does not add up: {_in_words(account)}")
    if account.stored_count != stored.row_count:
        verdict.account.append(f"the account says {account.stored_count} stored, the store holds {stored.row_count}")
    if account.journal_count:
        verdict.account.append(f"{account.journal_count} events are still in a journal")


def _in_words(account: capture_pb.GetLedgerResponse) -> str:
    return (
        f"received {account.received_count}, stored {account.stored_count}, duplicates {account.duplicate_count}, "
        f"quarantined {account.quarantined_count}, journal {account.journal_count}, "
        f"unaccounted {account.unaccounted_count}"
    )

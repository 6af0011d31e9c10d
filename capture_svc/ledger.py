"""The ledger: received = stored + duplicates + quarantined + in journals, per organisation, at any time.

Four looks, in this order: the journals' words, the receipts, what of the words has been settled since, the events. The
events are counted, independently of the receipts, up to where the receipts that were seen reach; so what is on its way
at this moment is in no figure, and the account balances under load as it does at rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from capture_svc import metrics
from capture_svc.batch import UNCLAIMED
from capture_svc.store import EventStore, JournalWord, JournalWordStore, ReceiptStore, Totals
from svc_runtime.clock import Clock

_LIVE = timedelta(minutes=1)
"""A journal that spoke within this time is one that an account rests on, also when it holds nothing."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account of one organisation since its beginning; all counts are events."""

    organization_id: str
    received: int
    stored: int
    duplicates: int
    quarantined: int
    journal: int
    as_of_time: datetime
    """The oldest word of a journal that this rests on."""

    @property
    def unaccounted(self) -> int:
        """What is left over: anything but 0 is a defect."""
        return self.received - self.stored - self.duplicates - self.quarantined - self.journal


class JournalWords:
    """The last word of every journal: of those that talk to this replica at once, of others through the store."""

    def __init__(self, store: JournalWordStore) -> None:
        self._store = store
        self._words: dict[str, JournalWord] = {}
        self._unsaved: set[str] = set()

    def note(self, word: JournalWord) -> None:
        """Take a word."""
        held = self._words.get(word.journal_id)
        self._words[word.journal_id] = word
        if held is None or (held.settled_sequence, held.pending) != (word.settled_sequence, word.pending):
            self._unsaved.add(word.journal_id)

    async def save(self) -> None:
        """Store the words that say something new. Errors: UnavailableError."""
        unsaved, self._unsaved = self._unsaved, set()
        if not unsaved:
            return
        try:
            await self._store.save([self._words[journal_id] for journal_id in sorted(unsaved)])
        except BaseException:
            self._unsaved |= unsaved
            raise

    async def all(self) -> Sequence[JournalWord]:
        """Return the last word of every journal. Errors: UnavailableError."""
        latest = {word.journal_id: word for word in await self._store.read()}
        for journal_id, word in self._words.items():
            if journal_id not in latest or latest[journal_id].report_time <= word.report_time:
                latest[journal_id] = word
        return list(latest.values())


class Ledger:
    """Makes accounts."""

    def __init__(self, events: EventStore, receipts: ReceiptStore, words: JournalWords, clock: Clock) -> None:
        self._events = events
        self._receipts = receipts
        self._words = words
        self._clock = clock

    async def account(self, organization_id: str) -> Account:
        """Return the account of an organisation. Errors: UnavailableError."""
        accounts = await self._accounts(organization_id)
        return accounts.get(organization_id) or Account(organization_id, 0, 0, 0, 0, 0, self._clock.now())

    async def report(self) -> None:
        """Set the metrics of every organisation. Errors: UnavailableError."""
        for organization_id, account in (await self._accounts(None)).items():
            if organization_id == UNCLAIMED:
                continue
            for state, count in (
                ("received", account.received),
                ("stored", account.stored),
                ("duplicate", account.duplicates),
                ("quarantined", account.quarantined),
                ("journal", account.journal),
                ("unaccounted", account.unaccounted),
            ):
                metrics.ledger_events.set(count, {"organization_id": organization_id, "state": state})

    async def _accounts(self, organization_id: str | None) -> dict[str, Account]:
        words = await self._words.all()
        totals = await self._receipts.totals(organization_id)
        heads = _heads(totals)
        spans = {
            word.journal_id: (word.settled_sequence, heads[word.journal_id])
            for word in words
            if word.pending and heads.get(word.journal_id, 0) > word.settled_sequence
        }
        since = await self._receipts.received_between(spans, organization_id)
        stored = await self._events.stored_counts(heads, organization_id)
        names = {total.organization_id for total in totals} | {name for word in words for name in word.pending}
        if organization_id is not None:
            names &= {organization_id}
        return {name: self._account(name, words, totals, since, stored) for name in names}

    def _account(
        self,
        name: str,
        words: Sequence[JournalWord],
        totals: Sequence[Totals],
        since: Mapping[tuple[str, str], int],
        stored: Mapping[str, int],
    ) -> Account:
        now, journal = self._clock.now(), 0
        as_of_time = now
        for word in words:
            held = max(0, word.pending.get(name, 0) - since.get((word.journal_id, name), 0))
            journal += held
            if held or now - word.report_time < _LIVE:
                as_of_time = min(as_of_time, word.report_time)
        own = [total for total in totals if total.organization_id == name]
        return Account(
            organization_id=name,
            received=sum(total.received for total in own) + journal,
            stored=stored.get(name, 0),
            duplicates=sum(total.duplicates for total in own),
            quarantined=sum(total.quarantined for total in own),
            journal=journal,
            as_of_time=as_of_time,
        )


def _heads(totals: Sequence[Totals]) -> dict[str, int]:
    """Return how far the receipts that were seen reach in each journal."""
    heads: dict[str, int] = {}
    for total in totals:
        heads[total.journal_id] = max(heads.get(total.journal_id, 0), total.last_sequence)
    return heads

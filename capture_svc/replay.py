"""Replays the quarantine: stores again what was kept aside, in a journal of its own, so that followers get it too.

Intents first: which item becomes which number of the journal. Then the events, the outcomes, the receipt. After a crash
the intents without a receipt are done again, with the same numbers and tokens: nothing is stored twice.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from capture_svc import metrics, wire
from capture_svc.availability import unbroken
from capture_svc.batch import UNCLAIMED, Batch, EventHead, Fate, Receipt
from capture_svc.duplicates import DUPLICATE, Duplicates, is_uuid
from capture_svc.event_codec import read_heads, reencode
from capture_svc.hosts import HostDirectory, host_name
from capture_svc.intake import Intake
from capture_svc.own_journal import OwnJournal
from capture_svc.quarantine import UNDECODABLE, ReplayCounts, insert_halving
from capture_svc.sorting import Sorting, settlement_of, sort
from capture_svc.store import EventStore, QuarantineItem, QuarantineKey, QuarantineStore, ReplayStep
from svc_runtime.clock import Clock

_PAGE_ITEMS = 500
_PAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item that is to be stored."""

    item: QuarantineItem
    organization_id: str
    """Whose event it is now."""
    encoded: bytes
    """Without a place in a journal."""


class Replayer:
    """Replays items, one call at a time."""

    def __init__(
        self,
        journal: OwnJournal,
        events: EventStore,
        duplicates: Duplicates,
        quarantine: QuarantineStore,
        intake: Intake,
        hosts: HostDirectory,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._events = events
        self._duplicates = duplicates
        self._quarantine = quarantine
        self._intake = intake
        self._hosts = hosts
        self._clock = clock
        self._turn = asyncio.Lock()
        self._is_doubtful = True
        """The life before, or a call that failed, may have left intents without a receipt."""

    async def replay(self, ids: Sequence[str], organization_id: str) -> ReplayCounts:
        """Store again the waiting items with these ids, or all of an organisation's; both empty: all there are.

        Errors: UnavailableError; what was stored before it stays stored, and is not stored again.
        """
        counts = ReplayCounts()
        async with self._turn:
            if self._is_doubtful:
                await unbroken(self._finish_unfinished())
            self._is_doubtful = True
            await self._replay(ids, organization_id, counts)
            self._is_doubtful = False
        return counts

    async def _replay(self, ids: Sequence[str], organization_id: str, counts: ReplayCounts) -> None:
        before: QuarantineKey | None = None
        hosts: Mapping[str, str] | None = None
        while True:
            page = await self._quarantine.page(
                organization_id=organization_id,
                is_waiting=True,
                ids=ids,
                before=before,
                limit=_PAGE_ITEMS,
                max_bytes=_PAGE_BYTES,
            )
            if hosts is None and any(item.event.organization_id == UNCLAIMED for item in page.items):
                hosts = await self._hosts.organizations()
            entries = [entry for item in page.items if (entry := _entry(item, hosts or {})) is not None]
            counts.failed += len(page.items) - len(entries)
            if entries:
                await unbroken(self._store(entries, counts))
            if page.next_key is None:
                return
            before = page.next_key

    async def _store(self, entries: Sequence[_Entry], counts: ReplayCounts) -> None:
        first, now = self._journal.take(len(entries)), self._clock.now()
        steps = [
            ReplayStep(
                entry.item.event.quarantine_id,
                self._journal.journal_id,
                first + offset,
                entry.organization_id,
                "intent",
                now,
            )
            for offset, entry in enumerate(entries)
        ]
        await self._quarantine.record_steps(steps, token=f"{self._journal.journal_id}:{first}:intent")
        await self._settle(steps, entries, counts)

    async def _finish_unfinished(self) -> None:
        """Do again what has an intent and no receipt."""
        settled = await self._journal.open(adopt=False)
        steps = await self._quarantine.steps_after(self._journal.journal_id, settled)
        intents = [step for step in steps if step.step == "intent"]
        if not intents:
            return
        self._journal.go_on_after(intents[-1].sequence)
        page = await self._quarantine.page(
            organization_id="",
            is_waiting=False,
            ids=[step.quarantine_id for step in intents],
            before=None,
            limit=len(intents),
            max_bytes=2**40,
        )
        items = {item.event.quarantine_id: item for item in page.items}
        pairs = [
            (step, entry)
            for step in intents
            if (item := items.get(step.quarantine_id)) is not None
            and (entry := _entry_for(item, step.organization_id)) is not None
        ]
        if pairs:
            await self._settle([step for step, _ in pairs], [entry for _, entry in pairs], ReplayCounts())

    async def _settle(self, steps: Sequence[ReplayStep], entries: Sequence[_Entry], counts: ReplayCounts) -> None:
        first, last, journal_id = steps[0].sequence, steps[-1].sequence, self._journal.journal_id
        encoded = [
            wire.with_place(entry.encoded, journal_id, step.sequence)
            for entry, step in zip(entries, steps, strict=True)
        ]
        payload = wire.join(encoded)
        owners = Counter(entry.organization_id for entry in entries)
        batch = Batch(journal_id, first, last, payload, owners, is_direct=True)
        sorting = sort(batch, encoded, read_heads(payload, encoded))
        now = self._clock.now()
        await self._mark_known(sorting, entries, now)
        rest = sorting.rest
        refused = await insert_halving(self._events, [encoded[index] for index in rest], token=batch.token)
        for position, reason in refused.items():
            sorting.fates[rest[position]] = Fate(is_duplicate=False, reason=reason)
        outcomes = [_outcome(sorting.fates.get(index)) for index in range(len(entries))]
        await self._quarantine.record_steps(
            [
                ReplayStep(s.quarantine_id, journal_id, s.sequence, s.organization_id, outcome, now)
                for s, outcome in zip(steps, outcomes, strict=True)
            ],
            token=f"{batch.token}:outcome",
        )
        times = sorting.times() or (now, now)
        receipts = _receipts(batch, entries, outcomes)
        await self._intake.confirm([settlement_of(batch, receipts, times, settle_time=now)])
        metrics.batches.add(1, {"source": "replay"})
        _tally(counts, outcomes)

    async def _mark_known(self, sorting: Sorting, entries: Sequence[_Entry], now: datetime) -> None:
        """Mark what is stored already: under another number, or by another replay that came first."""
        batch = sorting.batch
        by_organization: dict[str, list[str]] = {}
        heads: dict[int, EventHead] = {index: sorting.head(index) for index in sorting.rest}
        former = {
            head.event_id: (entries[index].item.event.journal_id, entries[index].item.event.sequence)
            for index, head in heads.items()
        }
        for head in heads.values():
            by_organization.setdefault(head.organization_id, []).append(head.event_id)
        found: set[tuple[str, str, int]] = set()
        for organization_id, event_ids in by_organization.items():
            found |= await self._events.existing(organization_id, [text for text in event_ids if is_uuid(text)])
        for index, head in heads.items():
            if any(known[0] == head.event_id and known[1:] != (batch.journal_id, head.sequence) for known in found):
                sorting.fates[index] = DUPLICATE
        await self._duplicates.mark(sorting, now=now, former=former)


def _entry(item: QuarantineItem, hosts: Mapping[str, str]) -> _Entry | None:
    """Return what is to be stored of an item; None when it stays."""
    owner = item.event.organization_id
    if item.event.reason == UNDECODABLE:
        return None
    if owner == UNCLAIMED:
        found = reencode(item.event.event, organization_id="")
        owner = hosts.get(host_name(found[1].host), UNCLAIMED) if found is not None else UNCLAIMED
    return _entry_for(item, owner) if owner != UNCLAIMED else None


def _entry_for(item: QuarantineItem, organization_id: str) -> _Entry | None:
    found = reencode(item.event.event, organization_id=organization_id)
    return None if found is None else _Entry(item, organization_id, found[0])


def _outcome(fate: Fate | None) -> str:
    if fate is None:
        return "stored"
    return "duplicate" if fate.is_duplicate else "refused"


def _receipts(batch: Batch, entries: Sequence[_Entry], outcomes: Sequence[str]) -> tuple[Receipt, ...]:
    """Move what is not refused from the quarantine, and the unclaimed from nobody's account to its owner's."""
    tallies: dict[str, Counter[str]] = {entry.organization_id: Counter() for entry in entries}
    for entry, outcome in zip(entries, outcomes, strict=True):
        if outcome == "refused":
            continue
        former, owner = entry.item.event.organization_id, entry.organization_id
        tallies[owner][outcome] += 1
        tallies.setdefault(former, Counter())["quarantined"] -= 1
        if former != owner:
            tallies[owner]["received"] += 1
            tallies[former]["received"] -= 1
    return tuple(
        Receipt(
            batch.journal_id,
            batch.sequence,
            batch.last_sequence,
            owner,
            received=tally["received"],
            stored=tally["stored"],
            duplicates=tally["duplicate"],
            quarantined=tally["quarantined"],
        )
        for owner, tally in sorted(tallies.items())
    )


def _tally(counts: ReplayCounts, outcomes: Sequence[str]) -> None:
    tally = Counter(outcomes)
    counts.stored += tally["stored"]
    counts.duplicate += tally["duplicate"]
    counts.failed += tally["refused"]

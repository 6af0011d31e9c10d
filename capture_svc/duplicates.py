"""Finds the events whose idempotency key somebody else has used, by claims.

Who wants to store such an event claims its id first; of several claims the one that the store took first stands. The
store orders claims of all replicas, so two gateways, and two replicas of ours, may have the same key at once and one
event is stored, with no lock. A claim is repeated with its batch and stays the claimant's own.

A journal's claim stands for ever: its batch is sent until it is settled. A direct caller may die with its replica
before its event is stored, and then nobody would store it; so a direct claim stands when its event is there, and else
for a minute from when it was made, unless a receipt says that it came to nothing. Who made it relies on it for half of
that time and then claims again: an insert that began in the first half has ended before the second half has.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from capture_svc.batch import Fate
from capture_svc.sorting import Sorting
from capture_svc.store import Claim, EventStore, ReceiptStore
from svc_runtime.errors import UnavailableError

DIRECT_CLAIM_LIFETIME = timedelta(seconds=60)
DUPLICATE = Fate(is_duplicate=True)


class Duplicates:
    """Marks the duplicates of a batch."""

    def __init__(self, events: EventStore, receipts: ReceiptStore) -> None:
        self._events = events
        self._receipts = receipts

    async def mark(
        self, sorting: Sorting, *, now: datetime, former: Mapping[str, tuple[str, int]] | None = None
    ) -> None:
        """Give the fate of a duplicate to the events whose key is taken. Errors: UnavailableError.

        ``former`` is for a replay: it looks at events without a key too, by their ids, and gives the (journal,
        sequence) where each was before; what the event claimed there is its own.
        """
        indexes = self._first_of_each(sorting, every_event=former is not None)
        if not indexes:
            return
        batch = sorting.batch
        own = [
            Claim(event_id, batch.journal_id, sorting.head(index).sequence, batch.is_direct, now)
            for event_id, index in indexes.items()
        ]
        # Within half of a lifetime the same claim, afterwards a new one.
        term = f"@{now.timestamp() // (DIRECT_CLAIM_LIFETIME / 2).total_seconds():.0f}" if batch.is_direct else ""
        await self._events.claim(own, token=f"{batch.token}{term}")
        claims = await self._events.claims_of(list(indexes))
        rivals = {claim.event_id: _before(claim, claims.get(claim.event_id, ())) for claim in own}
        present = await self._present(sorting, indexes, rivals)
        settled = await self._settled(rivals, present)
        for event_id, before in rivals.items():
            place = (former or {}).get(event_id)
            if _is_taken(before, former=place, present=present, settled=settled, now=now):
                sorting.fates[indexes[event_id]] = DUPLICATE

    @staticmethod
    def _first_of_each(sorting: Sorting, *, every_event: bool) -> dict[str, int]:
        """Return the place of the first event of each id; the others of it are duplicates."""
        found: dict[str, int] = {}
        for index in sorting.rest:
            head = sorting.head(index)
            if not (head.is_keyed or every_event) or not is_uuid(head.event_id):
                continue
            if head.event_id in found:
                sorting.fates[index] = DUPLICATE
            else:
                found[head.event_id] = index
        return found

    async def _present(
        self, sorting: Sorting, indexes: Mapping[str, int], rivals: Mapping[str, Sequence[Claim]]
    ) -> set[tuple[str, str, int]]:
        """Return (event id, journal, sequence) of what is stored of the ids that direct callers claimed before."""
        doubtful: dict[str, list[str]] = {}
        for event_id, before in rivals.items():
            if any(claim.is_direct for claim in before):
                doubtful.setdefault(sorting.head(indexes[event_id]).organization_id, []).append(event_id)
        found: set[tuple[str, str, int]] = set()
        for organization_id, event_ids in doubtful.items():
            found |= await self._events.existing(organization_id, event_ids)
        return found

    async def _settled(
        self, rivals: Mapping[str, Sequence[Claim]], present: set[tuple[str, str, int]]
    ) -> dict[str, int]:
        """Return the last settled sequence of the journals of direct claims whose events are not there."""
        journals = {
            claim.journal_id
            for before in rivals.values()
            for claim in before
            if claim.is_direct and _place_of(claim) not in present
        }
        heads = {journal_id: await self._receipts.head(journal_id) for journal_id in sorted(journals)}
        return {journal_id: head.last_sequence if head is not None else 0 for journal_id, head in heads.items()}


def _before(own: Claim, claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims of others that were made before the first one of ours that we may rely on."""
    found: list[Claim] = []
    for claim in claims:
        if _place_of(claim) != _place_of(own):
            found.append(claim)
        elif not own.is_direct or own.claim_time - claim.claim_time < DIRECT_CLAIM_LIFETIME / 2:
            break
    return found


def _place_of(claim: Claim) -> tuple[str, str, int]:
    return claim.event_id, claim.journal_id, claim.sequence


def _is_taken(
    before: Sequence[Claim],
    *,
    former: tuple[str, int] | None,
    present: set[tuple[str, str, int]],
    settled: Mapping[str, int],
    now: datetime,
) -> bool:
    """Say whether a claim that was made before ours stands."""
    is_ours_from_here = False
    for claim in before:
        if (claim.journal_id, claim.sequence) == former:
            # From here on journals were told that theirs is the duplicate.
            is_ours_from_here = is_ours_from_here or not claim.is_direct
        elif not claim.is_direct:
            if not is_ours_from_here:
                return True
        elif _place_of(claim) in present:
            return True
        elif settled[claim.journal_id] < claim.sequence and now - claim.claim_time < DIRECT_CLAIM_LIFETIME:
            raise UnavailableError("an event of the same key is being stored at this moment")
    return False


def is_uuid(text: str) -> bool:
    """Say whether a text is a UUID in its canonical form."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False

"""Finds the events whose idempotency key somebody else has used, by claims.

Who wants to store such an event claims its id first; of several claims the one that the store took first stands. The
store orders claims of all replicas, so two gateways, and two replicas of ours, may have the same key at once and one
event is stored, with no lock. A claim is repeated with its batch and stays the claimant's own.

A journal's claim stands for ever: its batch is sent until it is settled. A direct caller may die with its replica
before its event is stored, and then nobody would store it; so a direct claim stands when its event is there, and for a
minute from when it was made.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from capture_svc.batch import Fate
from capture_svc.sorting import Sorting
from capture_svc.store import Claim, EventStore
from svc_runtime.errors import UnavailableError

DIRECT_CLAIM_LIFETIME = timedelta(seconds=60)
DUPLICATE = Fate(is_duplicate=True)


async def mark_duplicates(
    events: EventStore,
    sorting: Sorting,
    *,
    now: datetime,
    former: Mapping[str, tuple[str, int]] | None = None,
) -> None:
    """Give the fate of a duplicate to the events whose key is taken. Errors: UnavailableError.

    ``former`` is for a replay: it looks at events without a key too, by their ids, and gives the (journal, sequence)
    where each was before, whose claim is the event's own.
    """
    batch = sorting.batch
    wanted: list[Claim] = []
    first_of: dict[str, int] = {}
    for index in sorting.rest:
        head = sorting.head(index)
        if not (head.is_keyed or former is not None) or not is_uuid(head.event_id):
            continue
        if head.event_id in first_of:
            sorting.fates[index] = DUPLICATE
            continue
        first_of[head.event_id] = index
        wanted.append(Claim(head.event_id, batch.journal_id, head.sequence, batch.is_direct, now))
    if not wanted:
        return
    await events.claim(wanted, token=batch.token)
    claims = await events.claims_of(list(first_of))
    contested = {
        claim.event_id: _before(claim, claims.get(claim.event_id, ()), (former or {}).get(claim.event_id))
        for claim in wanted
    }
    present = await _present(events, sorting, first_of, contested)
    for event_id, others in contested.items():
        if any(_stands(other, (event_id, other.journal_id, other.sequence) in present, now) for other in others):
            sorting.fates[first_of[event_id]] = DUPLICATE


def _before(own: Claim, claims: Sequence[Claim], former: tuple[str, int] | None) -> list[Claim]:
    """Return the claims of others that were made before our own."""
    found: list[Claim] = []
    for claim in claims:
        place = (claim.journal_id, claim.sequence)
        if place == (own.journal_id, own.sequence):
            break
        if place != former:
            found.append(claim)
    return found


async def _present(
    events: EventStore, sorting: Sorting, first_of: Mapping[str, int], contested: Mapping[str, Sequence[Claim]]
) -> set[tuple[str, str, int]]:
    """Return (event id, journal, sequence) of what is stored of the ids that only direct callers claimed before."""
    doubtful: dict[str, list[str]] = {}
    for event_id, others in contested.items():
        if others and all(other.is_direct for other in others):
            doubtful.setdefault(sorting.head(first_of[event_id]).organization_id, []).append(event_id)
    found: set[tuple[str, str, int]] = set()
    for organization_id, event_ids in doubtful.items():
        found |= await events.existing(organization_id, event_ids)
    return found


def _stands(claim: Claim, is_present: bool, now: datetime) -> bool:
    if not claim.is_direct or is_present:
        return True
    if now - claim.claim_time < DIRECT_CLAIM_LIFETIME:
        raise UnavailableError("an event of the same key is being stored at this moment")
    return False


def is_uuid(text: str) -> bool:
    """Say whether a text is a UUID in its canonical form."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False

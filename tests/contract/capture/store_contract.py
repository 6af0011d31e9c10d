"""What every implementation of the stores must keep: subclass, and give a fixture ``stores``."""

import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capture_svc.assembly import Stores
from capture_svc.batch import QuarantinedEvent, Receipt, Settlement, quarantine_id
from capture_svc.scan import Scan, ScanKey
from capture_svc.store import (
    Claim,
    ContentRefusedError,
    EventFilter,
    EventKey,
    EventRange,
    JournalWord,
    QuarantineKey,
    ReplayStep,
)
from tests.contract.capture.things import ORGANIZATIONS, event_id, ids, join, make_event
from trellis.capture.v1 import event_pb2

J1, J2, J3 = "a" * 32, "b" * 32, "c" * 32
ACME, GLOBEX, _ = ORGANIZATIONS
NOW = datetime(2026, 11, 20, 12, 0, 0, 123_000, tzinfo=UTC)
NOW_MS = 1_795_176_000_123
MANY = 10_000_000


def numbered(count: int, *, journal_id: str = J1, first: int = 1, **fields: Any) -> list[event_pb2.Event]:
    """Return events with places in a journal."""
    return [
        make_event(**{"journal_id": journal_id, "sequence": first + n, "event_time_ms": NOW_MS + n} | fields)
        for n in range(count)
    ]


def encoded(events: Sequence[event_pb2.Event]) -> bytes:
    """Return their batch."""
    return join([event.SerializeToString() for event in events])


def decoded(batch: bytes) -> list[event_pb2.Event]:
    """Return the events of a batch."""
    return list(event_pb2.EventBatch.FromString(batch).events)


def whole_event(**fields: Any) -> event_pb2.Event:
    """Return an event with something in every field, and hostile bytes wherever bytes may be."""
    every_byte = bytes(range(256))
    given: dict[str, Any] = {
        "journal_id": J1,
        "sequence": 7,
        "event_time_ms": NOW_MS,
        "event_type": b"purch\xffase\x00",
        "target": b"/in/x?a=1&a=2&b=%41+%zz&=&c\xff" + every_byte,
        "headers": b"Host: t.example\r\nX-A: 1\r\nx-a: 2\r\nno colon\r\nX-Bytes: " + every_byte + b"\r\n",
        "body": every_byte * 40 + b"\r\n\x00\xfe",
        "host": b"t.example\xfe",
        "external_click_id": b"\xf0\x28\x8c\x28",
        "location": b"https://shop.example/?q=\xff",
        "marks": ["late", "test", "late"],
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "idempotency_key": b"k\x00\xff",
        "item_index": 3,
        "key_id": "k1",
    }
    return make_event(**given | fields)


def settlement(journal_id: str, first: int, last: int, *, at: datetime = NOW, **receipts: Receipt | int) -> Settlement:
    """Return a settlement in which every organisation given stored so many events."""
    rows = tuple(
        Receipt(journal_id, first, last, name, value, value) if isinstance(value, int) else value
        for name, value in receipts.items()
    )
    return Settlement(journal_id, first, last, f"{journal_id}:{first}", rows, NOW, NOW, 100 * (last - first + 1), at)


async def scanned(stores: Stores, wanted: Scan, *, limit: int) -> AsyncIterator[list[event_pb2.Event]]:
    """Give the pages of a scan."""
    after: ScanKey | None = None
    is_last = False
    while not is_last:
        page = await stores.events.scan(wanted, after=after, limit=limit, max_bytes=MANY)
        events = decoded(page.events)
        assert page.event_count == len(events)
        if events:
            yield events
        after, is_last = page.last_key, page.is_last


class EventStoreContract:
    """``EventStore``."""

    async def test_an_event_comes_back_with_every_byte(self, stores: Stores) -> None:
        event = whole_event()
        await stores.events.insert(encoded([event]), token="t")
        found = await stores.events.get(ACME, event.event_id)
        assert found is not None
        assert decoded(found[0]) == [event]
        assert abs((found[1] - datetime.now(UTC)).total_seconds()) < 60
        page = await stores.events.page(ACME, EventFilter(), before=None, limit=10, max_bytes=MANY)
        assert decoded(page.events) == [event]
        assert decoded(await stores.events.read([EventRange(J1, 0, 10, (NOW, NOW))], limit=10)) == [event]

    async def test_an_event_with_nothing_optional_comes_back(self, stores: Stores) -> None:
        event = event_pb2.Event(
            organization_id=ACME, event_id=event_id(NOW_MS), event_time_ms=NOW_MS, journal_id=J1, sequence=1
        )
        await stores.events.insert(encoded([event]), token="t")
        found = await stores.events.get(ACME, event.event_id)
        assert found is not None
        assert decoded(found[0]) == [event]

    @pytest.mark.parametrize("day", [0, 40], ids=["one month", "two months"])
    async def test_a_batch_is_stored_once_under_its_token(self, stores: Stores, day: int) -> None:
        events = numbered(5) + numbered(5, first=6, event_time_ms=NOW_MS - day * 86_400_000)
        for _ in range(3):
            await stores.events.insert(encoded(events), token="t")
        assert len(await stores.events.stored_sequences(EventRange(J1, 0, 100))) == 10
        assert await stores.events.stored_counts({J1: 100}, ACME) == {ACME: 10}

    @pytest.mark.parametrize(
        "fields",
        [
            {"event_id": "nonsense"},
            {"event_id": "0af7651916cd"},
            {"organization_id": ""},
            {"sequence": 0},
        ],
        ids=str,
    )
    async def test_a_bad_event_is_refused_and_none_of_its_batch_is_stored(
        self, stores: Stores, fields: dict[str, Any]
    ) -> None:
        events = [*numbered(3), make_event(**{"journal_id": J1, "sequence": 4, "event_time_ms": NOW_MS} | fields)]
        with pytest.raises(ContentRefusedError):
            await stores.events.insert(encoded(events), token="t")
        assert await stores.events.stored_sequences(EventRange(J1, 0, 100)) == set()
        # The token is free: nothing was stored under it.
        await stores.events.insert(encoded(events[:3]), token="t")
        assert await stores.events.stored_sequences(EventRange(J1, 0, 100)) == {1, 2, 3}

    async def test_bytes_that_are_no_events_are_refused(self, stores: Stores) -> None:
        with pytest.raises(ContentRefusedError):
            await stores.events.insert(b"\x0a\x02\x08\x01", token="t")

    async def test_sequences_are_found_with_and_without_a_hint(self, stores: Stores) -> None:
        await stores.events.insert(encoded(numbered(9)), token="t")
        await stores.events.insert(encoded(numbered(9, journal_id=J2)), token="u")
        assert await stores.events.stored_sequences(EventRange(J1, 2, 5, (NOW, NOW))) == {3, 4, 5}
        assert await stores.events.stored_sequences(EventRange(J1, 7, 50)) == {8, 9}

    async def test_claims_stand_in_the_order_in_which_they_were_made(self, stores: Stores) -> None:
        key, other = event_id(NOW_MS), event_id(NOW_MS)
        first, second = Claim(key, J2, 9, False, NOW), Claim(key, J1, 1, True, NOW)
        await stores.events.claim([first], token="t1")
        await stores.events.claim([second, Claim(other, J1, 2, False, NOW)], token="t2")
        await stores.events.claim([first], token="t1")
        found = await stores.events.claims_of([key, event_id(NOW_MS)])
        assert found == {key: [first, second]}

    async def test_stored_ids_are_found_in_their_organisation_only(self, stores: Stores) -> None:
        events = numbered(3)
        await stores.events.insert(encoded(events), token="t")
        wanted = [events[1].event_id, event_id(NOW_MS)]
        assert await stores.events.existing(ACME, wanted) == {(events[1].event_id, J1, 2)}
        assert await stores.events.existing(GLOBEX, wanted) == set()
        assert await stores.events.get(GLOBEX, events[1].event_id) is None
        assert (await stores.events.page(GLOBEX, EventFilter(), before=None, limit=9, max_bytes=MANY)).events == b""

    async def test_an_event_is_found_whatever_the_version_of_its_id(self, stores: Stores) -> None:
        keyed = make_event(journal_id=J1, sequence=1, event_id="ded2093e-1a73-5f1c-888b-695db4081143")
        # The id says another time than the event: a clock stepped between the two.
        stepped = make_event(journal_id=J1, sequence=2, event_id=event_id(NOW_MS - 86_400_000), event_time_ms=NOW_MS)
        await stores.events.insert(encoded([keyed, stepped]), token="t")
        for event in (keyed, stepped):
            found = await stores.events.get(ACME, event.event_id)
            assert found is not None
            assert decoded(found[0]) == [event]

    async def test_orphans_are_counted_by_organisation(self, stores: Stores) -> None:
        events = numbered(4) + numbered(2, first=5, organization_id=GLOBEX)
        await stores.events.insert(encoded(events), token="t")
        found = await stores.events.orphans(J1, 2, since=NOW - timedelta(days=1))
        assert [(o.organization_id, o.event_count, o.first_sequence, o.last_sequence) for o in found] == [
            (ACME, 2, 3, 4),
            (GLOBEX, 2, 5, 6),
        ]
        assert await stores.events.orphans(J1, 6, since=NOW - timedelta(days=1)) == []
        assert await stores.events.orphans(J1, 0, since=NOW + timedelta(days=1)) == []

    async def test_pages_go_from_new_to_old_and_hold_every_event_once(self, stores: Stores) -> None:
        # Several events share each millisecond.
        events = [make_event(journal_id=J1, sequence=n + 1, event_time_ms=NOW_MS + n // 4) for n in range(23)]
        await stores.events.insert(encoded(events), token="t")
        found: list[event_pb2.Event] = []
        before: EventKey | None = None
        while True:
            page = await stores.events.page(ACME, EventFilter(), before=before, limit=5, max_bytes=MANY)
            found += decoded(page.events)
            before = page.next_key
            if before is None:
                break
        assert sorted(ids(found)) == sorted(ids(events))
        assert [e.event_time_ms for e in found] == sorted((e.event_time_ms for e in events), reverse=True)

    async def test_a_page_of_large_events_is_short_and_goes_on(self, stores: Stores) -> None:
        await stores.events.insert(encoded(numbered(5, body=b"x" * 10_000)), token="t")
        page = await stores.events.page(ACME, EventFilter(), before=None, limit=5, max_bytes=25_000)
        assert len(decoded(page.events)) == 2
        page = await stores.events.page(ACME, EventFilter(), before=page.next_key, limit=5, max_bytes=1)
        assert len(decoded(page.events)) == 1
        assert page.next_key is not None

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            (EventFilter(start_time=NOW + timedelta(milliseconds=3)), {4, 5}),
            (EventFilter(end_time=NOW + timedelta(milliseconds=1)), {1}),
            (EventFilter(start_time=NOW + timedelta(microseconds=500)), {2, 3, 4, 5}),
            (EventFilter(event_type=b"\xff\x00odd"), {2}),
            (EventFilter(click_id=b"ours-3"), {3}),
            (EventFilter(click_id=b"theirs\xfe"), {4}),
            (EventFilter(click_id=b"THEIRS\xfe"), set()),
            (EventFilter(campaign_id="cmp_x"), {1, 5}),
            (EventFilter(user_id="usr_'\\x"), {5}),
            (EventFilter(mark="late"), {2, 3}),
            (EventFilter(mark="late", click_id=b"ours-3"), {3}),
            (EventFilter(mark="lat"), set()),
        ],
        ids=str,
    )
    async def test_filters(self, stores: Stores, wanted: EventFilter, expected: set[int]) -> None:
        fields: list[dict[str, Any]] = [
            {"campaign_id": "cmp_x"},
            {"event_type": b"\xff\x00odd", "marks": ["late"]},
            {"click_id": "ours-3", "marks": ["test", "late"]},
            {"external_click_id": b"theirs\xfe"},
            {"user_id": "usr_'\\x", "campaign_id": "cmp_x"},
        ]
        events = [
            make_event(journal_id=J1, sequence=n + 1, event_time_ms=NOW_MS + n, **given)
            for n, given in enumerate(fields)
        ]
        await stores.events.insert(encoded(events), token="t")
        page = await stores.events.page(ACME, wanted, before=None, limit=10, max_bytes=MANY)
        assert {event.sequence for event in decoded(page.events)} == expected

    async def test_ranges_are_read_one_after_the_other_in_rising_sequence(self, stores: Stores) -> None:
        # Later numbers have earlier times: order is by number.
        events = [make_event(journal_id=J1, sequence=n, event_time_ms=NOW_MS - n) for n in range(1, 8)]
        await stores.events.insert(encoded(events), token="t")
        await stores.events.insert(encoded(numbered(4, journal_id=J2, organization_id=GLOBEX)), token="u")
        ranges = [EventRange(J2, 1, 3, (NOW, NOW)), EventRange(J1, 2, 5, (NOW, NOW))]
        found = decoded(await stores.events.read(ranges, limit=MANY))
        assert [(e.journal_id, e.sequence) for e in found] == [(J2, 2), (J2, 3), (J1, 3), (J1, 4), (J1, 5)]
        found = decoded(await stores.events.read(ranges, limit=3))
        assert [(e.journal_id, e.sequence) for e in found] == [(J2, 2), (J2, 3), (J1, 3)]
        assert await stores.events.read([EventRange(J3, 0, 9)], limit=3) == b""

    async def test_an_event_far_from_the_hint_is_read_without_it(self, stores: Stores) -> None:
        await stores.events.insert(encoded(numbered(2, event_time_ms=NOW_MS - 7 * 86_400_000)), token="t")
        assert len(decoded(await stores.events.read([EventRange(J1, 0, 9)], limit=9))) == 2

    @pytest.mark.parametrize("limit", [1, 4, 7, 1000])
    async def test_a_scan_gives_every_event_once_by_organisation_and_time(self, stores: Stores, limit: int) -> None:
        # Several events share each millisecond, and they came in another order.
        events = [
            make_event(ORGANIZATIONS[n % 3], journal_id=J1, sequence=n + 1, event_time_ms=NOW_MS - n // 4)
            for n in range(23)
        ]
        await stores.events.insert(encoded(events), token="t")
        pages = [found async for found in scanned(stores, Scan(), limit=limit)]
        found = [event for page in pages for event in page]
        assert all(page and len(page) <= limit for page in pages)
        assert sorted(ids(found)) == sorted(ids(events))
        places = [(event.organization_id, event.event_time_ms) for event in found]
        assert places == sorted(places)

    async def test_a_scan_of_one_organisation_and_time_gives_nothing_else(self, stores: Stores) -> None:
        day = 86_400_000
        events = [
            make_event(ORGANIZATIONS[n % 2], journal_id=J1, sequence=n + 1, event_time_ms=NOW_MS + (n // 2 - 40) * day)
            for n in range(80)
        ]
        await stores.events.insert(encoded(events), token="t")
        start, end = NOW - timedelta(days=30), NOW - timedelta(days=3)
        wanted = Scan(GLOBEX, start_time=start, end_time=end)
        found = [event async for page in scanned(stores, wanted, limit=5) for event in page]
        assert [event.event_time_ms for event in found] == [NOW_MS - n * day for n in range(30, 3, -1)]
        assert {event.organization_id for event in found} == {GLOBEX}
        assert [page async for page in scanned(stores, Scan("org_nobody"), limit=5)] == []

    async def test_a_scan_of_large_events_has_short_pages(self, stores: Stores) -> None:
        await stores.events.insert(encoded(numbered(5, body=b"x" * 10_000)), token="t")
        page = await stores.events.scan(Scan(), after=None, limit=5, max_bytes=25_000)
        assert (page.event_count, len(decoded(page.events)), page.is_last) == (2, 2, False)
        page = await stores.events.scan(Scan(), after=page.last_key, limit=5, max_bytes=1)
        assert (page.event_count, page.is_last) == (1, False)
        page = await stores.events.scan(Scan(), after=page.last_key, limit=5, max_bytes=MANY)
        assert (page.event_count, page.is_last) == (2, True)

    async def test_events_are_counted_by_month(self, stores: Stores) -> None:
        assert await stores.events.counts_by_month(None) == {}
        december = datetime(2026, 12, 1, tzinfo=UTC)
        first_ms = int(december.timestamp() * 1000)
        times = [NOW_MS, first_ms - 1, first_ms, first_ms + 1]
        events = [make_event(journal_id=J1, sequence=n + 1, event_time_ms=ms) for n, ms in enumerate(times)]
        events.append(make_event(GLOBEX, journal_id=J1, sequence=9, event_time_ms=NOW_MS))
        await stores.events.insert(encoded(events), token="t")
        november = datetime(2026, 11, 1, tzinfo=UTC)
        assert list((await stores.events.counts_by_month(None)).items()) == [(november, 3), (december, 2)]
        assert await stores.events.counts_by_month(GLOBEX) == {november: 1}

    async def test_stored_events_are_counted_up_to_the_heads(self, stores: Stores) -> None:
        # Of today, where the heads matter: what is older has arrived long ago.
        today = time.time_ns() // 1_000_000
        await stores.events.insert(encoded(numbered(6, event_time_ms=today)), token="t")
        await stores.events.insert(
            encoded(numbered(4, journal_id=J2, organization_id=GLOBEX, event_time_ms=today)), token="u"
        )
        assert await stores.events.stored_counts({J1: 4, J2: 3}, None) == {ACME: 4, GLOBEX: 3}
        assert await stores.events.stored_counts({J1: 4, J2: 3}, GLOBEX) == {GLOBEX: 3}
        assert await stores.events.stored_counts({J2: 3}, None) == {GLOBEX: 3}
        assert await stores.events.stored_counts({}, None) == {}


class ReceiptStoreContract:
    """``ReceiptStore``."""

    async def test_receipts_are_stored_once(self, stores: Stores) -> None:
        one = settlement(J1, 1, 5, org_a=3, org_b=2)
        for _ in range(3):
            await stores.receipts.insert([one])
        assert sorted((t.organization_id, t.received) for t in await stores.receipts.totals(None)) == [
            ("org_a", 3),
            ("org_b", 2),
        ]

    async def test_a_group_is_stored_once(self, stores: Stores) -> None:
        group = [settlement(J1, 1, 5, org_a=5), settlement(J1, 6, 7, org_a=2)]
        for _ in range(2):
            await stores.receipts.insert(group)
        assert [t.received for t in await stores.receipts.totals("org_a")] == [7]
        head = await stores.receipts.head(J1)
        assert head is not None
        assert (head.sequence, head.last_sequence) == (6, 7)

    async def test_heads_are_the_last_batches(self, stores: Stores) -> None:
        later = NOW + timedelta(minutes=1)
        await stores.receipts.insert([settlement(J1, 1, 5, org_a=5)])
        await stores.receipts.insert([settlement(J1, 900, 1200, at=later, org_a=1, org_b=1)])
        await stores.receipts.insert([settlement(J2, 3, 4, org_b=2)])
        heads = await stores.receipts.heads()
        assert {j: (h.sequence, h.last_sequence, h.settle_time) for j, h in heads.items()} == {
            J1: (900, 1200, later),
            J2: (3, 4, NOW),
        }
        assert set(await stores.receipts.heads(later)) == {J1}
        assert await stores.receipts.head(J3) is None
        assert await stores.receipts.positions_at([J1, J2, J3], NOW) == {J1: 5, J2: 4, J3: 0}

    async def test_batches_are_given_in_order_from_a_position(self, stores: Stores) -> None:
        for first in (1, 11, 21, 31):
            await stores.receipts.insert([settlement(J1, first, first + 8, org_a=4, org_b=5)])
        await stores.receipts.insert([settlement(J2, 5, 5, org_a=1)])
        found = await stores.receipts.batches_after({J1: 12, J2: 0, J3: 0}, limit=2)
        assert [(b.journal_id, b.sequence, b.last_sequence, b.stored_count, b.byte_count) for b in found] == [
            (J1, 11, 19, 9, 900),
            (J1, 21, 29, 9, 900),
            (J2, 5, 5, 1, 100),
        ]
        assert found[0].first_event_time == found[0].settle_time == NOW
        assert [b.sequence for b in await stores.receipts.batches_after({J1: 19}, limit=9)] == [21, 31]
        assert await stores.receipts.batches_after({}, limit=9) == []

    async def test_totals_are_by_organisation_and_journal(self, stores: Stores) -> None:
        replayed = Receipt(J2, 1, 2, "org_a", received=0, stored=2, duplicates=1, quarantined=-3)
        await stores.receipts.insert([settlement(J1, 1, 9, org_a=Receipt(J1, 1, 9, "org_a", 9, 3, 2, 4), org_b=1)])
        await stores.receipts.insert([settlement(J2, 1, 2, org_a=replayed)])
        totals = {(t.organization_id, t.journal_id): t for t in await stores.receipts.totals(None)}
        assert set(totals) == {("org_a", J1), ("org_b", J1), ("org_a", J2)}
        one = totals["org_a", J1]
        assert (one.received, one.stored, one.duplicates, one.quarantined, one.last_sequence) == (9, 3, 2, 4, 9)
        assert totals["org_a", J2].quarantined == -3
        assert {t.journal_id for t in await stores.receipts.totals("org_a")} == {J1, J2}
        assert await stores.receipts.totals("org_c") == []

    async def test_totals_see_what_came_since_they_were_asked_last(self, stores: Stores) -> None:
        long_ago, now = datetime.now(UTC) - timedelta(days=3), datetime.now(UTC)
        await stores.receipts.insert([settlement(J1, 1, 5, at=long_ago, org_a=5)])
        await stores.receipts.insert([settlement(J1, 6, 6, at=now, org_a=1)])
        for expected in (6, 6):
            assert [t.received for t in await stores.receipts.totals("org_a")] == [expected]
        await stores.receipts.insert([settlement(J1, 7, 9, at=datetime.now(UTC), org_a=3)])
        assert [(t.received, t.last_sequence) for t in await stores.receipts.totals(None)] == [(9, 9)]

    async def test_what_was_received_between_is_summed(self, stores: Stores) -> None:
        for first in (1, 11, 21, 31):
            await stores.receipts.insert([settlement(J1, first, first + 9, org_a=6, org_b=4)])
        await stores.receipts.insert([settlement(J2, 1, 9, org_a=9)])
        spans = {J1: (1, 30), J2: (0, 9)}
        assert await stores.receipts.received_between(spans, "org_a") == {(J1, "org_a"): 12, (J2, "org_a"): 9}
        assert (await stores.receipts.received_between(spans, None))[J1, "org_b"] == 8
        assert await stores.receipts.received_between({}, None) == {}


def kept(number: int, *, organization_id: str = ACME, event: bytes = b"\xff\x00e") -> QuarantinedEvent:
    """Return something kept aside; a higher number is newer."""
    identity = quarantine_id(J1, number, 0)
    at = NOW + timedelta(milliseconds=number // 2)
    return QuarantinedEvent(identity, organization_id, "why", at, J1, number, 1, event)


class QuarantineStoreContract:
    """``QuarantineStore``."""

    async def _page(self, stores: Stores, **how: Any) -> list[int]:
        given: dict[str, Any] = {"organization_id": "", "is_waiting": False, "ids": [], "before": None, "limit": 100}
        page = await stores.quarantine.page(**{"max_bytes": MANY} | given | how)
        return [item.event.sequence for item in page.items]

    async def test_what_is_kept_comes_back_with_every_byte(self, stores: Stores) -> None:
        one = kept(1, event=bytes(range(256)) * 10)
        for _ in range(2):
            await stores.quarantine.insert([one], token="t")
        page = await stores.quarantine.page(
            organization_id="", is_waiting=True, ids=[], before=None, limit=9, max_bytes=MANY
        )
        assert [(item.event, item.replay_time) for item in page.items] == [(one, None)]
        assert page.next_key is None

    async def test_pages_go_from_new_to_old(self, stores: Stores) -> None:
        await stores.quarantine.insert([kept(n) for n in range(1, 12)], token="t")
        found: list[int] = []
        before: QuarantineKey | None = None
        while True:
            page = await stores.quarantine.page(
                organization_id="", is_waiting=False, ids=[], before=before, limit=4, max_bytes=MANY
            )
            found += [item.event.sequence for item in page.items]
            before = page.next_key
            if before is None:
                break
        assert sorted(found) == list(range(1, 12))
        assert [n // 2 for n in found] == sorted((n // 2 for n in range(1, 12)), reverse=True)

    async def test_items_are_chosen_by_organisation_by_id_and_by_size(self, stores: Stores) -> None:
        await stores.quarantine.insert(
            [kept(2), kept(4, organization_id=""), kept(6, event=b"x" * 1000), kept(8, event=b"x" * 1000)], token="t"
        )
        assert await self._page(stores, organization_id=ACME) == [8, 6, 2]
        assert await self._page(stores, ids=[kept(4).quarantine_id, kept(6).quarantine_id]) == [6, 4]
        assert await self._page(stores, max_bytes=1500) == [8]

    async def test_what_was_replayed_waits_no_more(self, stores: Stores) -> None:
        await stores.quarantine.insert([kept(2), kept(4), kept(6)], token="t")
        await stores.quarantine.record_steps(
            [
                ReplayStep(kept(2).quarantine_id, J2, 1, ACME, "intent", NOW),
                ReplayStep(kept(4).quarantine_id, J2, 2, ACME, "intent", NOW),
            ],
            token="i",
        )
        assert await self._page(stores, is_waiting=True) == [6, 4, 2]
        outcomes = [
            ReplayStep(kept(2).quarantine_id, J2, 1, ACME, "stored", NOW),
            ReplayStep(kept(4).quarantine_id, J2, 2, ACME, "refused", NOW),
        ]
        for _ in range(2):
            await stores.quarantine.record_steps(outcomes, token="o")
        assert await self._page(stores, is_waiting=True) == [6, 4]
        assert await self._page(stores) == [6, 4, 2]
        steps = await stores.quarantine.steps_after(J2, 0)
        assert [(s.sequence, s.step) for s in steps] == [(1, "intent"), (1, "stored"), (2, "intent"), (2, "refused")]
        assert [s.sequence for s in await stores.quarantine.steps_after(J2, 1)] == [2, 2]
        page = await stores.quarantine.page(
            organization_id="", is_waiting=False, ids=[kept(2).quarantine_id], before=None, limit=1, max_bytes=MANY
        )
        assert page.items[0].replay_time == NOW

    async def test_the_unclaimed_of_a_time_are_counted(self, stores: Stores) -> None:
        await stores.quarantine.insert(
            [kept(2, organization_id="", event=b"12345"), kept(8, organization_id="", event=b"123"), kept(9)], token="t"
        )
        assert await stores.quarantine.unclaimed_since(NOW) == (2, 8)
        assert await stores.quarantine.unclaimed_since(NOW + timedelta(milliseconds=2)) == (1, 3)


class JournalWordStoreContract:
    """``JournalWordStore``."""

    async def test_the_last_word_counts(self, stores: Stores) -> None:
        first = JournalWord(J1, "gateway-0/w0", 1, {"org_a": 5, "": 2}, NOW)
        last = JournalWord(J1, "gateway-0/w0", 7, {}, NOW + timedelta(seconds=1))
        other = JournalWord(J2, "gateway-1/w0", 0, {"org_b": 1}, NOW)
        await stores.words.save([first, other])
        assert sorted(await stores.words.read(), key=lambda w: w.journal_id) == [first, other]
        await stores.words.save([last])
        await stores.words.save([first])
        assert sorted(await stores.words.read(), key=lambda w: w.journal_id) == [last, other]


class StoreContract(EventStoreContract, ReceiptStoreContract, QuarantineStoreContract, JournalWordStoreContract):
    """All of them."""

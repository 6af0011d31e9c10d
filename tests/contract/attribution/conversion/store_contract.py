"""What every ConversionStore must do. Subclass it and give it a ``store`` fixture."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from attribution_svc.conversions.book import Bookmark, ConversionStore, MovedBookmarkError, Place, Wanted
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.kept import Kept
from svc_runtime.errors import NotFoundError
from tests.unit.attribution.conversion.reports import NOON, at, event_id_of, postback


async def take(store: ConversionStore, *events: ConversionEvent) -> int:
    """Let the store have events, as the next page of the feed."""
    bookmark = await store.bookmark()
    after = Bookmark(bookmark.cursor + b"+", NOON)
    return await store.take(events, after, expected_cursor=bookmark.cursor)


async def listed(store: ConversionStore, organization_id: str = "org_a", **wanted: object) -> list[Kept]:
    """Return all that is wanted."""
    return await store.list_page(organization_id, Wanted(**wanted), after=None, limit=1000)  # type: ignore[arg-type]  # as given


def ids(found: Sequence[Kept]) -> list[int]:
    """Return the numbers of conversions."""
    return [int(kept.conversion.conversion_id[-12:], 16) for kept in found]


class ConversionStoreContract:
    """The suite."""

    async def test_it_begins_empty_and_the_bookmark_moves_with_the_events(self, store: ConversionStore) -> None:
        assert await store.bookmark() == Bookmark(b"", None)
        assert await store.take([postback(1, "txid=1")], Bookmark(b"a", NOON), expected_cursor=b"") == 1
        assert await store.bookmark() == Bookmark(b"a", NOON)
        assert await store.take([], Bookmark(b"b", NOON), expected_cursor=b"a") == 0
        assert (await store.bookmark()).cursor == b"b"

    async def test_who_is_behind_the_bookmark_writes_nothing(self, store: ConversionStore) -> None:
        await store.take([postback(1, "txid=1")], Bookmark(b"a", NOON), expected_cursor=b"")
        with pytest.raises(MovedBookmarkError):
            await store.take([postback(2, "txid=2")], Bookmark(b"x", NOON), expected_cursor=b"")
        assert ids(await listed(store)) == [1]
        assert (await store.bookmark()).cursor == b"a"

    async def test_an_event_is_there_once_however_often_it_comes(self, store: ConversionStore) -> None:
        event = postback(1, "txid=1&payout=5")
        assert await take(store, event, event) == 1
        assert await take(store, event, postback(2, "payout=3")) == 1
        assert await take(store, event, postback(2, "payout=3")) == 0
        found = await listed(store)
        assert [(kept.conversion.value_micros, kept.revision) for kept in found] == [(3_000_000, 1), (5_000_000, 1)]

    async def test_the_same_order_a_hundred_times_is_one_conversion(self, store: ConversionStore) -> None:
        events = [postback(number, "txid=1&payout=5", seconds=1) for number in range(1, 101)]
        await take(store, *events[:50])
        await take(store, *events[50:])
        (found,) = await listed(store)
        assert found.conversion.value_micros == 5_000_000
        assert len(found.conversion.event_ids) == 100

    async def test_an_order_lives_on_with_each_event(self, store: ConversionStore) -> None:
        await take(store, postback(1, "txid=1&status=lead&click_id=c1"))
        await take(store, postback(2, "txid=1&status=approved&payout=5&click_id=c2"))
        await take(store, postback(3, "txid=1&status=refund&payout=2"))
        (found,) = await listed(store)
        conversion = found.conversion
        assert (conversion.status, conversion.value_micros, conversion.refunded_micros) == (
            "sale",
            3_000_000,
            2_000_000,
        )
        assert conversion.click_references == ("c1", "c2")
        assert found.revision == 3
        events = await store.events("org_a", conversion.event_ids)
        assert [event.event_id for event in events] == [event_id_of(number) for number in (1, 2, 3)]
        assert events[1] == postback(2, "txid=1&status=approved&payout=5&click_id=c2")

    async def test_a_beginning_that_comes_late_takes_the_conversion_over(self, store: ConversionStore) -> None:
        await take(store, postback(2, "txid=1&status=approved&payout=5"))
        await take(store, postback(1, "txid=1&status=lead"))
        assert ids(await listed(store)) == [1]
        merged = await store.get("org_a", event_id_of(2))
        assert merged.merged_into == event_id_of(1)

    async def test_whoever_asks_for_a_click_finds_its_conversions(self, store: ConversionStore) -> None:
        await take(store, postback(1, "click_id=c1&gclid=g1"), postback(2, "click_id=C1"), postback(3, "click_id=c1"))
        assert ids(await listed(store, click_id="c1")) == [3, 1]
        assert ids(await listed(store, click_id="g1")) == [1]
        assert ids(await listed(store, click_id="c")) == []

    async def test_a_list_is_filtered_by_everything_that_is_named(self, store: ConversionStore) -> None:
        await take(
            store,
            postback(1, "txid=1&event=purchase&payout=5"),
            postback(2, "txid=2&status=lead"),
            postback(3, "txid=3&status=test"),
            postback(4, "txid=4&status=onwards"),
        )
        assert ids(await listed(store)) == [4, 3, 2, 1]
        assert ids(await listed(store, conversion_type="purchase")) == [1]
        assert ids(await listed(store, conversion_type="lead")) == [2]
        assert ids(await listed(store, status="lead")) == [2]
        assert ids(await listed(store, status="")) == [1]
        assert ids(await listed(store, order_id="2")) == [2]
        assert ids(await listed(store, is_test=True)) == [3]
        assert ids(await listed(store, is_test=False)) == [4, 2, 1]
        assert ids(await listed(store, is_orphan=True)) == []
        assert ids(await listed(store, is_orphan=False)) == [4, 3, 2, 1]
        assert ids(await listed(store, campaign_id="summer")) == []
        assert ids(await listed(store, start_time=at(2), end_time=at(4))) == [3, 2]

    async def test_a_list_goes_on_behind_a_place(self, store: ConversionStore) -> None:
        await take(store, *(postback(number, f"txid={number}", seconds=number // 3) for number in range(10)))
        found: list[int] = []
        after = None
        while page := await store.list_page("org_a", Wanted(), after=after, limit=4):
            found += ids(page)
            after = Place(page[-1].conversion.create_time, page[-1].conversion.conversion_id)
        assert found == list(range(9, -1, -1))

    async def test_organisations_have_nothing_to_do_with_each_other(self, store: ConversionStore) -> None:
        mine, theirs = postback(1, "txid=1&click_id=c"), postback(2, "txid=1&click_id=c", organization_id="org_b")
        same = postback(1, "txid=1&click_id=c", organization_id="org_b")
        await take(store, mine, theirs, same)
        assert ids(await listed(store, click_id="c")) == [1]
        assert len((await store.get("org_a", event_id_of(1))).conversion.event_ids) == 1
        assert len((await store.get("org_b", event_id_of(1))).conversion.event_ids) == 2
        for organization_id in ("org_a", "org_c"):
            with pytest.raises(NotFoundError) as error:
                await store.get(organization_id, event_id_of(2))
            assert error.value.message == f"no conversion {event_id_of(2)!r}"

    async def test_bytes_that_no_text_has_are_kept(self, store: ConversionStore) -> None:
        await take(store, postback(1, "txid=%ff%00&click_id=%00%fe&status=%00"))
        (found,) = await listed(store, click_id="\\x00\\xfe")
        assert found.conversion.order_id == "\\xff\\x00"

    async def test_an_order_has_room_for_a_thousand_events(self, store: ConversionStore) -> None:
        events = [postback(number, "txid=1&payout=5", seconds=number / 1000) for number in range(1, 1011)]
        assert await take(store, *events[:600]) == 600
        assert await take(store, *events[600:]) == 410
        (found,) = await listed(store)
        assert len(found.conversion.event_ids) == 1000
        assert len(await store.events("org_a", [event_id_of(1010)])) == 1

    async def test_what_is_there_already_takes_no_room_again(self, store: ConversionStore) -> None:
        events = [postback(number, "txid=1&payout=5", seconds=number / 1000) for number in range(1, 801)]
        await take(store, *events[:600])
        assert await take(store, *events) == 200
        (found,) = await listed(store)
        assert len(found.conversion.event_ids) == 800

    async def test_writers_at_once_lose_nothing(self, store: ConversionStore) -> None:
        async def write(number: int) -> None:
            while True:
                try:
                    await take(store, postback(number, f"txid={number % 3}&payout=1"))
                except MovedBookmarkError:
                    continue
                return

        await asyncio.gather(*map(write, range(12)))
        found = await listed(store)
        assert sorted(len(kept.conversion.event_ids) for kept in found) == [4, 4, 4]
        assert all(kept.conversion.last_event_time - NOON >= timedelta(seconds=9) for kept in found)

"""Following the feed into the store of conversions, from a capture_svc that repeats itself, breaks and goes away."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
import pytest

from attribution_svc.conversions import follow
from attribution_svc.conversions.book import Bookmark, Wanted
from attribution_svc.conversions.event import Arrived, ConversionEvent, conversion_event_of
from attribution_svc.conversions.follow import ConversionFollower
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.tasks import running
from tests.contract.analytics.fake_capture import MESH, FakeCapture, serving
from tests.contract.attribution.conversion.memory_conversions import MemoryConversionStore

pytestmark = pytest.mark.loopback


@contextmanager
def following(store: MemoryConversionStore, port: int) -> Iterator[ConversionFollower]:
    yield ConversionFollower(
        grpc.aio.insecure_channel(f"127.0.0.1:{port}"), Credentials(MESH, "test"), store, page_event_count=40
    )


def wanted_ids(fake: FakeCapture) -> set[str]:
    """Return the events of the feed that speak of conversions."""
    return {event_id for event_id, event in fake.events().items() if event.route == "postback"}


async def until_all_are_there(store: MemoryConversionStore, fake: FakeCapture) -> None:
    async with asyncio.timeout(20):
        while (await store.bookmark()).cursor != fake.end():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)


async def conversions_of(store: MemoryConversionStore) -> set[str]:
    found = []
    for number in range(3):
        found += await store.list_page(f"org_{number}", Wanted(), after=None, limit=10_000)
    return {event_id for kept in found for event_id in kept.conversion.event_ids}


@pytest.mark.parametrize(("die_after_pages", "repeats"), [(0, 0), (4, 0), (6, 7)])
async def test_every_postback_is_kept_once_however_the_feed_breaks(die_after_pages: int, repeats: int) -> None:
    fake, store = FakeCapture(seed=1), MemoryConversionStore()
    fake.die_after_pages, fake.repeats = die_after_pages, repeats
    fake.put(90)
    fake.put(60, journal_id="b" * 32)
    async with serving(fake) as port:
        with following(store, port) as follower:
            async with running("follower", follower.run()):
                await until_all_are_there(store, fake)
    assert await conversions_of(store) == wanted_ids(fake)
    assert len(wanted_ids(fake)) == 30


async def test_a_store_that_is_away_is_waited_for() -> None:
    fake, store = FakeCapture(), MemoryConversionStore()
    fake.put(50)
    store.is_down = True
    async with serving(fake) as port:
        with following(store, port) as follower:
            async with running("follower", follower.run()):
                await asyncio.sleep(0.3)
                store.is_down = False
                await until_all_are_there(store, fake)
    assert await conversions_of(store) == wanted_ids(fake)


async def test_a_feed_that_is_away_is_waited_for() -> None:
    fake, store = FakeCapture(), MemoryConversionStore()
    fake.put(50)
    async with serving(fake) as port:
        with following(store, port) as follower:
            work = running("follower", follower.run())
            async with work:
                await until_all_are_there(store, fake)
    fake.put(50)
    with following(store, port) as follower:
        async with running("follower", follower.run()):
            await asyncio.sleep(0.3)
            async with serving(fake, port=port):
                await until_all_are_there(store, fake)
    assert await conversions_of(store) == wanted_ids(fake)


async def test_the_feed_from_the_beginning_adds_nothing_to_what_is_there() -> None:
    fake, store = FakeCapture(), MemoryConversionStore()
    fake.put(100)
    async with serving(fake) as port:
        with following(store, port) as follower:
            async with running("follower", follower.run()):
                await until_all_are_there(store, fake)
            change_count = len(store.changes)
            await store.take([], Bookmark(b"", None), expected_cursor=fake.end())
            async with running("follower", follower.run()):
                await until_all_are_there(store, fake)
    assert len(store.changes) == change_count


async def test_one_event_that_the_store_chokes_on_keeps_no_other_waiting() -> None:
    fake = FakeCapture(seed=5)
    fake.put(60)
    *_, bad = sorted(wanted_ids(fake))

    class Choking(MemoryConversionStore):
        async def take(self, events: Sequence[ConversionEvent], after: Bookmark, *, expected_cursor: bytes) -> int:
            if bad in {event.event_id for event in events}:
                raise ValueError("no column holds it")
            return await super().take(events, after, expected_cursor=expected_cursor)

    store = Choking()
    async with serving(fake) as port:
        with following(store, port) as follower:
            async with running("follower", follower.run()):
                await until_all_are_there(store, fake)
    assert await conversions_of(store) == wanted_ids(fake) - {bad}


async def test_a_page_that_is_too_much_at_once_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_LONGEST_DELAY_SECONDS", 0.05)
    fake = FakeCapture(seed=5)
    fake.put(200)

    class Slow(MemoryConversionStore):
        async def take(self, events: Sequence[ConversionEvent], after: Bookmark, *, expected_cursor: bytes) -> int:
            if len(events) > 3:
                raise UnavailableError("out of time")
            return await super().take(events, after, expected_cursor=expected_cursor)

    store = Slow()
    async with serving(fake) as port:
        with following(store, port) as follower:
            async with running("follower", follower.run()):
                await until_all_are_there(store, fake)
    assert await conversions_of(store) == wanted_ids(fake)


async def test_two_followers_get_in_each_others_way_without_harm() -> None:
    fake, store = FakeCapture(seed=3, largest_page=7), MemoryConversionStore()
    fake.put(200)
    async with serving(fake) as port:
        with following(store, port) as first, following(store, port) as second:
            async with running("first", first.run()), running("second", second.run()):
                await until_all_are_there(store, fake)
    assert await conversions_of(store) == wanted_ids(fake)


def test_the_fakes_postbacks_are_conversions() -> None:
    fake = FakeCapture()
    fake.put(5)
    event = fake.events()["019b76da-a800-7000-8000-000000000004"]
    assert conversion_event_of(
        Arrived(event.organization_id, event.event_id, event.event_time_ms, event.event_type, event.route, event.target)
    )

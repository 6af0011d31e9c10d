"""Following a feed over gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from analytics_svc import follow
from analytics_svc.follow import Follower
from analytics_svc.store import Bookmark, Page
from svc_runtime.clock import SystemClock
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.tasks import running
from tests.contract.analytics.fake_capture import MESH, FakeCapture, serving
from tests.contract.analytics.memory_store import MemoryReadingStore

pytestmark = pytest.mark.loopback


@contextlib.asynccontextmanager
async def following(
    port: int, store: MemoryReadingStore, *, page_event_count: int = 1000, write_interval_seconds: float = 0.0
) -> AsyncIterator[Follower]:
    """Follow the feed on ``port`` for the time of the block."""
    async with open_channel(MESH, f"127.0.0.1:{port}") as channel:
        follower = Follower(
            channel,
            Credentials(MESH, "analytics"),
            store,
            clock=SystemClock(),
            page_event_count=page_event_count,
            write_interval_seconds=write_interval_seconds,
        )
        async with running("follower", follower.run()):
            yield follower


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait until it is so; fail when it takes longer."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is on the other side of a socket
            await asyncio.sleep(0.005)


async def test_every_event_arrives_and_what_comes_later_too() -> None:
    fake, store = FakeCapture(), MemoryReadingStore()
    fake.put(200)
    async with serving(fake) as port, following(port, store):
        await until(lambda: len(store.events) == 200)
        fake.put(100)
        fake.put(50, journal_id="b" * 32)
        await until(lambda: store.kept.cursor == fake.end())
    assert store.events == fake.events()
    assert sum(page.event_count for page in store.pages) == 350
    assert fake.subscriptions[0].follower == "analytics"
    assert fake.subscriptions[0].cursor == b""


async def test_a_feed_that_dies_again_and_again_is_followed_from_the_bookmark() -> None:
    fake, store = FakeCapture(largest_page=20), MemoryReadingStore()
    fake.die_after_pages = 3
    fake.put(60)
    async with serving(fake) as port, following(port, store):
        await until(lambda: store.kept.cursor == fake.end())
    assert store.events == fake.events()
    assert len(fake.subscriptions) > 1
    kept = {page.bookmark.cursor for page in store.pages}
    assert all(request.cursor in kept for request in fake.subscriptions[1:])


async def test_a_feed_that_repeats_itself_adds_nothing_twice() -> None:
    fake, store = FakeCapture(largest_page=20), MemoryReadingStore()
    fake.die_after_pages, fake.repeats = 6, 3
    fake.put(100)
    fake.put(100, journal_id="b" * 32)
    async with serving(fake) as port, following(port, store):
        await until(lambda: len(store.events) == 200)
    assert store.events == fake.events()
    assert sum(page.event_count for page in store.pages) > 200


async def test_a_write_that_failed_in_the_middle_is_done_again_with_other_pages() -> None:
    fake, store = FakeCapture(), MemoryReadingStore()
    store.fail_next = True
    fake.put(200)
    async with serving(fake) as port, following(port, store):
        await until(lambda: store.kept.cursor == fake.end())
    assert store.events == fake.events()
    assert [request.cursor for request in fake.subscriptions] == [b"", b""]


async def test_a_store_that_is_down_is_waited_for() -> None:
    fake, store = FakeCapture(), MemoryReadingStore()
    fake.put(10)
    store.is_down = True
    async with serving(fake) as port, following(port, store):
        await asyncio.sleep(0.3)
        assert not store.events
        store.is_down = False
        await until(lambda: len(store.events) == 10)


async def test_a_capture_that_is_not_there_yet_is_waited_for() -> None:
    fake, store = FakeCapture(), MemoryReadingStore()
    fake.put(10)
    async with serving(FakeCapture()) as port:
        pass
    async with following(port, store):
        await asyncio.sleep(0.3)
        async with serving(fake, port=port):
            await until(lambda: len(store.events) == 10)


async def test_a_silent_feed_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LONGEST_SILENCE_SECONDS", 0.2)
    fake, store = FakeCapture(), MemoryReadingStore()
    fake.is_mute = True
    async with serving(fake) as port, following(port, store):
        await until(lambda: len(fake.subscriptions) >= 2)
        fake.is_mute = False
        fake.put(5)
        await until(lambda: len(store.events) == 5)


async def test_heartbeats_keep_the_feed_alive_and_write_nothing() -> None:
    fake, store = FakeCapture(), MemoryReadingStore()
    fake.put(5)
    async with serving(fake) as port, following(port, store) as follower:
        await until(lambda: len(store.events) == 5)
        pages = len(store.pages)
        before = follower._watermark_time
        await asyncio.sleep(0.3)
        assert len(store.pages) == pages
        assert len(fake.subscriptions) == 1
        assert follower._watermark_time is not None
        assert before is not None
        assert follower._watermark_time > before


async def test_pages_that_wait_share_an_insert() -> None:
    fake, store = FakeCapture(largest_page=1), MemoryReadingStore()
    fake.put(100)
    async with serving(fake) as port, following(port, store, write_interval_seconds=0.05):
        await until(lambda: store.kept.cursor == fake.end())
    assert store.events == fake.events()
    assert len(store.pages) < 50


async def test_the_watermark_age_is_unknown_at_first_and_grows_while_the_feed_is_away() -> None:
    fake, store = FakeCapture(), MemoryReadingStore()
    fake.put(1)
    async with serving(FakeCapture()) as port:
        pass
    async with following(port, store) as follower:
        assert follower.watermark_age_seconds() is None
        async with serving(fake, port=port):
            await until(lambda: bool(store.events))
            age = follower.watermark_age_seconds()
            assert age is not None
            assert age < 2
        await asyncio.sleep(0.3)
        older = follower.watermark_age_seconds()
        assert older is not None
        assert older >= 0.25
    store.kept = type(store.kept)(store.kept.cursor, datetime.now(UTC) - timedelta(hours=1))
    async with following(port, store) as follower:
        await until(lambda: follower.watermark_age_seconds() is not None)
        assert 3600 <= (follower.watermark_age_seconds() or 0) < 3700


@pytest.mark.parametrize(
    ("byte_count", "write_seconds", "pause_seconds"),
    [
        (100, 0.01, 0.19),  # the shortest interval
        (100, 0.2, 0.4),  # writing takes a third of the time
        (100, 0.9, 0.1),  # but nobody waits longer than a second for it
        (100, 5.0, 0.0),
        (follow.ENOUGH_BYTES, 0.1, 0.0),  # a backlog
    ],
)
async def test_small_pages_wait_for_company_and_a_backlog_does_not(
    byte_count: int, write_seconds: float, pause_seconds: float
) -> None:
    async with open_channel(MESH, "127.0.0.1:1") as channel:
        follower = Follower(
            channel,
            Credentials(MESH, "analytics"),
            MemoryReadingStore(),
            clock=SystemClock(),
            page_event_count=10,
            write_interval_seconds=0.2,
        )
        page = Page((bytes(byte_count),), 1, Bookmark(b"1", None))
        assert follower.pause_seconds(page, write_seconds) == pytest.approx(pause_seconds)

"""What every ReadingStore must do. Subclass it and give it a ``store`` fixture."""

from datetime import UTC, datetime

from analytics_svc.store import Bookmark, Page, ReadingStore
from tests.contract.analytics.fake_capture import make_event
from trellis.capture.v1 import event_pb2

NOON = datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC)


def page(numbers: range, cursor: bytes, *, pieces: int = 1) -> Page:
    """Return a page of the numbered events, in one batch or several."""
    events = [make_event(number) for number in numbers]
    batches = [event_pb2.EventBatch(events=events[i::pieces]).SerializeToString() for i in range(pieces)]
    return Page(tuple(batches), len(events), Bookmark(cursor, NOON))


class ReadingStoreContract:
    """The suite."""

    async def test_an_empty_reading_begins_at_the_beginning(self, store: ReadingStore) -> None:
        assert await store.bookmark() == Bookmark(b"", None)

    async def test_a_bookmark_comes_back_with_any_bytes(self, store: ReadingStore) -> None:
        cursor = bytes(range(256)) * 256
        assert await store.write(page(range(10), cursor)) == 10
        assert await store.bookmark() == Bookmark(cursor, NOON)

    async def test_the_last_bookmark_counts(self, store: ReadingStore) -> None:
        for number in range(15):
            await store.write(page(range(number * 3, number * 3 + 3), b"%d" % number))
        assert (await store.bookmark()).cursor == b"14"

    async def test_a_page_without_events_moves_the_bookmark_alone(self, store: ReadingStore) -> None:
        assert await store.write(Page((b"",), 0, Bookmark(b"further", NOON))) == 0
        assert (await store.bookmark()).cursor == b"further"

    async def test_several_batches_are_one_page(self, store: ReadingStore) -> None:
        assert await store.write(page(range(20), b"1", pieces=3)) == 20

    async def test_events_that_are_there_are_not_added_again(self, store: ReadingStore) -> None:
        assert await store.write(page(range(10), b"1")) == 10
        assert await store.write(page(range(10), b"1")) == 0
        assert await store.write(page(range(5, 25), b"2")) == 15
        twice = page(range(25, 28), b"3")
        assert await store.write(Page(twice.events * 2, 6, twice.bookmark)) == 3

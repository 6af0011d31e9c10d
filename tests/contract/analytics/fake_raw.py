"""A capture_svc that feeds what a test put in, and lets it be read again."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from svc_runtime.errors import UnavailableError
from tests.contract.analytics.fake_capture import FakeCapture
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2


class FakeRaw(FakeCapture):
    """``FakeCapture`` with its events by month; the cursor of a range says how many were given out."""

    def __init__(self, *, seed: int = 0, largest_page: int = 50) -> None:
        super().__init__(seed=seed, largest_page=largest_page)
        self.range_pages = 0
        """How many pages of ranges were given out."""
        self.breaks_at: set[int] = set()
        """Before these pages of ranges a call breaks off."""

    async def ReadEvents(self, request: pb.ReadEventsRequest, context: Any) -> AsyncIterator[pb.ReadEventsResponse]:
        """Give a range."""
        first, last = _milliseconds(request, "start_time", 0), _milliseconds(request, "end_time", 2**62)
        events = sorted(
            (
                event
                for event in self.events().values()
                if first <= event.event_time_ms < last and request.organization_id in ("", event.organization_id)
            ),
            key=lambda event: (event.organization_id, event.event_time_ms, event.event_id),
        )
        given = int(request.cursor or b"0")
        while given < len(events):
            self.range_pages += 1
            if self.range_pages in self.breaks_at:
                raise UnavailableError("the fake breaks off")
            page = events[given : given + min(self.largest_page, request.max_event_count)]
            given += len(page)
            batch = event_pb2.EventBatch(events=page).SerializeToString()
            yield pb.ReadEventsResponse(events=batch, event_count=len(page), cursor=b"%d" % given)

    async def CountEventsByMonth(
        self, request: pb.CountEventsByMonthRequest, context: Any
    ) -> pb.CountEventsByMonthResponse:
        """Count."""
        counts: dict[datetime, int] = {}
        for event in self.events().values():
            if request.organization_id in ("", event.organization_id):
                time = datetime.fromtimestamp(event.event_time_ms / 1000, UTC)
                month = datetime(time.year, time.month, 1, tzinfo=UTC)
                counts[month] = counts.get(month, 0) + 1
        answer = pb.CountEventsByMonthResponse()
        for start_time, event_count in sorted(counts.items()):
            answer.months.add(event_count=event_count).start_time.FromDatetime(start_time)
        return answer


def _milliseconds(request: pb.ReadEventsRequest, name: str, otherwise: int) -> int:
    stamp = getattr(request, name)
    return int(stamp.ToMilliseconds()) if stamp.seconds else otherwise

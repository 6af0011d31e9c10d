"""Reading raw events again over gRPC."""

from datetime import UTC, date, datetime

import pytest

from analytics_svc import raw
from analytics_svc.raw import CaptureEvents
from svc_runtime.errors import Code, TrellisError
from svc_runtime.grpc_client import Credentials, open_channel
from tests.contract.analytics.fake_capture import MESH, serving
from tests.contract.analytics.fake_raw import FakeRaw
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.loopback
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


async def read(fake: FakeRaw, organization_id: str = "") -> list[str]:
    """Return the ids of January, by pages."""
    found: list[str] = []
    async with serving(fake) as port, open_channel(MESH, f"127.0.0.1:{port}") as channel:
        events = CaptureEvents(channel, Credentials(MESH, "analytics_svc"), page_event_count=10)
        async for page in events.pages(organization_id, NEW_YEAR, FEBRUARY):
            batch = event_pb2.EventBatch.FromString(page.events).events
            assert len(batch) == page.event_count <= 10
            found += [event.event_id for event in batch]
    return found


def expected(fake: FakeRaw, organization_id: str = "") -> set[str]:
    """Return the ids of January."""
    return {
        event.event_id
        for event in fake.events().values()
        if event.event_time_ms >= NEW_YEAR.timestamp() * 1000 and organization_id in ("", event.organization_id)
    }


@pytest.mark.parametrize("organization_id", ["", "org_1"])
async def test_a_range_is_read_whole(organization_id: str) -> None:
    fake = FakeRaw()
    fake.put(200)
    found = await read(fake, organization_id)
    assert set(found) == expected(fake, organization_id)
    assert len(found) == len(set(found)) > 0


async def test_a_call_that_breaks_off_goes_on_behind_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "FIRST_DELAY_SECONDS", 0.01)
    fake = FakeRaw()
    fake.put(200)
    fake.breaks_at = {1, 3, 4, 7}
    found = await read(fake)
    assert set(found) == expected(fake)
    assert len(found) == len(set(found))
    assert fake.range_pages > 7


async def test_months_are_counted() -> None:
    fake = FakeRaw()
    fake.put(210)
    async with serving(fake) as port, open_channel(MESH, f"127.0.0.1:{port}") as channel:
        events = CaptureEvents(channel, Credentials(MESH, "analytics_svc"))
        january = len(expected(fake))
        assert await events.counts("") == {date(2025, 12, 1): 210 - january, date(2026, 1, 1): january}


async def test_what_will_not_pass_is_raised() -> None:
    async with serving(FakeRaw()) as port, open_channel(MESH, f"127.0.0.1:{port}") as channel:
        events = CaptureEvents(channel, Credentials(MESH.model_copy(update={"mesh_secret": OTHER}), "x"))
        with pytest.raises(TrellisError) as raised:
            await events.counts("")
    assert raised.value.code is Code.UNAUTHENTICATED


OTHER = type(MESH.mesh_secret)("o" * 32)

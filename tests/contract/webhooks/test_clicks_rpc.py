"""The clicks of conversions over a real port, with capture_svc's own RPC behind it."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from pydantic import SecretStr

from attribution_svc.webhooks.clicks import CapturedClicks
from svc_runtime.errors import (
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    TrellisError,
    UnauthenticatedError,
    UnavailableError,
)
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.settings import MeshSettings
from tests.contract.webhooks.things import make_change
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc as pb_grpc
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.loopback
PATIENCE_SECONDS = 0.1
MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=0)


class FakeCapture(pb_grpc.CaptureServiceServicer):
    """Has an event `e1` of each of two organisations."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.error: TrellisError | None = None

    async def GetEvent(self, request: pb.GetEventRequest, context: ServicerContext) -> pb.GetEventResponse:
        """Return it."""
        organization_id = current_caller().organization_id
        self.asked.append((organization_id, request.event_id))
        if self.error is not None:
            raise self.error
        if request.event_id != "e1":
            raise NotFoundError("no such event")
        return pb.GetEventResponse(event=event_pb2.Event(target=f"/in/a?whose={organization_id}".encode()))


@pytest.fixture
def capture() -> FakeCapture:
    """What it was asked is kept."""
    return FakeCapture()


@pytest.fixture
async def channel(capture: FakeCapture) -> AsyncIterator[grpc.aio.Channel]:
    """Where it is."""
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_CaptureServiceServicer_to_server(capture, s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop()


@pytest.fixture
def clicks(channel: grpc.aio.Channel) -> CapturedClicks:
    """A client of it."""
    return CapturedClicks(channel, Credentials(MESH, "attribution_svc"))


@pytest.fixture
def impatient(channel: grpc.aio.Channel) -> CapturedClicks:
    """One that soon gives a click up."""
    return CapturedClicks(channel, Credentials(MESH, "attribution_svc"), patience_seconds=PATIENCE_SECONDS)


async def test_each_click_is_asked_for_once_and_in_the_name_of_its_organisation(
    clicks: CapturedClicks, capture: FakeCapture
) -> None:
    changes = [
        make_change(1, touch_event_id="e1"),
        make_change(2, touch_event_id="e1"),
        make_change(3, touch_event_id="e1", organization_id="org_b"),
        make_change(4, touch_event_id="gone"),
        make_change(5),
    ]
    found = await clicks.of(changes)
    assert {touch: click.params["whose"] for touch, click in found.items()} == {
        ("org_a", "e1"): "org_a",
        ("org_b", "e1"): "org_b",
    }
    assert sorted(capture.asked) == [("org_a", "e1"), ("org_a", "gone"), ("org_b", "e1")]


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("the store is away"),
        InternalError(),
        UnauthenticatedError("another mesh secret, for a moment"),
        PermissionDeniedError("a scope that is not known yet"),
    ],
)
async def test_what_cannot_be_told_now_is_waited_for(
    clicks: CapturedClicks, capture: FakeCapture, error: TrellisError
) -> None:
    capture.error = error
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await clicks.of([make_change(1, touch_event_id="e1")])
    capture.error = None
    assert len(await clicks.of([make_change(1, touch_event_id="e1")])) == 1


async def test_an_id_that_is_none_has_no_click(clicks: CapturedClicks, capture: FakeCapture) -> None:
    capture.error = InvalidArgumentError("no id")
    assert await clicks.of([make_change(1, touch_event_id="e1")]) == {}


async def test_one_click_that_can_never_be_read_does_not_stop_all_for_ever(
    impatient: CapturedClicks, capture: FakeCapture
) -> None:
    change = make_change(1, touch_event_id="e1")
    capture.error = InternalError()
    with pytest.raises(UnavailableError):
        await impatient.of([change])
    await asyncio.sleep(PATIENCE_SECONDS)
    assert await impatient.of([change]) == {}
    # Another one is waited for anew, and so is what is away altogether.
    with pytest.raises(UnavailableError):
        await impatient.of([make_change(2, touch_event_id="e2")])
    capture.error = UnavailableError("the store is away")
    await asyncio.sleep(PATIENCE_SECONDS)
    with pytest.raises(UnavailableError):
        await impatient.of([change])

"""``trellis quarantine``, and whose hosts are, over the wire."""

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import pytest
from typer.testing import CliRunner, Result

from capture_svc.hosts import WardenHostDirectory
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.interceptors import ServicerContext
from tests.contract.capture.memory_store import Memory
from tests.contract.capture.things import (
    MESH,
    ORGANIZATIONS,
    CaptureClient,
    FakeJournal,
    FixedHosts,
    make_event,
    running_capture,
)
from trellis.auth.v1 import auth_service_pb2 as auth_pb
from trellis.auth.v1 import auth_service_pb2_grpc as auth_grpc
from trellisctl.__main__ import app
from trellisctl.errors import CommandError

pytestmark = pytest.mark.loopback
ACME, GLOBEX, _ = ORGANIZATIONS


@pytest.fixture
def hosts() -> FixedHosts:
    """Return hosts that nobody has yet."""
    return FixedHosts()


@pytest.fixture
async def capture(hosts: FixedHosts, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CaptureClient]:
    """Run a capture_svc with a quarantine, and tell the command where it is."""
    async with running_capture(Memory().stores(), hosts=hosts) as client:
        monkeypatch.setenv("TRELLIS_MESH_SECRET", MESH.mesh_secret.get_secret_value())
        monkeypatch.setenv("TRELLIS_CAPTURE_TARGET", f"127.0.0.1:{client.port}")
        journal = FakeJournal()
        hostile = make_event(
            "", host=b"go.example:80", target=b"/in/\x1b[2Jx?email=a@b.example", marks=["unclaimed_host"]
        )
        await client.send(journal, journal.batch([hostile, make_event(GLOBEX, event_id="bad"), make_event()]))
        yield client


async def run(*arguments: str) -> Result:
    """Run the command, in a thread as in a process of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["quarantine", *arguments])


async def test_the_list_shows_what_waits_and_why(capture: CaptureClient) -> None:
    result = await run("list")
    assert result.exit_code == 0, result.output
    assert "(unclaimed)" in result.output
    assert "unclaimed_host" in result.output
    assert "store_refused: CANNOT_PARSE_UUID" in result.output
    assert "GET go.example/in/?[2Jx" in result.output
    assert "\x1b" not in result.output
    assert "a@b.example" not in result.output, "parameters are people's"


async def test_the_list_as_json_holds_whole_events(capture: CaptureClient) -> None:
    result = await run("list", "--org", GLOBEX, "--json")
    (item,) = json.loads(result.output)
    assert item["organization_id"] == GLOBEX
    assert item["event"]


async def test_a_limit_ends_the_list(capture: CaptureClient) -> None:
    assert len(json.loads((await run("list", "--limit", "1", "--json")).output)) == 1


async def test_a_replay_says_what_became_of_it(capture: CaptureClient, hosts: FixedHosts) -> None:
    result = await run("replay")
    assert result.exit_code == 1
    hosts.known["go.example"] = ACME
    result = await run("replay", "--json")
    assert json.loads(result.output) == {"stored_count": "1", "duplicate_count": "0", "failed_count": "1"}
    assert result.exit_code == 1
    (waiting,) = [item for item in await capture.quarantine() if not item.HasField("replay_time")]
    result = await run("replay", waiting.quarantine_id)
    assert result.exit_code == 1
    result = await run("replay", "--org", ACME)
    assert result.exit_code == 0


async def test_a_service_that_is_down_is_one_line(capture: CaptureClient) -> None:
    result = await run("list", "--capture-target", "127.0.0.1:9")
    assert isinstance(result.exception, CommandError)
    assert "127.0.0.1:9" in str(result.exception)


class FakeWarden(auth_grpc.AuthServiceServicer):
    """Sends what it is told to."""

    def __init__(self, *answers: auth_pb.WatchKeysResponse) -> None:
        self._answers = answers

    async def WatchKeys(
        self, request: auth_pb.WatchKeysRequest, context: ServicerContext
    ) -> AsyncIterator[auth_pb.WatchKeysResponse]:
        """Send answers and stay."""
        for answer in self._answers:
            yield answer
        if self._answers:
            await asyncio.sleep(60)


@pytest.mark.parametrize("is_there", [True, False])
async def test_hosts_are_asked_of_warden(is_there: bool) -> None:
    domain = auth_pb.DomainRecord(host="go.example", organization_id=ACME)
    answers = [
        auth_pb.WatchKeysResponse(revision=1, removed_hosts=["x"]),
        auth_pb.WatchKeysResponse(revision=2, is_snapshot=True, domains=[domain]),
    ]
    server = GrpcServer(MESH, service_names=[])
    servicer = FakeWarden(*answers if is_there else [])
    server.add(lambda s: auth_grpc.add_AuthServiceServicer_to_server(servicer, s))
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            directory = WardenHostDirectory(channel, Credentials(MESH, "capture"))
            if is_there:
                assert await directory.organizations() == {"go.example": ACME}
            else:
                with pytest.raises(UnavailableError):
                    await directory.organizations()
    finally:
        await server.stop()


async def test_a_warden_that_is_down_is_unavailable() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:9") as channel:
        with pytest.raises(Exception, match="not reachable"):
            await WardenHostDirectory(channel, Credentials(MESH, "capture")).organizations()

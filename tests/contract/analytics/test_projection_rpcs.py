"""ProjectionService's operator side over the wire, and ``trellis rebuild``."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import grpc
import pytest
from typer.testing import CliRunner, Result

from analytics_svc import operations as module
from analytics_svc.mappings.mapping import Span
from analytics_svc.mappings.mappings import MappingChange
from analytics_svc.operation import State
from analytics_svc.retention import DEFAULT_DAYS, Retentions
from analytics_svc.servicer.projection import ProjectionServicer
from enrichment.version import ENRICHMENT_VERSION
from svc_runtime.errors import Code, NotFoundError, TrellisError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from tests.contract.analytics.fake_capture import MESH
from tests.contract.analytics.operation_world import World, make_world
from trellis.analytics.v1 import projection_service_pb2 as pb
from trellis.analytics.v1 import projection_service_pb2_grpc as pb_grpc
from trellisctl import rebuild as command
from trellisctl.__main__ import app
from trellisctl.errors import CommandError

pytestmark = pytest.mark.loopback
_credentials = Credentials(MESH, "test")
SERVICE = _credentials.as_service()
OPERATOR = _credentials.as_caller(Caller(CallerKind.OPERATOR, "operator"))
WATERMARK = datetime(2026, 11, 20, 12, tzinfo=UTC)


def member(organization_id: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of an organisation's key."""
    scopes = frozenset({"analytics:read", "analytics:write"})
    return _credentials.as_caller(Caller(CallerKind.ORGANIZATION, "key:k", organization_id, scopes))


@dataclass
class MemoryProjection:
    """``ReadingFacts`` and ``RetentionStore`` in memory."""

    days: dict[str, int] = field(default_factory=dict)

    async def counts_by_enrichment_version(self) -> Mapping[int, int]:
        """See ``ReadingFacts``."""
        return {1: 40, 2: 2}

    async def put_retention(self, organization_id: str, days: int) -> None:
        """See ``RetentionStore``."""
        self.days[organization_id] = days

    async def retention_days(self) -> Mapping[str, int]:
        """See ``RetentionStore``."""
        return {name: days for name, days in self.days.items() if days}


@dataclass
class Service:
    """A ProjectionService over a world."""

    world: World
    stub: Any
    port: int


@contextlib.asynccontextmanager
async def serving(world: World, *, port: int = 0) -> AsyncIterator[Service]:
    """Serve a world."""
    server = GrpcServer(MESH, service_names=[])
    projection = MemoryProjection()
    servicer = ProjectionServicer(
        world.operations,
        projection,
        Retentions(projection),
        mappings=cast("Any", None),
        watermark=lambda: WATERMARK,
    )
    server.add(lambda s: pb_grpc.add_ProjectionServiceServicer_to_server(servicer, s))
    bound = await server.start(f"127.0.0.1:{port}")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{bound}") as channel:
            yield Service(world, pb_grpc.ProjectionServiceStub(channel), bound)
    finally:
        world.operations.close()
        await server.stop()


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """Serve a world, and tell the command where."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.005)
    monkeypatch.setattr(command, "RETRY_SECONDS", 0.05)
    async with serving(make_world()) as found:
        monkeypatch.setenv("TRELLIS_MESH_SECRET", MESH.mesh_secret.get_secret_value())
        monkeypatch.setenv("TRELLIS_ANALYTICS_TARGET", f"127.0.0.1:{found.port}")
        yield found


async def refusal(call: Any) -> TrellisError:
    """Return the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_from_rpc(raised.value)


async def run(*arguments: str) -> Result:
    """Run the command, in a thread as in a process of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["rebuild", *arguments])


async def test_the_reading_says_how_far_it_is(service: Service) -> None:
    answer = await service.stub.GetProjection(pb.GetProjectionRequest(), metadata=SERVICE)
    assert answer.watermark_time.ToDatetime(UTC) == WATERMARK
    assert (answer.event_count, dict(answer.events_by_enrichment_version)) == (42, {1: 40, 2: 2})
    assert answer.enrichment_version == ENRICHMENT_VERSION
    assert answer.running_operation_id == ""
    begun = await service.stub.StartRebuild(pb.StartRebuildRequest(), metadata=OPERATOR)
    answer = await service.stub.GetProjection(pb.GetProjectionRequest(), metadata=SERVICE)
    assert answer.running_operation_id == begun.operation.operation_id


async def test_a_rebuild_is_begun_watched_and_over(service: Service) -> None:
    begun = (await service.stub.StartRebuild(pb.StartRebuildRequest(), metadata=OPERATOR)).operation
    assert (begun.kind, begun.state) == ("rebuild", pb.OPERATION_STATE_RUNNING)
    refused = await refusal(
        service.stub.StartRebuild(pb.StartRebuildRequest(organization_id="org_a"), metadata=OPERATOR)
    )
    assert refused.code is Code.FAILED_PRECONDITION
    assert begun.operation_id in refused.message
    async with service.world.at_work():
        heard = [
            message.operation
            async for message in service.stub.WatchRebuild(
                pb.WatchRebuildRequest(operation_id=begun.operation_id), metadata=OPERATOR
            )
        ]
    last = heard[-1]
    assert last.state == pb.OPERATION_STATE_SUCCEEDED
    assert list(last.total_months) == list(last.done_months) == ["2026-01", "2026-02", "2026-03", "2026-04"]
    assert last.done_event_count == last.total_event_count == 50
    assert last.end_time.ToDatetime() > last.create_time.ToDatetime()


async def test_a_rebuild_is_cancelled_once(service: Service) -> None:
    begun = (await service.stub.StartRebuild(pb.StartRebuildRequest(), metadata=OPERATOR)).operation
    request = pb.CancelRebuildRequest(operation_id=begun.operation_id)
    answer = await service.stub.CancelRebuild(request, metadata=OPERATOR)
    assert answer.operation.state == pb.OPERATION_STATE_RUNNING
    async with service.world.at_work():
        over = await service.world.over(service.world.store.operations[begun.operation_id])
    assert over.state is State.CANCELLED
    assert (await refusal(service.stub.CancelRebuild(request, metadata=OPERATOR))).code is Code.FAILED_PRECONDITION
    for operation_id, code in (("op_none", Code.NOT_FOUND), ("", Code.INVALID_ARGUMENT)):
        request = pb.CancelRebuildRequest(operation_id=operation_id)
        assert (await refusal(service.stub.CancelRebuild(request, metadata=OPERATOR))).code is code


async def test_an_organisation_sees_its_own_operations_alone(service: Service) -> None:
    async def activate() -> None:
        pass

    change = MappingChange("org_a", "map_1", 2, "key:k", Span(None, None))
    mine = await service.world.operations.change(change, activate)
    answer = await service.stub.ListOperations(pb.ListOperationsRequest(), metadata=member("org_a"))
    assert [(found.operation_id, found.mapping_id, found.mapping_version) for found in answer.operations] == [
        (mine.operation_id, "map_1", 2)
    ]
    assert not (await service.stub.ListOperations(pb.ListOperationsRequest(), metadata=member("org_b"))).operations
    request = pb.GetOperationRequest(operation_id=mine.operation_id)
    found = await service.stub.GetOperation(request, metadata=member("org_a"))
    assert found.operation.operation_id == mine.operation_id
    foreign = await refusal(service.stub.GetOperation(request, metadata=member("org_b")))
    nobodys = await refusal(
        service.stub.GetOperation(pb.GetOperationRequest(operation_id="op_none"), metadata=member("org_b"))
    )
    assert foreign.code is nobodys.code is Code.NOT_FOUND
    assert foreign.message.replace(mine.operation_id, "op_none") == nobodys.message


async def test_retention_is_set_and_given_up(service: Service) -> None:
    async def set_(organization_id: str, days: int) -> int:
        request = pb.SetRetentionRequest(organization_id=organization_id, days=days)
        answer = await service.stub.SetRetention(request, metadata=OPERATOR)
        return int(answer.days)

    assert await set_("org_a", 30) == 30
    assert await set_("", 400) == 400
    assert await set_("org_a", 0) == 400
    assert await set_("", 0) == DEFAULT_DAYS
    refused = await refusal(service.stub.SetRetention(pb.SetRetentionRequest(days=36_501), metadata=OPERATOR))
    assert [violation.field for violation in refused.violations] == ["days"]


async def test_the_operator_sets_retention_from_the_command_line(service: Service) -> None:
    held = await asyncio.to_thread(CliRunner().invoke, app, ["retention", "30", "--org", "org_a", "--json"])
    assert held.exit_code == 0, held.output
    assert '"days": 30' in held.stdout
    refused = await asyncio.to_thread(CliRunner().invoke, app, ["retention", "36501"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("method", ["StartRebuild", "CancelRebuild", "SetRetention", "WatchRebuild"])
async def test_only_the_operator_may(service: Service, method: str) -> None:
    for metadata in (member("org_a"), SERVICE):
        call = getattr(service.stub, method)(getattr(pb, f"{method}Request")(), metadata=metadata)
        refused = await refusal(call.read() if method == "WatchRebuild" else call)
        assert refused.code is Code.PERMISSION_DENIED


async def test_the_command_waits_until_everything_is_made_again(service: Service) -> None:
    async with service.world.at_work():
        done = await run("--json")
    assert done.exit_code == 0, done.output
    # The service logs into the same stream here; in life it is another process.
    found = json.loads(done.stdout[done.stdout.index("{") :].split("\n}\n")[0] + "}")
    assert (found["state"], found["done_event_count"]) == ("OPERATION_STATE_SUCCEEDED", "50")
    status = await run("--status")
    assert status.exit_code == 0
    assert found["operation_id"] in status.stdout
    assert "succeeded" in status.stdout


async def test_the_command_sits_out_a_new_start_of_analytics_svc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.005)
    monkeypatch.setattr(command, "RETRY_SECONDS", 0.05)
    first = make_world()
    async with serving(first) as service:
        monkeypatch.setenv("TRELLIS_MESH_SECRET", MESH.mesh_secret.get_secret_value())
        monkeypatch.setenv("TRELLIS_ANALYTICS_TARGET", f"127.0.0.1:{service.port}")
        running = asyncio.ensure_future(run())
        async with asyncio.timeout(10):
            while not first.store.operations:  # noqa: ASYNC110 - the command is in another thread
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    second = make_world(first.store)
    async with serving(second, port=service.port), second.at_work():
        done = await running
    assert done.exit_code == 0, done.output
    assert "succeeded" in done.stdout


async def test_the_command_may_leave_at_once_cancel_and_tell_by_its_exit_code(service: Service) -> None:
    begun = await run("--detach", "--organization", "org_a", "--json")
    assert begun.exit_code == 0
    operation_id = json.loads(begun.stdout)["operation_id"]
    assert service.world.store.operations[operation_id].organization_id == "org_a"
    again = await run("--detach")
    assert isinstance(again.exception, TrellisError)
    assert operation_id in str(again.exception)
    assert (await run("--cancel", operation_id)).exit_code == 0
    async with service.world.at_work():
        await service.world.over(service.world.store.operations[operation_id])
        for maker in service.world.makers:
            maker.fails["settle"] = 10**9
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module, "PATIENCE_SECONDS", 0.0)
            patched.setattr(module, "FIRST_DELAY_SECONDS", 0.01)
            failed = await run()
    assert failed.exit_code == command.NOT_DONE
    assert "settle is made to fail" in failed.stdout


async def test_the_command_says_what_is_wrong(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = await run("--status")
    assert isinstance(nothing.exception, NotFoundError | TrellisError)
    assert "no rebuild yet" in str(nothing.exception)
    assert (await run("--status", "--detach")).exit_code == 2
    monkeypatch.setenv("TRELLIS_ANALYTICS_TARGET", "127.0.0.1:1")
    nobody = await run("--status")
    assert isinstance(nobody.exception, CommandError)
    assert "analytics_svc at 127.0.0.1:1" in str(nobody.exception)

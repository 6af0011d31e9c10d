"""ProjectionService's mappings over the wire."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from analytics_svc.mappings.count import MonthPreview
from analytics_svc.mappings.mapping import MOST_MAPPINGS, ActiveMapping, Span
from analytics_svc.mappings.mappings import MappingChange, MappingRegistry, MappingsInForce
from analytics_svc.mappings.preview import MappingPreview, SampleChange
from analytics_svc.retention import Retentions
from analytics_svc.servicer.projection import ProjectionServicer
from svc_runtime.clock import SystemClock
from svc_runtime.errors import Code
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from tests.contract.analytics.fake_capture import MESH
from tests.contract.analytics.mapping_store_contract import ACME, NOW, OTHER, version
from tests.contract.analytics.memory_mappings import MemoryMappingStore
from tests.contract.analytics.operation_world import World, make_world
from tests.contract.analytics.test_projection_rpcs import MemoryProjection, member, refusal
from trellis.analytics.v1 import projection_service_pb2 as pb
from trellis.analytics.v1 import projection_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback

MARCH = datetime(2026, 3, 3, tzinfo=UTC)
US, THEM = member(ACME), member(OTHER)


class FakePreviewer:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], list[str]]] = []

    async def preview(
        self, organization_id: str, before: Sequence[ActiveMapping], after: Sequence[ActiveMapping]
    ) -> MappingPreview:
        """See ``Previewer.preview``."""
        self.asked.append((organization_id, [m.label for m in before], [m.label for m in after]))
        sample = SampleChange("01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f", NOW, {"placement": ""}, {"placement": "z1"})
        return MappingPreview([MonthPreview("2026-02", 3, 0), MonthPreview("2026-03", 4, 2)], [sample])


class Service:
    """A ProjectionService over memory."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = MemoryMappingStore()
        self.in_force = MappingsInForce(self.store)
        self.previewer = FakePreviewer()
        ids = itertools.count(1)
        self.servicer = ProjectionServicer(
            world.operations,
            projection := MemoryProjection(),
            Retentions(projection),
            mappings=MappingRegistry(
                self.store,
                self.in_force,
                self.previewer,
                world.operations,
                PageTokens("m" * 32, "t"),
                clock=SystemClock(),
                mint_id=lambda: f"map_{next(ids):04}",
            ),
            watermark=lambda: None,
        )
        self.stub: Any = None

    async def finish(self) -> None:
        """Let every operation be done."""
        for operation in await self.world.store.open():
            await self.world.over(operation)

    def held(self, organization_id: str = ACME) -> list[str]:
        """Return what the follower reads the organisation's events by."""
        return [mapping.label for mapping in self.in_force.active_mappings().get(organization_id, ())]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Serve one; its operations wait."""
    found = Service(make_world())
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_ProjectionServiceServicer_to_server(found.servicer, s))
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            found.stub = pb_grpc.ProjectionServiceStub(channel)
            yield found
    finally:
        await server.stop()


def wanted(mapping_id: str = "", *, start: datetime | None = MARCH, **fields: Any) -> pb.Mapping:
    """Return a mapping that can be made."""
    mapping = pb.Mapping(
        **{
            "mapping_id": mapping_id,
            "name": "Zones",
            "source": "PropellerAds",
            "rules": [pb.FieldRule(parameter="ZoneID", field="placement")],
            **fields,
        }
    )
    if start is not None:
        mapping.start_time.FromDatetime(start)
    return mapping


def applying(mapping: pb.Mapping) -> pb.ApplyMappingRequest:
    return pb.ApplyMappingRequest(mapping=mapping)


async def test_a_mapping_holds_at_once_and_its_operation_is_begun(service: Service) -> None:
    made = await service.stub.ApplyMapping(applying(wanted()), metadata=US)
    assert (made.mapping.mapping_id, made.mapping.version, made.mapping.is_active) == ("map_0001", 1, True)
    assert (made.mapping.source, made.mapping.actor) == ("propellerads", "key:k")
    assert made.mapping.start_time.ToDatetime(UTC) == MARCH
    assert not made.mapping.HasField("end_time")
    assert (made.operation.kind, made.operation.mapping_id, made.operation.mapping_version) == (
        "mapping",
        "map_0001",
        1,
    )
    assert service.held() == ["map_0001/1"]
    assert service.held(OTHER) == []
    (operation,) = await service.world.store.open()
    assert (operation.span_start, operation.span_end) == (MARCH, None)
    found = await service.stub.GetOperation(
        pb.GetOperationRequest(operation_id=made.operation.operation_id), metadata=US
    )
    assert found.operation == made.operation


async def test_versions_rise_and_one_of_them_holds(service: Service) -> None:
    async with service.world.at_work():
        await service.stub.ApplyMapping(applying(wanted()), metadata=US)
        for number, start, span in (
            (2, None, Span(None, None)),
            (3, MARCH, Span(None, None)),
            (4, MARCH, Span(MARCH, None)),
        ):
            await service.finish()
            made = await service.stub.ApplyMapping(applying(wanted("map_0001", start=start)), metadata=US)
            assert (made.mapping.version, service.held()) == (number, [f"map_0001/{number}"])
            operation = service.world.store.operations[made.operation.operation_id]
            # What either version may match, the one before and this one.
            assert Span(operation.span_start, operation.span_end) == span
        found = await service.stub.GetMapping(pb.GetMappingRequest(mapping_id="map_0001"), metadata=US)
        assert [(v.version, v.is_active) for v in found.versions] == [(4, True), (3, False), (2, False), (1, False)]
        for number in (2, 0, 4):
            await service.finish()
            request = pb.ActivateMappingVersionRequest(mapping_id="map_0001", version=number)
            done = await service.stub.ActivateMappingVersion(request, metadata=US)
            assert (done.operation.mapping_version, service.held()) == (
                number,
                [f"map_0001/{number}"] if number else [],
            )


async def test_while_an_operation_runs_no_other_begins_and_nothing_is_left_of_it(service: Service) -> None:
    running = (await service.stub.ApplyMapping(applying(wanted()), metadata=US)).operation
    activate = pb.ActivateMappingVersionRequest(mapping_id="map_0001", version=0)
    for call in (
        service.stub.ApplyMapping(applying(wanted()), metadata=US),
        service.stub.ApplyMapping(applying(wanted("map_0001")), metadata=US),
        service.stub.ActivateMappingVersion(activate, metadata=US),
    ):
        error = await refusal(call)
        assert error.code is Code.FAILED_PRECONDITION
        assert running.operation_id in error.message
    assert len(service.store.added) == 1
    assert service.held() == ["map_0001/1"]
    theirs = await service.stub.ApplyMapping(applying(wanted()), metadata=THEM)
    assert theirs.mapping.is_active


async def test_of_many_who_apply_at_once_one_does(service: Service) -> None:
    calls = [service.stub.ApplyMapping(applying(wanted()), metadata=US) for _ in range(8)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, pb.ApplyMappingResponse) for result in results) == 1
    assert len(service.store.added) == len(await service.world.store.open()) == 1


async def test_a_preview_compares_what_holds_with_what_would_and_makes_nothing(service: Service) -> None:
    for mapping_id in ("map_a", "map_b", "map_c"):
        await service.store.add(version(mapping_id, age_seconds=9 if mapping_id == "map_b" else 5))
        await service.store.add(version(mapping_id, 2))
    for mapping_id in ("map_a", "map_b"):
        await service.store.activate(ACME, mapping_id, 1, actor="key:1", now=NOW)
    answers = []
    for mapping_id, after in (
        ("", ["map_b/1", "map_a/1", "map_0001/1"]),
        ("map_b", ["map_b/3", "map_a/1"]),
        # A mapping that holds again is as old as it was.
        ("map_c", ["map_b/1", "map_a/1", "map_c/3"]),
    ):
        request = pb.PreviewMappingRequest(mapping=wanted(mapping_id))
        answers.append(await service.stub.PreviewMapping(request, metadata=US))
        assert service.previewer.asked[-1] == (ACME, ["map_b/1", "map_a/1"], after)
    answer = answers[0]
    assert (answer.matched_count, answer.changed_count) == (7, 2)
    assert [(m.month, m.matched_count, m.changed_count) for m in answer.months] == [
        ("2026-02", 3, 0),
        ("2026-03", 4, 2),
    ]
    assert dict(answer.samples[0].after) == {"placement": "z1"}
    assert len(service.store.added) == 6
    assert not await service.world.store.open()


async def test_another_organisations_mapping_is_like_none(service: Service) -> None:
    await service.store.add(version("map_theirs", organization_id=OTHER))
    texts = set()
    for mapping_id in ("map_theirs", "map_nobodys"):
        for call in (
            service.stub.GetMapping(pb.GetMappingRequest(mapping_id=mapping_id), metadata=US),
            service.stub.PreviewMapping(pb.PreviewMappingRequest(mapping=wanted(mapping_id)), metadata=US),
            service.stub.ApplyMapping(applying(wanted(mapping_id, rules=[])), metadata=US),
            service.stub.ActivateMappingVersion(pb.ActivateMappingVersionRequest(mapping_id=mapping_id), metadata=US),
        ):
            error = await refusal(call)
            assert error.code is Code.NOT_FOUND
            texts.add(error.message.replace(mapping_id, "…"))
    assert len(texts) == 1


async def test_a_version_that_is_none_is_not_found(service: Service) -> None:
    await service.store.add(version("map_1"))
    request = pb.ActivateMappingVersionRequest(mapping_id="map_1", version=2)
    error = await refusal(service.stub.ActivateMappingVersion(request, metadata=US))
    assert (error.code, error.message) == (Code.NOT_FOUND, "mapping 'map_1' has no version 2")


async def test_everything_wrong_is_named_by_a_preview_and_by_applying(service: Service) -> None:
    wrong = wanted(name="x" * 201, rules=[pb.FieldRule(parameter="", field="nope")])
    wrong.end_time.FromDatetime(MARCH)
    fields = {"name", "rules[0].parameter", "rules[0].field", "end_time"}
    for call in (
        service.stub.PreviewMapping(pb.PreviewMappingRequest(mapping=wrong), metadata=US),
        service.stub.ApplyMapping(applying(wrong), metadata=US),
    ):
        error = await refusal(call)
        assert error.code is Code.INVALID_ARGUMENT
        assert {violation.field for violation in error.violations} == fields
    assert not service.store.added


async def test_an_instant_that_is_none_is_named(service: Service) -> None:
    mapping = wanted(start=None)
    mapping.start_time.seconds = 2**62
    error = await refusal(service.stub.ApplyMapping(applying(mapping), metadata=US))
    assert [violation.field for violation in error.violations] == ["start_time"]


async def test_an_organisation_has_so_many_mappings_and_no_more(service: Service) -> None:
    for number in range(MOST_MAPPINGS):
        await service.store.add(version(f"map_{number}"))
    error = await refusal(service.stub.ApplyMapping(applying(wanted()), metadata=US))
    assert error.code is Code.FAILED_PRECONDITION
    assert "1000 mappings" in error.message
    assert (await service.stub.ApplyMapping(applying(wanted("map_7")), metadata=US)).mapping.version == 2


async def test_mappings_are_listed_in_pages_newest_first(service: Service) -> None:
    for number in range(5):
        await service.store.add(version(f"map_{number}", age_seconds=100 - number))
    listed: list[str] = []
    token = ""
    for size in (2, 2, 1):
        page = await service.stub.ListMappings(pb.ListMappingsRequest(page_size=2, page_token=token), metadata=US)
        assert len(page.mappings) == size
        listed += [mapping.mapping_id for mapping in page.mappings]
        token = page.next_page_token
    assert (listed, token) == ([f"map_{number}" for number in (4, 3, 2, 1, 0)], "")
    first = await service.stub.ListMappings(pb.ListMappingsRequest(page_size=2), metadata=US)
    stolen = pb.ListMappingsRequest(page_token=first.next_page_token)
    assert (await refusal(service.stub.ListMappings(stolen, metadata=THEM))).code is Code.INVALID_ARGUMENT
    too_many = pb.ListMappingsRequest(page_size=1001)
    assert (await refusal(service.stub.ListMappings(too_many, metadata=US))).code is Code.INVALID_ARGUMENT


async def test_what_could_not_be_activated_is_activated_when_its_operation_goes_on(service: Service) -> None:
    service.store.fails_to_activate = True
    error = await refusal(service.stub.ApplyMapping(applying(wanted()), metadata=US))
    assert error.code is Code.UNAVAILABLE
    (operation,) = await service.world.store.open()
    assert (operation.mapping_id, operation.mapping_version, service.held()) == ("map_0001", 1, [])
    service.store.fails_to_activate = False
    # As `assembly.projecting` does first with an operation that it finds.
    change = MappingChange(ACME, operation.mapping_id, operation.mapping_version, operation.actor, Span(None, None))
    for _ in range(2):
        await service.in_force.activate(change, now=NOW)
    assert service.held() == ["map_0001/1"]
    assert len(service.store.activations) == 1


async def test_the_scopes_of_a_key_are_asked_for(service: Service) -> None:
    reader = Caller(CallerKind.ORGANIZATION, "key:r", ACME, frozenset({"analytics:read"}))
    metadata = Credentials(MESH, "test").as_caller(reader)
    await service.stub.PreviewMapping(pb.PreviewMappingRequest(mapping=wanted()), metadata=metadata)
    error = await refusal(service.stub.ApplyMapping(applying(wanted()), metadata=metadata))
    assert error.code is Code.PERMISSION_DENIED

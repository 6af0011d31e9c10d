"""ProjectionService as the gateway meets it: mappings and operations in dicts."""

from typing import Any

from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, Violation
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import Misbehaviour, cut, stamp
from trellis.analytics.v1 import projection_service_pb2 as pb
from trellis.analytics.v1 import projection_service_pb2_grpc as pb_grpc


class FakeProjection(pb_grpc.ProjectionServiceServicer):
    """What organisations ask of it."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.mappings: dict[tuple[str, str], list[pb.Mapping]] = {}
        self.operations: dict[tuple[str, str], pb.Operation] = {}
        self.previewed: list[pb.Mapping] = []

    def put_mapping(self, organization_id: str, mapping_id: str, **fields: Any) -> pb.Mapping:
        """Add a version of a mapping, which holds."""
        versions = self.mappings.setdefault((organization_id, mapping_id), [])
        for version in versions:
            version.is_active = False
        mapping = pb.Mapping(
            **{
                "mapping_id": mapping_id,
                "version": len(versions) + 1,
                "rules": [pb.FieldRule(parameter="zoneid", field="placement")],
                "is_active": True,
                "create_time": stamp(),
                "actor": "key:1",
                **fields,
            }
        )
        versions.insert(0, mapping)
        return mapping

    def put_operation(self, organization_id: str, operation_id: str, **fields: Any) -> pb.Operation:
        """Add an operation that runs."""
        operation = pb.Operation(
            **{
                "operation_id": operation_id,
                "kind": "mapping",
                "state": pb.OPERATION_STATE_RUNNING,
                "done_event_count": 5,
                "total_event_count": 7,
                "done_months": ["2026-03"],
                "total_months": ["2026-03", "2026-04"],
                "create_time": stamp(),
                **fields,
            }
        )
        self.operations[organization_id, operation_id] = operation
        return operation

    async def ListMappings(self, request: pb.ListMappingsRequest, context: ServicerContext) -> pb.ListMappingsResponse:
        organization_id = await self.does.step_in(context)
        found = [versions[0] for (owner, _), versions in self.mappings.items() if owner == organization_id]
        items, token = cut(found, request)
        return pb.ListMappingsResponse(mappings=items, next_page_token=token)

    async def GetMapping(self, request: pb.GetMappingRequest, context: ServicerContext) -> pb.GetMappingResponse:
        return pb.GetMappingResponse(versions=self._find(await self.does.step_in(context), request.mapping_id))

    async def PreviewMapping(
        self, request: pb.PreviewMappingRequest, context: ServicerContext
    ) -> pb.PreviewMappingResponse:
        self._check(await self.does.step_in(context), request.mapping)
        self.previewed.append(request.mapping)
        return pb.PreviewMappingResponse(
            matched_count=3,
            changed_count=2,
            months=[pb.MonthPreview(month="2026-03", matched_count=3, changed_count=2)],
            samples=[
                pb.SampleChange(
                    event_id="01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f",
                    event_time=stamp(),
                    before={"placement": ""},
                    after={"placement": "z-4417"},
                )
            ],
        )

    async def ApplyMapping(self, request: pb.ApplyMappingRequest, context: ServicerContext) -> pb.ApplyMappingResponse:
        organization_id = await self.does.step_in(context)
        wanted = request.mapping
        self._check(organization_id, wanted)
        for operation in self.operations.values():
            if operation.state == pb.OPERATION_STATE_RUNNING:
                raise FailedPreconditionError(f"operation {operation.operation_id} changes the reading")
        mapping = self.put_mapping(
            organization_id,
            wanted.mapping_id or f"map_{len(self.mappings)}",
            name=wanted.name,
            source=wanted.source.lower(),
            rules=wanted.rules,
            start_time=wanted.start_time if wanted.HasField("start_time") else None,
            end_time=wanted.end_time if wanted.HasField("end_time") else None,
        )
        return pb.ApplyMappingResponse(
            mapping=mapping,
            operation=self.put_operation(
                organization_id,
                f"op_{len(self.operations)}",
                mapping_id=mapping.mapping_id,
                mapping_version=mapping.version,
            ),
        )

    async def ActivateMappingVersion(
        self, request: pb.ActivateMappingVersionRequest, context: ServicerContext
    ) -> pb.ActivateMappingVersionResponse:
        organization_id = await self.does.step_in(context)
        versions = self._find(organization_id, request.mapping_id)
        if request.version > len(versions):
            raise NotFoundError(f"mapping {request.mapping_id!r} has no version {request.version}")
        for version in versions:
            version.is_active = version.version == request.version
        return pb.ActivateMappingVersionResponse(
            operation=self.put_operation(
                organization_id,
                f"op_{len(self.operations)}",
                mapping_id=request.mapping_id,
                mapping_version=request.version,
            )
        )

    async def GetOperation(self, request: pb.GetOperationRequest, context: ServicerContext) -> pb.GetOperationResponse:
        organization_id = await self.does.step_in(context)
        try:
            return pb.GetOperationResponse(operation=self.operations[organization_id, request.operation_id])
        except KeyError:
            raise NotFoundError(f"no operation {request.operation_id!r}") from None

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: ServicerContext
    ) -> pb.ListOperationsResponse:
        organization_id = await self.does.step_in(context)
        found = [operation for (owner, _), operation in self.operations.items() if owner == organization_id]
        items, token = cut(found[::-1], request)
        return pb.ListOperationsResponse(operations=items, next_page_token=token)

    def _check(self, organization_id: str, wanted: pb.Mapping) -> None:
        if wanted.mapping_id:
            self._find(organization_id, wanted.mapping_id)
        if not wanted.rules:
            raise InvalidArgumentError.of([Violation("rules", "is empty, must be 1 to 50")])

    def _find(self, organization_id: str, mapping_id: str) -> list[pb.Mapping]:
        try:
            return self.mappings[organization_id, mapping_id]
        except KeyError:
            raise NotFoundError(f"no mapping {mapping_id!r}") from None

"""ExplainService on the wire."""

# ruff: noqa: N802 - grpc names the methods

from analytics_svc.convert.cells import cell_from_pb, cell_to_pb
from analytics_svc.explain_cell import CellExplainer
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.analytics.v1 import explain_service_pb2 as pb
from trellis.analytics.v1 import explain_service_pb2_grpc as pb_grpc


class ExplainServicer(pb_grpc.ExplainServiceServicer):
    """What the numbers of reports rest on."""

    def __init__(self, cells: CellExplainer, *, clock: Clock) -> None:
        self._cells = cells
        self._clock = clock

    async def ExplainCell(
        self,
        request: pb.ExplainCellRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> pb.ExplainCellResponse:
        """Explain a cell of a report of the caller's organisation."""
        spec = cell_from_pb(request, organization_id=current_caller().organization_id, now=self._clock.now())
        return cell_to_pb(await self._cells.explain(spec), spec)

"""IdentityService as the gateway meets it: one person of one organisation."""

from svc_runtime.errors import NotFoundError
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import ACME, Misbehaviour, stamp
from trellis.analytics.v1 import identity_service_pb2 as pb
from trellis.analytics.v1 import identity_service_pb2_grpc as pb_grpc

LOGIN = pb.End(kind=pb.END_KIND_LOGIN, value="ab6c446ba5efc0c4", value_id="val_1")
VISITOR = pb.End(kind=pb.END_KIND_VISITOR, value="usr_1", value_id="val_2")
MEMBERS = pb.Person(person_id="psn_1", user_ids=["usr_1", "usr_2"], ends=[LOGIN])


class FakeIdentity(pb_grpc.IdentityServiceServicer):
    """What organisations ask of it."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.asked = pb.GetPersonRequest()
        self.decided: list[pb.DecideIdentityRequest] = []

    async def GetPerson(self, request: pb.GetPersonRequest, context: ServicerContext) -> pb.GetPersonResponse:
        self.asked = request
        if await self.does.step_in(context) != ACME or request.id not in ("usr_1", "usr_7012345678"):
            raise NotFoundError("there is no visitor or person of this id")
        person = pb.Person()
        person.CopyFrom(MEMBERS)
        edge = pb.IdentityEdge(
            edge_id="edg_1", one=LOGIN, other=VISITOR, first_time=stamp(), last_time=stamp(), event_id="e1",
            is_active=True, edition="1-00000000",
        )  # fmt: skip
        device = pb.IdentityDevice(
            user_id="usr_1", device_type="mobile", os="iOS", browser="Safari", first_time=stamp(), last_time=stamp(),
            event_count=3,
        )  # fmt: skip
        person.edges.append(edge)
        person.devices.append(device)
        return pb.GetPersonResponse(person=person)

    async def ListSuspiciousEnds(
        self, request: pb.ListSuspiciousEndsRequest, context: ServicerContext
    ) -> pb.ListSuspiciousEndsResponse:
        await self.does.step_in(context)
        found = pb.SuspiciousEnd(
            end=LOGIN, neighbour_kind=pb.END_KIND_VISITOR, neighbour_count=60, first_time=stamp(), last_time=stamp(),
            event_id="e1",
        )  # fmt: skip
        wanted = request.kind in (pb.END_KIND_UNSPECIFIED, pb.END_KIND_LOGIN)
        return pb.ListSuspiciousEndsResponse(ends=[found] if wanted else [], limit=50)

    async def PreviewRevocation(
        self, request: pb.PreviewRevocationRequest, context: ServicerContext
    ) -> pb.PreviewRevocationResponse:
        self._check(await self.does.step_in(context), request.id)
        after = [pb.Person(person_id=f"psn_{number}", user_ids=[f"usr_{number}"]) for number in (1, 2)]
        return pb.PreviewRevocationResponse(before=[MEMBERS], after=after, conversion_count=4)

    async def DecideIdentity(
        self, request: pb.DecideIdentityRequest, context: ServicerContext
    ) -> pb.DecideIdentityResponse:
        self._check(await self.does.step_in(context), request.id)
        self.decided.append(request)
        decision = pb.IdentityDecision(
            id=request.id, revision=1, is_revoked=request.is_revoked, actor="key:1", decide_time=stamp()
        )
        if request.id == "edg_untouched":
            decision = pb.IdentityDecision(id=request.id)
        return pb.DecideIdentityResponse(decision=decision)

    @staticmethod
    def _check(organization_id: str, text: str) -> None:
        if organization_id != ACME or text.endswith("_nowhere"):
            raise NotFoundError("there is no edge or value of this id")

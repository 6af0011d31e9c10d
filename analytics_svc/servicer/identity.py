"""Who is one person."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

from analytics_svc.convert import identity as convert
from analytics_svc.identity.decisions import Decisions
from analytics_svc.identity.people import People
from analytics_svc.identity.resolve import Resolver
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.analytics.v1 import identity_service_pb2 as pb
from trellis.analytics.v1 import identity_service_pb2_grpc as pb_grpc


class IdentityServicer(pb_grpc.IdentityServiceServicer):
    """Every RPC of IdentityService."""

    def __init__(self, people: People, decisions: Decisions, resolver: Resolver) -> None:
        self._people = people
        self._decisions = decisions
        self._resolver = resolver

    async def GetPerson(self, request: pb.GetPersonRequest, context: ServicerContext) -> pb.GetPersonResponse:
        """Return a person; see the contract."""
        text, as_of = convert.person_from_pb(request)
        person, devices = await self._people.find(current_caller().organization_id, text, as_of=as_of)
        return pb.GetPersonResponse(person=convert.person_to_pb(person, devices, self._people.hasher.edition))

    async def ListSuspiciousEnds(
        self, request: pb.ListSuspiciousEndsRequest, context: ServicerContext
    ) -> pb.ListSuspiciousEndsResponse:
        """List ends that join nobody; see the contract."""
        kind, limit = convert.suspicious_from_pb(request)
        found = await self._people.suspicious(current_caller().organization_id, kind, limit=limit)
        return convert.suspicious_to_pb(found, self._people.most_neighbours)

    async def PreviewRevocation(
        self, request: pb.PreviewRevocationRequest, context: ServicerContext
    ) -> pb.PreviewRevocationResponse:
        """Say what revoking would change; see the contract."""
        text = convert.named_from_pb(request.id)
        return convert.preview_to_pb(await self._decisions.preview(current_caller().organization_id, text))

    async def DecideIdentity(
        self, request: pb.DecideIdentityRequest, context: ServicerContext
    ) -> pb.DecideIdentityResponse:
        """Revoke or restore; see the contract."""
        caller, text = current_caller(), convert.named_from_pb(request.id)
        decision = await self._decisions.decide(
            caller.organization_id, text, is_revoked=request.is_revoked, actor=caller.actor
        )
        return pb.DecideIdentityResponse(decision=convert.decision_to_pb(text, decision))

    async def ResolveIdentity(
        self, request: pb.ResolveIdentityRequest, context: ServicerContext
    ) -> pb.ResolveIdentityResponse:
        """Say who stands behind an event; see the contract."""
        return convert.resolved_to_pb(await self._resolver.resolve(convert.names_from_pb(request)))

    async def FindPersonClicks(
        self, request: pb.FindPersonClicksRequest, context: ServicerContext
    ) -> pb.FindPersonClicksResponse:
        """Find the last clicks of persons; see the contract."""
        return convert.clicks_to_pb(await self._resolver.clicks(convert.questions_from_pb(request)))

"""The three services as the gateway meets them: real gRPC servers with the mesh's own access control, in memory."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from ingress_gateway.openapi.postbacks import EXAMPLE_TOKEN
from svc_runtime.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    TrellisError,
    Violation,
)
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.keys import present_key
from svc_runtime.mesh_token import Caller
from svc_runtime.paging import PageTokens
from svc_runtime.partner_tokens import present_partner_token
from svc_runtime.scopes import SCOPES
from trellis.analytics.v1 import overlay_service_pb2 as overlay_pb
from trellis.attribution.v1 import attribution_service_pb2 as attribution_pb
from trellis.attribution.v1 import attribution_service_pb2_grpc, claim_pb2, rule_pb2
from trellis.auth.v1 import auth_service_pb2 as auth_pb
from trellis.auth.v1 import auth_service_pb2_grpc
from trellis.capture.v1 import capture_service_pb2 as capture_pb
from trellis.capture.v1 import capture_service_pb2_grpc, event_pb2

ACME, OTHER, SUSPENDED = "org_acmecorp", "org_other", "org_suspended"
HOST = "track.acmecorp.com"
PEPPER = "p" * 32
SECRET_KEY = "wdn_sk_live_acmecorp_key"
PUBLISHABLE_KEY = "wdn_pk_live_acmecorp_key"
OTHER_KEY = "wdn_sk_live_other_key"
SUSPENDED_KEY = "wdn_sk_live_suspended_key"
REVOKED_KEY = "wdn_sk_live_revoked_key"
EXPIRED_KEY = "wdn_sk_live_expired_key"
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
PAGE_TOKENS = PageTokens("m" * 32, "fakes")


def key_without(scope: str) -> str:
    """Return acmecorp's key that holds every scope but this one."""
    return "wdn_sk_live_all_but_" + scope.replace(":", "_")


def key_with(scope: str) -> str:
    """Return acmecorp's key that holds this scope alone."""
    return "wdn_sk_live_only_" + scope.replace(":", "_")


def stamp(instant: datetime = NOON) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


def cut(items: list[Any], request: Any) -> tuple[list[Any], str]:
    """Return the page of a list that a request asks for, and the token of the next one."""
    (start,) = PAGE_TOKENS.open(request.page_token) or (0,)
    end = start + (request.page_size or 50)
    return items[start:end], PAGE_TOKENS.seal([end]) if len(items) > end else ""


class Misbehaviour:
    """What a service does instead of its work, where a test wants that."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.error: TrellisError | None = None
        self.callers: list[Caller] = []
        self.metadata: list[dict[str, str]] = []

    async def step_in(self, context: ServicerContext) -> str:
        """Note who calls, misbehave as wanted, and return whose things the call may touch."""
        self.callers.append(current_caller())
        self.metadata.append({str(key): str(value) for key, value in context.invocation_metadata() or ()})
        await asyncio.sleep(self.delay_seconds)
        if self.error is not None:
            raise self.error
        return current_caller().organization_id


_DEFINITION = ("action", "paused_fallback", "expired_fallback", "over_cap_fallback", "schedule")


class FakeAttribution(attribution_service_pb2_grpc.AttributionServiceServicer):
    """Campaigns in a dict."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.campaigns: dict[tuple[str, str], attribution_pb.Campaign] = {}
        self.versions: dict[tuple[str, str], list[attribution_pb.CampaignVersion]] = {}
        self.previewed = attribution_pb.PreviewCampaignRequest()
        self.changed = asyncio.Event()
        self.asked = attribution_pb.AttributeJourneyRequest()

    def put(self, organization_id: str, campaign_id: str, **fields: Any) -> None:
        self.campaigns[organization_id, campaign_id] = attribution_pb.Campaign(
            **{
                "campaign_id": campaign_id,
                "organization_id": organization_id,
                "slug": campaign_id,
                "name": campaign_id,
                "status": attribution_pb.CAMPAIGN_STATUS_ACTIVE,
                "destination_url": "https://shop.acmecorp.com/summer-sale",
                "parameter_policy": rule_pb2.PARAMETER_POLICY_MERGE,
                "version": 1,
                "create_time": stamp(),
                "update_time": stamp(),
                **fields,
            }
        )
        self._keep(self.campaigns[organization_id, campaign_id])

    def _keep(self, campaign: attribution_pb.Campaign) -> None:
        kept = self.versions.setdefault((campaign.organization_id, campaign.campaign_id), [])
        kept.append(attribution_pb.CampaignVersion(campaign=campaign, actor="key:k1"))

    def _claim(self, campaign: attribution_pb.Campaign, wanted: claim_pb2.Claim) -> None:
        campaign.claim.CopyFrom(wanted)
        campaign.claim.forward_start_time.CopyFrom(stamp())
        campaign.claim_version = campaign.version
        campaign.claim_progress.state = claim_pb2.CLAIM_STATE_TAKEN
        campaign.claim_progress.operation_id = "op_claim"

    async def CreateCampaign(
        self, request: attribution_pb.CreateCampaignRequest, context: ServicerContext
    ) -> attribution_pb.CreateCampaignResponse:
        organization_id = await self.does.step_in(context)
        campaign_id = request.campaign_id or "cmp_minted"
        if (organization_id, campaign_id) in self.campaigns:
            raise AlreadyExistsError(f"there is a campaign {campaign_id} already")
        if not request.rules and not request.destination_url.startswith(("http://", "https://")):
            raise InvalidArgumentError.of([Violation("destination_url", "must be an absolute http or https URL")])
        self.put(
            organization_id,
            campaign_id,
            slug=request.slug or campaign_id,
            name=request.name or request.slug or campaign_id,
            status=request.status or attribution_pb.CAMPAIGN_STATUS_ACTIVE,
            destination_url=request.destination_url,
            parameter_policy=request.parameter_policy or rule_pb2.PARAMETER_POLICY_MERGE,
            fallback_url=request.fallback_url,
            **{field: getattr(request, field) for field in _DEFINITION if request.HasField(field)},  # type: ignore[arg-type]  # fields of both
            caps=request.caps,
            rules=request.rules,
            priority=request.priority,
        )
        campaign = self.campaigns[organization_id, campaign_id]
        if request.HasField("claim"):
            self._claim(campaign, request.claim)
        return attribution_pb.CreateCampaignResponse(campaign=campaign)

    async def GetCampaign(
        self, request: attribution_pb.GetCampaignRequest, context: ServicerContext
    ) -> attribution_pb.GetCampaignResponse:
        return attribution_pb.GetCampaignResponse(
            campaign=self._find(await self.does.step_in(context), request.campaign_id)
        )

    async def ListCampaigns(
        self, request: attribution_pb.ListCampaignsRequest, context: ServicerContext
    ) -> attribution_pb.ListCampaignsResponse:
        organization_id = await self.does.step_in(context)
        found = [
            campaign
            for campaign in self.campaigns.values()
            if campaign.organization_id == organization_id
            and (
                campaign.status == request.status
                if request.status
                else campaign.status != attribution_pb.CAMPAIGN_STATUS_ARCHIVED
            )
        ]
        items, token = cut(found, request)
        return attribution_pb.ListCampaignsResponse(campaigns=items, next_page_token=token)

    async def UpdateCampaign(
        self, request: attribution_pb.UpdateCampaignRequest, context: ServicerContext
    ) -> attribution_pb.UpdateCampaignResponse:
        campaign = self._find(await self.does.step_in(context), request.campaign_id)
        if request.expected_version not in (0, campaign.version):
            raise FailedPreconditionError(f"it has version {campaign.version}, not {request.expected_version}")
        for name in ("slug", "name", "status", "destination_url", "parameter_policy", "fallback_url"):
            if request.HasField(name):  # type: ignore[arg-type]  # the optional fields, one after the other
                setattr(campaign, name, getattr(request, name))
        campaign.version += 1
        if request.HasField("claim"):
            self._claim(campaign, request.claim)
        self._keep(campaign)
        return attribution_pb.UpdateCampaignResponse(campaign=campaign)

    async def ListCampaignVersions(
        self, request: attribution_pb.ListCampaignVersionsRequest, context: ServicerContext
    ) -> attribution_pb.ListCampaignVersionsResponse:
        campaign = self._find(await self.does.step_in(context), request.campaign_id)
        kept = self.versions[campaign.organization_id, campaign.campaign_id]
        items, token = cut(kept[::-1], request)
        return attribution_pb.ListCampaignVersionsResponse(versions=items, next_page_token=token)

    async def GetCampaignVersion(
        self, request: attribution_pb.GetCampaignVersionRequest, context: ServicerContext
    ) -> attribution_pb.GetCampaignVersionResponse:
        campaign = self._find(await self.does.step_in(context), request.campaign_id)
        return attribution_pb.GetCampaignVersionResponse(version=self._version(campaign, request.version))

    def _version(self, campaign: attribution_pb.Campaign, number: int) -> attribution_pb.CampaignVersion:
        for version in self.versions[campaign.organization_id, campaign.campaign_id]:
            if version.campaign.version == number:
                return version
        raise NotFoundError(f"campaign {campaign.campaign_id!r} has no version {number}")

    async def ActivateCampaignVersion(
        self, request: attribution_pb.ActivateCampaignVersionRequest, context: ServicerContext
    ) -> attribution_pb.ActivateCampaignVersionResponse:
        campaign = self._find(await self.does.step_in(context), request.campaign_id)
        if request.expected_version not in (0, campaign.version):
            raise FailedPreconditionError(f"it has version {campaign.version}, not {request.expected_version}")
        version = campaign.version + 1
        if request.version:
            campaign.CopyFrom(self._version(campaign, request.version).campaign)
        elif not campaign.HasField("claim"):
            raise FailedPreconditionError(f"campaign {campaign.campaign_id} is not retroactive")
        else:
            campaign.claim.is_withdrawn = True
            campaign.claim_version = 0
            campaign.status = attribution_pb.CAMPAIGN_STATUS_PAUSED
        campaign.version, campaign.restored_version = version, request.version
        self._keep(campaign)
        return attribution_pb.ActivateCampaignVersionResponse(campaign=campaign)

    async def PreviewCampaign(
        self, request: attribution_pb.PreviewCampaignRequest, context: ServicerContext
    ) -> attribution_pb.PreviewCampaignResponse:
        organization_id = await self.does.step_in(context)
        self.previewed = request
        campaign = attribution_pb.Campaign(campaign_id=request.campaign.campaign_id, version=1)
        if request.HasField("change"):
            campaign = self._find(organization_id, request.change.campaign_id)
        preview = overlay_pb.PreviewClaimResponse(
            event_count=15420,
            click_count=15000,
            user_count=12350,
            conversion_count=468,
            amounts=[overlay_pb.ClaimedAmount(currency="USD", value_micros=127_840_500_000)],
            taken_from=[overlay_pb.ClaimedFrom(event_count=15420, conversion_count=468)],
            rules=[overlay_pb.ClaimedByRule(rule_id="r1", event_count=15420)],
            watermark_time=stamp(),
        )
        preview.days.add(day="2024-03-01", event_count=15420, click_count=15000, conversion_count=468)
        preview.samples.add(event_id="e1", event_time=stamp(), event_type="click", url="https://a.example/")
        return attribution_pb.PreviewCampaignResponse(campaign=campaign, preview=preview)

    async def AttributeJourney(
        self, request: attribution_pb.AttributeJourneyRequest, context: ServicerContext
    ) -> attribution_pb.AttributeJourneyResponse:
        await self.does.step_in(context)
        self.asked = request
        if request.user_id not in ("", "usr_customer123"):
            raise NotFoundError("no such visitor")
        if request.model not in ("", "time_decay"):
            raise InvalidArgumentError.of([Violation("model", f"is {request.model!r}, must be one of time_decay")])
        touch = attribution_pb.Touchpoint(
            event_id="e1", event_time=stamp(), source="email", value_micros=149_990_000, percent=100.0
        )
        return attribution_pb.AttributeJourneyResponse(
            user_id="usr_customer123",
            model="time_decay",
            total_micros=149_990_000,
            currency="USD",
            conversion_count=1,
            touchpoints=[touch],
            insights=["Email did it alone"],
        )

    async def WatchRouting(
        self, request: attribution_pb.WatchRoutingRequest, context: ServicerContext
    ) -> AsyncIterator[attribution_pb.WatchRoutingResponse]:
        yield attribution_pb.WatchRoutingResponse(
            revision=1, epoch=1, is_snapshot=True, campaigns=self.campaigns.values()
        )
        await asyncio.Event().wait()

    def _find(self, organization_id: str, campaign_id: str) -> attribution_pb.Campaign:
        try:
            return self.campaigns[organization_id, campaign_id]
        except KeyError:
            raise NotFoundError(f"no campaign {campaign_id!r}") from None


class FakeWarden(auth_service_pb2_grpc.AuthServiceServicer):
    """Keys, domains and roles in dicts; the credentials of the tests in its snapshot."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.keys: dict[tuple[str, str], auth_pb.Key] = {}
        self.domains: dict[str, str] = {}
        self.roles: dict[tuple[str, str], auth_pb.Role] = {}
        self.entries: list[auth_pb.AuditEntry] = []

    def put_key(self, organization_id: str, key_id: str, **fields: Any) -> auth_pb.Key:
        key = auth_pb.Key(
            **{
                "key_id": key_id,
                "organization_id": organization_id,
                "name": key_id,
                "kind": auth_pb.KEY_KIND_SECRET,
                "environment": auth_pb.KEY_ENVIRONMENT_LIVE,
                "scopes": ["traffic:read"],
                "last_four": "x9Kd",
                "create_time": stamp(),
                **fields,
            }
        )
        self.keys[organization_id, key_id] = key
        return key

    async def CreateKey(self, request: auth_pb.CreateKeyRequest, context: ServicerContext) -> auth_pb.CreateKeyResponse:
        organization_id = await self.does.step_in(context)
        if request.role and request.role not in ("owner", "analyst"):
            raise NotFoundError(f"no role {request.role!r}")
        key = self.put_key(
            organization_id,
            f"key{len(self.keys)}",
            name=request.name,
            kind=request.kind,
            environment=request.environment or auth_pb.KEY_ENVIRONMENT_LIVE,
            scopes=sorted(request.scopes),
            role=request.role,
            expire_time=request.expire_time if request.HasField("expire_time") else None,
        )
        return auth_pb.CreateKeyResponse(key=key, secret="wdn_sk_live_shown_this_once")

    async def ListKeys(self, request: auth_pb.ListKeysRequest, context: ServicerContext) -> auth_pb.ListKeysResponse:
        organization_id = await self.does.step_in(context)
        found = [
            key
            for key in self.keys.values()
            if key.organization_id == organization_id and (request.include_inactive or not key.HasField("revoke_time"))
        ]
        items, token = cut(found, request)
        return auth_pb.ListKeysResponse(keys=items, next_page_token=token)

    async def RotateKey(self, request: auth_pb.RotateKeyRequest, context: ServicerContext) -> auth_pb.RotateKeyResponse:
        organization_id = await self.does.step_in(context)
        old = self._find(organization_id, request.key_id)
        if old.HasField("expire_time"):
            raise FailedPreconditionError("2 keys of this rotation are live already")
        overlap = request.overlap_seconds if request.HasField("overlap_seconds") else 86_400
        old.expire_time.FromDatetime(NOON + timedelta(seconds=overlap))
        new = self.put_key(organization_id, f"{old.key_id}2", name=old.name, rotated_from_key_id=old.key_id)
        return auth_pb.RotateKeyResponse(key=new, secret="wdn_sk_live_shown_this_once", old_key=old)

    async def RevokeKey(self, request: auth_pb.RevokeKeyRequest, context: ServicerContext) -> auth_pb.RevokeKeyResponse:
        key = self._find(await self.does.step_in(context), request.key_id)
        key.revoke_time.FromDatetime(NOON)
        return auth_pb.RevokeKeyResponse(key=key)

    async def AddDomain(self, request: auth_pb.AddDomainRequest, context: ServicerContext) -> auth_pb.AddDomainResponse:
        organization_id = await self.does.step_in(context)
        host = request.host.lower()
        if host in self.domains:
            raise AlreadyExistsError(f"the host {host} is taken")
        self.domains[host] = organization_id
        return auth_pb.AddDomainResponse(domain=self._domain(host))

    async def ListDomains(
        self, request: auth_pb.ListDomainsRequest, context: ServicerContext
    ) -> auth_pb.ListDomainsResponse:
        organization_id = await self.does.step_in(context)
        found = [self._domain(host) for host, owner in sorted(self.domains.items()) if owner == organization_id]
        items, token = cut(found, request)
        return auth_pb.ListDomainsResponse(domains=items, next_page_token=token)

    async def RemoveDomain(
        self, request: auth_pb.RemoveDomainRequest, context: ServicerContext
    ) -> auth_pb.RemoveDomainResponse:
        if self.domains.get(request.host) != await self.does.step_in(context):
            raise NotFoundError(f"no domain {request.host!r}")
        del self.domains[request.host]
        return auth_pb.RemoveDomainResponse()

    async def CreateRole(
        self, request: auth_pb.CreateRoleRequest, context: ServicerContext
    ) -> auth_pb.CreateRoleResponse:
        organization_id = await self.does.step_in(context)
        if (organization_id, request.name) in self.roles:
            raise AlreadyExistsError(f"there is a role {request.name} already")
        role = auth_pb.Role(name=request.name, scopes=sorted(request.scopes))
        self.roles[organization_id, request.name] = role
        return auth_pb.CreateRoleResponse(role=role)

    async def ListRoles(self, request: auth_pb.ListRolesRequest, context: ServicerContext) -> auth_pb.ListRolesResponse:
        organization_id = await self.does.step_in(context)
        own = [role for (owner, _), role in self.roles.items() if owner == organization_id]
        built_in = auth_pb.Role(name="owner", scopes=sorted(SCOPES), is_built_in=True)
        return auth_pb.ListRolesResponse(roles=[built_in, *own])

    async def ListAuditEntries(
        self, request: auth_pb.ListAuditEntriesRequest, context: ServicerContext
    ) -> auth_pb.ListAuditEntriesResponse:
        organization_id = await self.does.step_in(context)
        found = [entry for entry in reversed(self.entries) if entry.organization_id == organization_id]
        items, token = cut(found, request)
        return auth_pb.ListAuditEntriesResponse(entries=items, next_page_token=token)

    async def WatchKeys(
        self, request: auth_pb.WatchKeysRequest, context: ServicerContext
    ) -> AsyncIterator[auth_pb.WatchKeysResponse]:
        yield snapshot(self.domains)
        await asyncio.Event().wait()

    def _find(self, organization_id: str, key_id: str) -> auth_pb.Key:
        try:
            return self.keys[organization_id, key_id]
        except KeyError:
            raise NotFoundError(f"no key {key_id!r}") from None

    def _domain(self, host: str) -> auth_pb.Domain:
        return auth_pb.Domain(host=host, organization_id=self.domains[host], create_time=stamp())


def snapshot(domains: dict[str, str]) -> auth_pb.WatchKeysResponse:
    """Return the credentials of the tests."""
    answer = auth_pb.WatchKeysResponse(revision=1, is_snapshot=True)

    def add(key: str, organization_id: str, scopes: Iterable[str], **times: Timestamp) -> None:
        presented = present_key(PEPPER.encode(), key)
        answer.keys.add(
            key_id=presented.key_id,
            organization_id=organization_id,
            hash=presented.hash,
            kind=auth_pb.KEY_KIND_SECRET if "_sk_" in key else auth_pb.KEY_KIND_PUBLISHABLE,
            environment=auth_pb.KEY_ENVIRONMENT_LIVE,
            scopes=scopes,
            **times,  # type: ignore[arg-type]  # two fields of one type
        )

    add(SECRET_KEY, ACME, SCOPES)
    add(PUBLISHABLE_KEY, ACME, ["traffic:write"])
    add(OTHER_KEY, OTHER, SCOPES)
    add(SUSPENDED_KEY, SUSPENDED, SCOPES)
    add(REVOKED_KEY, ACME, SCOPES, revoke_time=stamp(datetime(2020, 1, 1, tzinfo=UTC)))
    add(EXPIRED_KEY, ACME, SCOPES, expire_time=stamp(datetime(2020, 1, 1, tzinfo=UTC)))
    for scope in SCOPES:
        add(key_without(scope), ACME, SCOPES - {scope})
        add(key_with(scope), ACME, [scope])
    token = present_partner_token(PEPPER.encode(), EXAMPLE_TOKEN)
    partner = answer.partners.add(partner_id="ptr_1", organization_id=ACME, network="cj", is_enabled=True)
    partner.tokens.add(token_id=token.token_id, hash=token.hash)
    for host, organization_id in domains.items():
        answer.domains.add(host=host, organization_id=organization_id)
    for organization_id in (ACME, OTHER):
        answer.organizations.add(organization_id=organization_id, status=auth_pb.ORGANIZATION_STATUS_ACTIVE)
    answer.organizations.add(organization_id=SUSPENDED, status=auth_pb.ORGANIZATION_STATUS_SUSPENDED)
    return answer


class FakeCapture(capture_service_pb2_grpc.CaptureServiceServicer):
    """Events in a list; the journal's stream is taken and acknowledged."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.events: list[event_pb2.Event] = []
        self.requests: list[capture_pb.ListEventsRequest] = []
        self.received: defaultdict[str, int] = defaultdict(int)

    async def Capture(
        self, requests: AsyncIterable[capture_pb.CaptureRequest], context: ServicerContext
    ) -> AsyncIterator[capture_pb.CaptureResponse]:
        async for request in requests:
            match request.WhichOneof("message"):
                case "hello":
                    yield capture_pb.CaptureResponse(sequence=0)
                case "batch":
                    events = event_pb2.EventBatch.FromString(request.batch.events).events
                    self.events += events
                    for event in events:
                        self.received[event.organization_id] += 1
                    yield capture_pb.CaptureResponse(sequence=request.batch.sequence)

    async def GetEvent(
        self, request: capture_pb.GetEventRequest, context: ServicerContext
    ) -> capture_pb.GetEventResponse:
        organization_id = await self.does.step_in(context)
        for event in self.events:
            if event.event_id == request.event_id and event.organization_id == organization_id:
                return capture_pb.GetEventResponse(event=event, ingest_time=stamp())
        raise NotFoundError(f"no event {request.event_id!r}")

    async def ListEvents(
        self, request: capture_pb.ListEventsRequest, context: ServicerContext
    ) -> capture_pb.ListEventsResponse:
        organization_id = await self.does.step_in(context)
        self.requests.append(request)
        found = [
            event
            for event in reversed(self.events)
            if event.organization_id == organization_id
            and (not request.click_id or request.click_id in (event.click_id.encode(), event.external_click_id))
        ]
        items, token = cut(found, request)
        return capture_pb.ListEventsResponse(events=items, next_page_token=token)

    async def GetLedger(
        self, request: capture_pb.GetLedgerRequest, context: ServicerContext
    ) -> capture_pb.GetLedgerResponse:
        organization_id = await self.does.step_in(context)
        count = self.received[organization_id]
        return capture_pb.GetLedgerResponse(
            organization_id=organization_id, received_count=count, stored_count=count, as_of_time=stamp()
        )

"""``/api/v1/campaigns``: the links of an organisation and where they lead."""

import re
from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given, shown_value
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.campaign_json import (
    POLICIES,
    POLICY_WORDS,
    action_given,
    caps_given,
    definition_json,
    fallback_given,
    rules_given,
    schedule_given,
)
from ingress_gateway.routes.claim_json import claim_given, claim_view, preview_view
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2

STATUSES = {
    "active": pb.CAMPAIGN_STATUS_ACTIVE,
    "paused": pb.CAMPAIGN_STATUS_PAUSED,
    "archived": pb.CAMPAIGN_STATUS_ARCHIVED,
}
_STATUS_WORDS = {number: word for word, number in STATUSES.items()}
_LARGEST_VERSION = 2**32 - 1
_HIGHEST_PRIORITY = 1_000_000
_ENTITY_TAG = re.compile(r'"([1-9][0-9]{0,9})"')
_DEFAULT_PORTS = {"http": "80", "https": "443"}


async def create_campaign(call: Call) -> web.StreamResponse:
    """Create a campaign; 201 with where it is. With ``dry_run`` say what a retroactive one would change."""
    api = ApiCall(call, "campaigns:write")
    with await api.body() as given:
        request = _wanted(given)
        is_dry_run = given.flag("dry_run")
        if is_dry_run and not request.HasField("claim"):
            given.refuse("dry_run", "is for a campaign that is retroactive: say `retroactive`: true")
    if is_dry_run:
        return await respond_preview(api, pb.PreviewCampaignRequest(campaign=request))
    campaign = (await api.ask(api.attribution.CreateCampaign, request)).campaign
    return respond_campaign(
        api, campaign, status=201, headers={"Location": f"/api/v1/campaigns/{campaign.campaign_id}"}
    )


def _wanted(given: Given) -> pb.CreateCampaignRequest:
    return pb.CreateCampaignRequest(
        campaign_id=given.text("campaign_id") or "",
        slug=given.text("slug") or "",
        name=given.text("name") or "",
        status=given.choice("status", STATUSES) or pb.CAMPAIGN_STATUS_UNSPECIFIED,
        destination_url=_destination(given, is_required=not (given.has("rules") or given.has("action"))) or "",
        parameter_policy=given.choice("parameter_policy", POLICIES) or rule_pb2.PARAMETER_POLICY_UNSPECIFIED,
        fallback_url=given.text("fallback_url") or "",
        action=action_given(given, "action"),
        expired_fallback=fallback_given(given, "expired_fallback"),
        over_cap_fallback=fallback_given(given, "over_cap_fallback"),
        schedule=schedule_given(given),
        caps=caps_given(given),
        priority=_priority(given) or 0,
        paused_fallback=fallback_given(given, "paused_fallback"),
        rules=rules_given(given),
        claim=claim_given(given),
    )


async def list_campaigns(call: Call) -> web.StreamResponse:
    """Return a page of campaigns, newest first."""
    api = ApiCall(call, "campaigns:read")
    with api.query() as given:
        request = pb.ListCampaignsRequest(
            page_size=given.page_size(),
            page_token=given.page_token(),
            status=given.choice("status", STATUSES) or pb.CAMPAIGN_STATUS_UNSPECIFIED,
        )
    page = await api.ask(api.attribution.ListCampaigns, request)
    return respond_json(
        {
            "campaigns": [campaign_view(api, campaign) for campaign in page.campaigns],
            "next_page_token": page.next_page_token,
        }
    )


async def get_campaign(call: Call) -> web.StreamResponse:
    """Return a campaign."""
    api = ApiCall(call, "campaigns:read")
    with api.query():
        request = pb.GetCampaignRequest(campaign_id=api.path("campaign_id"))
    return respond_campaign(api, (await api.ask(api.attribution.GetCampaign, request)).campaign)


async def update_campaign(call: Call) -> web.StreamResponse:
    """Change what is given; with ``If-Match`` or ``expected_version`` only if nobody else did meanwhile."""
    api = ApiCall(call, "campaigns:write")
    with await api.body() as given:
        request = _change(api, given)
        request.MergeFrom(pb.UpdateCampaignRequest(claim=claim_given(given)))
    return respond_campaign(api, (await api.ask(api.attribution.UpdateCampaign, request)).campaign)


async def preview_campaign(call: Call) -> web.StreamResponse:
    """Say what a campaign, changed as given, would change of history. Nothing is kept."""
    api = ApiCall(call, "campaigns:read")
    with await api.body(is_optional=True) as given:
        request = _change(api, given)
        request.MergeFrom(pb.UpdateCampaignRequest(claim=claim_given(given, is_retroactive=True)))
    return await respond_preview(api, pb.PreviewCampaignRequest(change=request))


async def apply_campaign(call: Call) -> web.StreamResponse:
    """Let a campaign claim history by its rules, anew if it did before."""
    api = ApiCall(call, "campaigns:write")
    with await api.body(is_optional=True) as given:
        request = pb.UpdateCampaignRequest(
            campaign_id=api.path("campaign_id"),
            claim=claim_given(given, is_retroactive=True),
            expected_version=expected_version(call, given),
        )
    campaign = (await api.ask(api.attribution.UpdateCampaign, request)).campaign
    return respond_campaign(api, campaign, status=202)


def _change(api: ApiCall, given: Given) -> pb.UpdateCampaignRequest:
    request = pb.UpdateCampaignRequest(
        campaign_id=api.path("campaign_id"),
        slug=given.text("slug"),
        name=given.text("name"),
        status=given.choice("status", STATUSES),
        destination_url=_destination(given),
        parameter_policy=given.choice("parameter_policy", POLICIES),
        fallback_url=given.text("fallback_url"),
        expected_version=expected_version(api.call, given),
        action=action_given(given, "action"),
        expired_fallback=fallback_given(given, "expired_fallback"),
        over_cap_fallback=fallback_given(given, "over_cap_fallback"),
        schedule=schedule_given(given),
        priority=_priority(given),
        paused_fallback=fallback_given(given, "paused_fallback"),
    )
    if (caps := caps_given(given)) is not None:
        request.caps.CopyFrom(pb.CapList(caps=caps))
    if (rules := rules_given(given)) is not None:
        request.rules.CopyFrom(pb.RuleList(rules=rules))
    return request


def _priority(given: Given) -> int | None:
    value = given.anything("priority")
    if value is not None and (type(value) is not int or abs(value) > _HIGHEST_PRIORITY):
        given.refuse("priority", f"is {shown_value(value)}, must be -{_HIGHEST_PRIORITY} to {_HIGHEST_PRIORITY}")
        return None
    return value


def _destination(given: Given, *, is_required: bool = False) -> str | None:
    """Return the destination under either of its names; both are fine where they agree."""
    is_required = is_required and not given.has("destination")
    url, short = given.text("destination_url", is_required=is_required), given.text("destination")
    if url is not None and short is not None and url != short:
        given.refuse("destination", "is not the same as destination_url; give one of them")
    return short if url is None else url


def expected_version(call: Call, given: Given) -> int:
    """Return the version that the client has seen, or 0 when it does not say."""
    expected = given.number("expected_version", 1, _LARGEST_VERSION) or 0
    if_match = call.arrival.headers.get("If-Match", "*").strip()
    if if_match == "*":
        return expected
    found = _ENTITY_TAG.fullmatch(if_match)
    if found is None or int(found[1]) > _LARGEST_VERSION:
        given.refuse("If-Match", f'is {shown_value(if_match)}, must be one version in quotes, for example "3", or *')
    elif expected not in (0, int(found[1])):
        given.refuse("expected_version", f"is {expected}, but If-Match says {if_match}")
    else:
        expected = int(found[1])
    return expected


def respond_campaign(
    api: ApiCall, campaign: pb.Campaign, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Answer with a campaign; its version is the entity tag."""
    return respond_json(
        campaign_view(api, campaign), status=status, headers={"ETag": f'"{campaign.version}"', **(headers or {})}
    )


async def respond_preview(api: ApiCall, request: pb.PreviewCampaignRequest) -> web.Response:
    """Ask what a campaign would change of history, and answer with it."""
    seconds = api.call.gateway.settings.query_seconds
    answer = await api.ask(api.attribution.PreviewCampaign, request, seconds=seconds)
    return respond_json(preview_view(answer.campaign, answer.preview))


def campaign_view(api: ApiCall, campaign: pb.Campaign) -> dict[str, Any]:
    """Write a campaign."""
    return {
        "campaign_id": campaign.campaign_id,
        "slug": campaign.slug,
        "name": campaign.name,
        "status": _STATUS_WORDS.get(campaign.status, "unknown"),
        "destination_url": campaign.destination_url,
        "parameter_policy": POLICY_WORDS.get(campaign.parameter_policy, "unknown"),
        "fallback_url": campaign.fallback_url,
        **definition_json(campaign),
        **claim_view(campaign),
        "version": campaign.version,
        "restored_version": campaign.restored_version or None,
        "create_time": timestamp_text(campaign.create_time),
        "update_time": timestamp_text(campaign.update_time),
        "tracking_urls": _tracking_urls(api, campaign),
    }


def _tracking_urls(api: ApiCall, campaign: pb.Campaign) -> list[str]:
    """Return the campaign's link under each tracking host, with the scheme and the port of this request."""
    if campaign.status == pb.CAMPAIGN_STATUS_ARCHIVED:
        return []
    arrival = api.call.arrival
    scheme = arrival.scheme()
    port = re.search(r":([0-9]{1,5})$", arrival.headers.get("Host", ""))
    suffix = f":{port[1]}" if port and port[1] != _DEFAULT_PORTS[scheme] else ""
    hosts = api.call.gateway.organisations.hosts_of(api.organization_id)
    return [f"{scheme}://{host}{suffix}/in/{campaign.slug}" for host in hosts]

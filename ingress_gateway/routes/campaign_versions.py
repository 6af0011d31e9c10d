"""``/api/v1/campaigns/{campaign_id}/versions``: what a campaign was, and going back."""

import re
from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.campaigns import campaign_view, expected_version, respond_campaign
from svc_runtime.errors import NotFoundError
from trellis.attribution.v1 import attribution_service_pb2 as pb

_VERSION = re.compile(r"[0-9]{1,10}")
_LARGEST_VERSION = 2**32 - 1
_BOOKKEEPING = frozenset(
    {"version", "restored_version", "create_time", "update_time", "tracking_urls", "operation_id", "claim"}
)
"""What differs between versions without being a difference in what the campaign does."""


async def list_versions(call: Call) -> web.StreamResponse:
    """Return a page of a campaign's versions, newest first."""
    api = ApiCall(call, "campaigns:read")
    with api.query() as given:
        request = pb.ListCampaignVersionsRequest(
            campaign_id=api.path("campaign_id"), page_size=given.page_size(), page_token=given.page_token()
        )
    page = await api.ask(api.attribution.ListCampaignVersions, request)
    return respond_json(
        {
            "versions": [_version_view(api, version) for version in page.versions],
            "next_page_token": page.next_page_token,
        }
    )


async def get_version(call: Call) -> web.StreamResponse:
    """Return a version of a campaign; with ``compare`` what differs from another too."""
    api = ApiCall(call, "campaigns:read")
    with api.query() as given:
        campaign_id, number = api.path("campaign_id"), _number(api.path("version"))
        other = given.number("compare", 1, _LARGEST_VERSION)
    view = await _read(api, campaign_id, number)
    if other is None:
        return respond_json(view)
    return respond_json({**view, "changes": _changes(await _read(api, campaign_id, other), view)})


async def activate_version(call: Call) -> web.StreamResponse:
    """Let a campaign be as it was in a version; 0 takes its claim off history."""
    api = ApiCall(call, "campaigns:write")
    with await api.body(is_optional=True) as given:
        request = pb.ActivateCampaignVersionRequest(
            campaign_id=api.path("campaign_id"),
            version=_number(api.path("version")),
            expected_version=expected_version(call, given),
        )
    return respond_campaign(api, (await api.ask(api.attribution.ActivateCampaignVersion, request)).campaign)


async def _read(api: ApiCall, campaign_id: str, version: int) -> dict[str, Any]:
    request = pb.GetCampaignVersionRequest(campaign_id=campaign_id, version=version)
    return _version_view(api, (await api.ask(api.attribution.GetCampaignVersion, request)).version)


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Name the fields that differ, each with what it was and what it is."""
    return [
        {"field": name, "before": before["campaign"][name], "after": value}
        for name, value in after["campaign"].items()
        if name not in _BOOKKEEPING and value != before["campaign"][name]
    ]


def _version_view(api: ApiCall, version: pb.CampaignVersion) -> dict[str, Any]:
    view = campaign_view(api, version.campaign)
    # What became of a claim, and under which hosts the link is, is of now and not of then.
    for name in ("operation_id", "tracking_urls"):
        del view[name]
    for name in ("state", "error"):
        if view["claim"] is not None:
            del view["claim"][name]
    return {"version": version.campaign.version, "actor": version.actor, "campaign": view}


def _number(text: str) -> int:
    """Read the version in a path; what is none is not found, like a number that no version has."""
    if not _VERSION.fullmatch(text) or int(text) > _LARGEST_VERSION:
        raise NotFoundError("there is nothing at this path")
    return int(text)

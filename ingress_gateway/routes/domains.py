"""``/api/v1/domains``: the hosts under which an organisation's links and pixels live."""

from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from trellis.auth.v1 import auth_service_pb2 as pb


async def add_domain(call: Call) -> web.StreamResponse:
    """Give a host to the organisation; 201."""
    api = ApiCall(call, "domains:write")
    with await api.body() as given:
        request = pb.AddDomainRequest(host=given.text("host", is_required=True) or "")
    return respond_json(_domain((await api.ask(api.warden.AddDomain, request)).domain), status=201)


async def list_domains(call: Call) -> web.StreamResponse:
    """Return a page of hosts, by name."""
    api = ApiCall(call, "domains:read")
    with api.query() as given:
        request = pb.ListDomainsRequest(page_size=given.page_size(), page_token=given.page_token())
    page = await api.ask(api.warden.ListDomains, request)
    return respond_json(
        {"domains": [_domain(domain) for domain in page.domains], "next_page_token": page.next_page_token}
    )


async def remove_domain(call: Call) -> web.StreamResponse:
    """Take a host away; 204."""
    api = ApiCall(call, "domains:write")
    with api.query():
        request = pb.RemoveDomainRequest(host=api.path("host"))
    await api.ask(api.warden.RemoveDomain, request)
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


def _domain(domain: pb.Domain) -> dict[str, Any]:
    return {"host": domain.host, "create_time": timestamp_text(domain.create_time)}

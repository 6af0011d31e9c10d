"""``/api/v1/roles``: names for sets of scopes."""

from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.responses import respond_json
from trellis.auth.v1 import auth_service_pb2 as pb


async def create_role(call: Call) -> web.StreamResponse:
    """Create a role; 201."""
    api = ApiCall(call, "keys:write")
    with await api.body() as given:
        request = pb.CreateRoleRequest(
            name=given.text("name", is_required=True) or "", scopes=given.texts("scopes", is_required=True)
        )
    return respond_json(_role((await api.ask(api.warden.CreateRole, request)).role), status=201)


async def list_roles(call: Call) -> web.StreamResponse:
    """Return all roles, the built-in ones first. They are few: there is one page."""
    api = ApiCall(call, "keys:read")
    with api.query():
        request = pb.ListRolesRequest()
    found = await api.ask(api.warden.ListRoles, request)
    return respond_json({"roles": [_role(role) for role in found.roles], "next_page_token": ""})


def _role(role: pb.Role) -> dict[str, Any]:
    return {"name": role.name, "scopes": list(role.scopes), "is_built_in": role.is_built_in}

"""``/api/v1/keys``: made, listed, rotated and revoked. A key in full is shown once, when it is made."""

from typing import Any

from aiohttp import web
from google.protobuf.timestamp_pb2 import Timestamp

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from svc_runtime.timestamps import timestamp_of
from trellis.auth.v1 import auth_service_pb2 as pb

KINDS = {"publishable": pb.KEY_KIND_PUBLISHABLE, "secret": pb.KEY_KIND_SECRET}
ENVIRONMENTS = {"live": pb.KEY_ENVIRONMENT_LIVE, "test": pb.KEY_ENVIRONMENT_TEST}
LONGEST_OVERLAP_SECONDS = 30 * 24 * 3600
_KIND_WORDS = {number: word for word, number in KINDS.items()}
_ENVIRONMENT_WORDS = {number: word for word, number in ENVIRONMENTS.items()}


async def create_key(call: Call) -> web.StreamResponse:
    """Create a key; 201, and the key in full this once."""
    api = ApiCall(call, "keys:write")
    with await api.body() as given:
        request = pb.CreateKeyRequest(
            name=given.text("name", is_required=True) or "",
            kind=given.choice("kind", KINDS, is_required=True) or pb.KEY_KIND_UNSPECIFIED,
            environment=given.choice("environment", ENVIRONMENTS) or pb.KEY_ENVIRONMENT_UNSPECIFIED,
            scopes=given.texts("scopes"),
            role=given.text("role") or "",
            expire_time=timestamp_of(given.instant("expire_time")),
        )
    made = await api.ask(api.warden.CreateKey, request)
    return respond_json({**_key(made.key), "secret": made.secret}, status=201)


async def list_keys(call: Call) -> web.StreamResponse:
    """Return a page of keys, newest first, without their secrets."""
    api = ApiCall(call, "keys:read")
    with api.query() as given:
        request = pb.ListKeysRequest(
            page_size=given.page_size(),
            page_token=given.page_token(),
            include_inactive=given.flag("include_inactive") or False,
        )
    page = await api.ask(api.warden.ListKeys, request)
    return respond_json({"keys": [_key(key) for key in page.keys], "next_page_token": page.next_page_token})


async def revoke_key(call: Call) -> web.StreamResponse:
    """Revoke a key for ever; to do it again changes nothing."""
    api = ApiCall(call, "keys:write")
    with await api.body(is_optional=True):
        request = pb.RevokeKeyRequest(key_id=api.path("key_id"))
    return respond_json(_key((await api.ask(api.warden.RevokeKey, request)).key))


async def rotate_key(call: Call) -> web.StreamResponse:
    """Make the key that takes over, and show it in full this once."""
    api = ApiCall(call, "keys:write")
    with await api.body(is_optional=True) as given:
        request = pb.RotateKeyRequest(
            key_id=api.path("key_id"), overlap_seconds=given.number("overlap_seconds", 0, LONGEST_OVERLAP_SECONDS)
        )
    renewed = await api.ask(api.warden.RotateKey, request)
    return respond_json({**_key(renewed.key), "secret": renewed.secret, "old_key": _key(renewed.old_key)})


def _key(key: pb.Key) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "kind": _KIND_WORDS.get(key.kind, "unknown"),
        "environment": _ENVIRONMENT_WORDS.get(key.environment, "unknown"),
        "scopes": list(key.scopes),
        "role": key.role,
        "last_four": key.last_four,
        "create_time": timestamp_text(key.create_time),
        "expire_time": _instant_or_null(key, "expire_time"),
        "revoke_time": _instant_or_null(key, "revoke_time"),
        "last_use_time": _instant_or_null(key, "last_use_time"),
        "rotated_from_key_id": key.rotated_from_key_id,
    }


def _instant_or_null(key: pb.Key, name: str) -> str | None:
    timestamp: Timestamp = getattr(key, name)
    return timestamp_text(timestamp) if key.HasField(name) else None  # type: ignore[arg-type]  # one of three names

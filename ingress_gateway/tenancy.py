"""Whose request is it? Tracking domain first, then a publishable key, then Authorization."""

import base64
from dataclasses import dataclass

from ingress_gateway.arrival import AUTHORIZATION, Arrival
from ingress_gateway.organisations import Organisations, Principal
from ingress_gateway.partners import KnownPartner
from ingress_gateway.payloads import WRITE_KEY_NAMES, query_fields
from svc_runtime.errors import PermissionDeniedError, UnauthenticatedError


@dataclass(frozen=True, slots=True)
class Tenant:
    """The organisation that an event belongs to."""

    organization_id: str
    key_id: str = ""
    is_test: bool = False
    partner_id: str = ""
    network: str = ""


def presented_key(arrival: Arrival, body_key: str = "") -> str:
    """Return the key that came with a request: Bearer, Basic user, X-Write-Key, query, body; or the empty text."""
    scheme, _, credential = arrival.headers.get(AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer":
        return credential.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credential, validate=True).decode().partition(":")[0]
        except ValueError:  # of base64, of its alphabet or of UTF-8
            raise UnauthenticatedError("the Basic credential does not decode", reason="KEY_MALFORMED") from None
    header_key = arrival.headers.get("X-Write-Key", "")
    if header_key:
        return header_key
    if b"wdn_" in arrival.query:
        fields = query_fields(arrival.query)
        for name in WRITE_KEY_NAMES:
            if fields.get(name, "").startswith("wdn_"):
                return fields[name]
    return body_key


def sender(organisations: Organisations, arrival: Arrival, body_key: str = "") -> Tenant:
    """Return whose event this is.

    Raise UnauthenticatedError with ORGANIZATION_UNKNOWN when neither host nor key says, or with what is wrong with the
    key: a wrong key is an error also where the host would do, since its sender means another place.
    """
    organisations.require_ready()
    of_host = organisations.of_host(arrival.host)
    key = presented_key(arrival, body_key)
    if not key:
        if of_host:
            return Tenant(of_host)
        raise UnauthenticatedError("neither the host nor a key names an organisation", reason="ORGANIZATION_UNKNOWN")
    principal = organisations.authenticate(key)
    if of_host and principal.organization_id != of_host:
        raise UnauthenticatedError("the key is not of the organisation of this host", reason="KEY_UNKNOWN")
    if "traffic:write" not in principal.scopes:
        raise PermissionDeniedError("this needs the scope `traffic:write`")
    return Tenant(principal.organization_id, principal.key_id, principal.is_test)


def partner_of(organisations: Organisations, arrival: Arrival, token: str) -> KnownPartner:
    """Return the partner whose token came with a request; raise UnauthenticatedError as ``sender`` does for a key."""
    organisations.require_ready()
    partner = organisations.partners.of_token(token)
    of_host = organisations.of_host(arrival.host)
    if of_host and partner.organization_id != of_host:
        raise UnauthenticatedError("the token is not of the organisation of this host", reason="KEY_UNKNOWN")
    return partner


def api_caller(organisations: Organisations, arrival: Arrival, scope: str) -> Principal:
    """Return who calls a management or query API: a live secret key with ``scope``, in ``Authorization: Bearer``."""
    scheme, _, credential = arrival.headers.get(AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise UnauthenticatedError("send `Authorization: Bearer <secret key>`")
    principal = organisations.authenticate(credential.strip())
    if not principal.is_secret:
        raise PermissionDeniedError("a publishable key may only send events; this needs a secret key")
    organisations.require_active(principal.organization_id)
    if scope not in principal.scopes:
        raise PermissionDeniedError(f"this needs the scope `{scope}`")
    return principal

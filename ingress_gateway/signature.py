"""Signatures of partners: HMAC-SHA256 in the manner of Standard Webhooks.

Three headers: ``webhook-id``, ``webhook-timestamp`` in Unix seconds, and ``webhook-signature``, one or more of ``v1,``
and base64, blanks between them. What is signed is ``{id}.{timestamp}.{content}``, where the content is the body after
content decoding; of a request without a body it is the query, as its bytes stand in the URL.
"""

import base64
import hmac
import re

from ingress_gateway.arrival import Arrival
from svc_runtime.errors import UnauthenticatedError

TOLERANCE_SECONDS = 300
"""How far the timestamp may be from our clock, in either direction."""
LONGEST_ID = 200
_ID = re.compile(rf"[!-~]{{1,{LONGEST_ID}}}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_TOKEN = re.compile(rb"(?:security_token|verification_token|adv_sectkn|secure|token|t|k|key)=wdn_pt_[0-9A-Za-z]+")
"""All that may stand in a query that is not signed: it changes nothing of what is said."""
_MOST_SIGNATURES = 10


class SignatureError(UnauthenticatedError):
    """What should be signed is not, or not as it should be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="SIGNATURE_INVALID")


def verify(arrival: Arrival, secret: bytes, *, now: float) -> str:
    """Return the sender's id of a request that is signed with ``secret``; raise SignatureError."""
    webhook_id, timestamp = arrival.headers.get("webhook-id", ""), arrival.headers.get("webhook-timestamp", "")
    given = arrival.headers.get("webhook-signature", "").split()
    if not (webhook_id and timestamp and given):
        raise SignatureError("this partner's requests are signed: send webhook-id, -timestamp and -signature")
    if not _ID.fullmatch(webhook_id):
        raise SignatureError(f"webhook-id must be 1 to {LONGEST_ID} printable ASCII characters without blanks")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError("webhook-timestamp must be in Unix seconds")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureError(f"webhook-timestamp is more than {TOLERANCE_SECONDS} s from our clock")
    expected = hmac.digest(secret, f"{webhook_id}.{timestamp}.".encode() + _content(arrival), "sha256")
    if not any(hmac.compare_digest(expected, one) for one in map(_decoded, given[:_MOST_SIGNATURES])):
        raise SignatureError("no webhook-signature is that of this request under the partner's secret")
    return webhook_id


def _content(arrival: Arrival) -> bytes:
    """Return what is signed; raise SignatureError where something that is read would not be."""
    if not arrival.body:
        return arrival.query
    if not all(_TOKEN.fullmatch(piece) for piece in arrival.query.split(b"&") if piece):
        raise SignatureError("with a body, only the body is signed: put the query's parameters into it")
    return arrival.body


def _decoded(signature: str) -> bytes:
    version, _, encoded = signature.partition(",")
    if version != "v1":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:  # of base64, or of letters beyond ASCII
        return b""

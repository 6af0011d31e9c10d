"""A change as a request: of a postback by its templates, of a webhook by Standard Webhooks. Pure."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from attribution_svc.webhooks.body import read_body_template
from attribution_svc.webhooks.change import OWN_FIELDS, TOLD, Change, Conversion, Json, decimal_text, value_of
from attribution_svc.webhooks.webhook import Webhook, WebhookKind
from macro_language.names import ALIASES, CONVERSION
from macro_language.template import read_template
from rule_language.predicate import fields_of

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, without what is secret."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def build_request(webhook: Webhook, change: Change, *, delivery_id: str) -> Request:
    """Return the request of a delivery; the same for every attempt as long as the webhook is the same."""
    definition = webhook.definition
    headers = {header.name: header.value for header in definition.headers if not header.is_secret}
    find = value_of(change)
    if webhook.kind is WebhookKind.WEBHOOK:
        headers |= {"Content-Type": "application/json", "Webhook-Id": delivery_id}
        return Request("POST", definition.url, headers, write_payload(change))
    url = read_template(definition.url, CONVERSION, ALIASES, []).fill(find).decode("ascii", "replace")
    body = b""
    if definition.body:
        template = read_body_template(definition.body)
        headers["Content-Type"] = template.content_type
        body = template.fill(find)
    return Request(definition.method, url, headers, body)


def needs_click(webhook: Webhook) -> bool:
    """Whether the webhook asks for more of the click than the conversion says: for a parameter, a term, a host."""
    definition = webhook.definition
    asked = set() if definition.condition is None else set(fields_of(definition.condition)) - OWN_FIELDS
    if webhook.kind is WebhookKind.POSTBACK:
        asked |= {macro.name for macro in read_template(definition.url, CONVERSION, ALIASES, []).macros}
        asked |= read_body_template(definition.body).names
    return not asked <= TOLD


def write_payload(change: Change) -> bytes:
    """Return the body of a webhook: `type`, `timestamp` and `data`, as Standard Webhooks recommends."""
    data = _conversion(change.conversion)
    if change.previous is not None:
        before = _conversion(change.previous)
        data["previous"] = {name: value for name, value in before.items() if value != data[name]}
    payload = {"type": change.kind.value, "timestamp": _instant(change.change_time), "data": data}
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def signature_headers(secrets: Sequence[bytes], *, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return what proves who sent it: one signature by each secret, so that receivers change theirs at leisure."""
    signatures = " ".join(sign(secret, delivery_id=delivery_id, timestamp=timestamp, body=body) for secret in secrets)
    return {"Webhook-Timestamp": str(timestamp), "Webhook-Signature": signatures}


def sign(secret: bytes, *, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Return `v1,` and the HMAC-SHA256 of id, time and body, by Standard Webhooks."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def secret_text(secret: bytes) -> str:
    """Return a secret as people carry it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def _conversion(conversion: Conversion) -> dict[str, Json]:
    return {
        "conversion_id": conversion.conversion_id,
        "type": conversion.conversion_type,
        "event_type": conversion.event_type,
        "status": conversion.status,
        "value": _amount(conversion.value_micros),
        "gross_value": _amount(conversion.gross_micros),
        "refunded_value": _amount(conversion.refunded_micros),
        "currency": conversion.currency,
        "order_id": conversion.order_id,
        "conversion_time": _instant(conversion.conversion_time),
        "click_id": conversion.click_id,
        "external_click_id": conversion.external_click_id,
        "campaign_id": conversion.campaign_id,
        "rule_id": conversion.rule_id,
        "destination_id": conversion.destination_id,
        "source": conversion.source,
        "medium": conversion.medium,
        "channel": conversion.channel,
        "network": conversion.network,
        "user_id": conversion.user_id,
        "orphan_reason": conversion.orphan_reason,
        "merged_into": conversion.merged_into,
        "is_counted": conversion.is_counted,
        "is_test": conversion.is_test,
    }


def _amount(micros: int | None) -> str | None:
    return None if micros is None else decimal_text(micros)


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")

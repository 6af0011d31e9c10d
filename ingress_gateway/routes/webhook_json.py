"""Webhooks and deliveries as JSON: read with every problem named, and written."""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ingress_gateway.given import Given
from ingress_gateway.instants import timestamp_text
from ingress_gateway.routes.campaign_json import Member
from rule_language.parse import predicate_from_json, predicate_from_pb, predicate_to_json, predicate_to_pb
from svc_runtime.errors import Violation
from trellis.attribution.v1 import webhook_service_pb2 as pb
from trellis.type.v1 import predicate_pb2

KINDS = {"postback": pb.WEBHOOK_KIND_POSTBACK, "webhook": pb.WEBHOOK_KIND_WEBHOOK}
STATES = {
    "pending": pb.DELIVERY_STATE_PENDING,
    "delivering": pb.DELIVERY_STATE_DELIVERING,
    "failed": pb.DELIVERY_STATE_FAILED,
    "succeeded": pb.DELIVERY_STATE_SUCCEEDED,
    "dead": pb.DELIVERY_STATE_DEAD,
    "cancelled": pb.DELIVERY_STATE_CANCELLED,
}
MOST_ATTEMPTS = 50
LONGEST_AGE_SECONDS = 30 * 24 * 3600
HIGHEST_RATE = 1000
_KIND_WORDS = {number: word for word, number in KINDS.items()}
_STATE_WORDS = {number: word for word, number in STATES.items()}


def definition_given(given: Given) -> tuple[pb.WebhookDefinition, list[str]]:
    """Return what the body says a webhook is to be, and which fields it names."""
    definition = pb.WebhookDefinition(
        name=given.text("name") or "",
        url=given.text("url") or "",
        method=given.text("method") or "",
        headers=_headers_given(given),
        body=given.text("body") or "",
        event_kinds=given.texts("event_kinds"),
        campaign_ids=given.texts("campaign_ids"),
        conversion_types=given.texts("conversion_types"),
        statuses=given.texts("statuses"),
        condition=_condition_given(given),
        waits_for_click=given.flag("waits_for_click"),
        follows_redirects=given.flag("follows_redirects") or False,
        max_attempts=given.number("max_attempts", 1, MOST_ATTEMPTS) or 0,
        rate_per_second=given.number("rate_per_second", 0, HIGHEST_RATE) or 0,
    )
    names = [name for name in _NAMES if given.has(name)]
    seconds = given.number("max_age_seconds", 60, LONGEST_AGE_SECONDS)
    if seconds is not None:
        definition.max_age_duration.CopyFrom(Duration(seconds=seconds))
        names.append("max_age_duration")
    return definition, names


_NAMES = (
    "name", "url", "method", "headers", "body", "event_kinds", "campaign_ids", "conversion_types", "statuses",
    "condition", "waits_for_click", "follows_redirects", "max_attempts", "rate_per_second",
)  # fmt: skip


def _headers_given(given: Given) -> list[pb.WebhookHeader]:
    value = given.anything("headers")
    if value is None:
        return []
    if not isinstance(value, list):
        given.refuse("headers", "must be a list of objects with name, value and is_secret")
        return []
    headers = []
    for index, item in enumerate(value):
        member = Member(given, f"headers[{index}]", item)
        is_secret = member.take("is_secret", bool, "true or false") or False
        # The value may be secret: the service says what is wrong with it, without repeating it.
        text = member.take("value", (str, type(None)), "a text")
        headers.append(pb.WebhookHeader(name=member.text("name"), value=text or "", is_secret=is_secret))
        member.check()
    return headers


def _condition_given(given: Given) -> predicate_pb2.Predicate | None:
    value = given.anything("condition")
    if value is None:
        return None
    violations: list[Violation] = []
    predicate = predicate_from_json(value, path="condition", violations=violations)
    for violation in violations:
        given.refuse(violation.field, violation.description)
    return None if predicate is None else predicate_to_pb(predicate)


def webhook_json(webhook: pb.Webhook) -> dict[str, Any]:
    """Write a webhook."""
    definition = webhook.definition
    return {
        "webhook_id": webhook.webhook_id,
        "kind": _KIND_WORDS.get(webhook.kind, "unknown"),
        "name": definition.name,
        "url": definition.url,
        "method": definition.method,
        "headers": [
            {
                "name": header.name,
                "value": None if header.is_secret else header.value,
                "is_secret": header.is_secret,
            }
            for header in definition.headers
        ],
        "body": definition.body,
        "event_kinds": list(definition.event_kinds),
        "campaign_ids": list(definition.campaign_ids),
        "conversion_types": list(definition.conversion_types),
        "statuses": list(definition.statuses),
        "condition": _condition_json(definition),
        "waits_for_click": definition.waits_for_click,
        "follows_redirects": definition.follows_redirects,
        "max_attempts": definition.max_attempts,
        "max_age_seconds": definition.max_age_duration.seconds,
        "rate_per_second": definition.rate_per_second,
        "is_enabled": webhook.is_enabled,
        "disable_reason": webhook.disable_reason,
        "version": webhook.version,
        "create_time": timestamp_text(webhook.create_time),
        "update_time": timestamp_text(webhook.update_time),
        "old_secret_expire_time": _instant(webhook, "old_secret_expire_time"),
    }


def health_json(webhook: pb.Webhook) -> dict[str, Any]:
    """Write how its destination does."""
    return {"failure_count": webhook.failure_count, "paused_until_time": _instant(webhook, "paused_until_time")}


def delivery_json(delivery: pb.Delivery) -> dict[str, Any]:
    """Write a delivery as lists have it."""
    return {
        "delivery_id": delivery.delivery_id,
        "webhook_id": delivery.webhook_id,
        "event_kind": delivery.event_kind,
        "conversion_id": delivery.conversion_id,
        "state": _STATE_WORDS.get(delivery.state, "unknown"),
        "attempt_count": delivery.attempt_count,
        "next_attempt_time": _instant(delivery, "next_attempt_time"),
        "create_time": timestamp_text(delivery.create_time),
        "end_time": _instant(delivery, "end_time"),
    }


def attempt_json(attempt: pb.DeliveryAttempt) -> dict[str, Any]:
    """Write an attempt; bytes of the answer that are no UTF-8 are replaced."""
    return {
        "number": attempt.number,
        "attempt_time": timestamp_text(attempt.attempt_time),
        "method": attempt.method,
        "url": attempt.url,
        "status": attempt.status or None,
        "failure": None if attempt.failure == "none" else attempt.failure,
        "detail": attempt.detail,
        "duration_ms": attempt.duration.ToMilliseconds(),
        "response_body": attempt.response_body.decode("utf-8", "replace"),
    }


def _condition_json(definition: pb.WebhookDefinition) -> Any:
    if not definition.HasField("condition"):
        return None
    predicate = predicate_from_pb(definition.condition, path="condition", violations=[])
    return None if predicate is None else predicate_to_json(predicate)


def _instant(message: pb.Webhook | pb.Delivery, name: str) -> str | None:
    timestamp: Timestamp = getattr(message, name)
    return timestamp_text(timestamp) if message.HasField(name) else None  # type: ignore[arg-type]  # a field of it

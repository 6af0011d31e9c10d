"""Between the contract's messages and webhooks: reading with every problem named, and writing."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from attribution_svc.webhooks.attempt import Circuit, DeliveryState
from attribution_svc.webhooks.message import write_payload
from attribution_svc.webhooks.registry import NewWebhook
from attribution_svc.webhooks.store import Attempt, Delivery, DeliveryFilter
from attribution_svc.webhooks.webhook import (
    DEFAULT_AGE,
    DEFAULT_ATTEMPTS,
    SUBSCRIBABLE,
    Definition,
    EventKind,
    Header,
    Webhook,
    WebhookChange,
    WebhookKind,
)
from rule_language.parse import predicate_from_pb, predicate_to_pb
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import webhook_service_pb2 as pb
from trellis.type.v1 import time_range_pb2

_KIND_TO_PB = {WebhookKind.POSTBACK: pb.WEBHOOK_KIND_POSTBACK, WebhookKind.WEBHOOK: pb.WEBHOOK_KIND_WEBHOOK}
_KIND_FROM_PB = {number: kind for kind, number in _KIND_TO_PB.items()}
_STATE_TO_PB = {
    DeliveryState.PENDING: pb.DELIVERY_STATE_PENDING,
    DeliveryState.DELIVERING: pb.DELIVERY_STATE_DELIVERING,
    DeliveryState.FAILED: pb.DELIVERY_STATE_FAILED,
    DeliveryState.SUCCEEDED: pb.DELIVERY_STATE_SUCCEEDED,
    DeliveryState.DEAD: pb.DELIVERY_STATE_DEAD,
    DeliveryState.CANCELLED: pb.DELIVERY_STATE_CANCELLED,
}
_STATE_FROM_PB = {number: state for state, number in _STATE_TO_PB.items()}
_EVENT_KINDS = {kind.value: kind for kind in EventKind}
_FIELDS = frozenset(known.name for known in fields(Definition)) - {"max_age"} | {"max_age_duration"}


def new_webhook_from_pb(request: pb.CreateWebhookRequest) -> NewWebhook:
    """Read what is wanted; raise InvalidArgumentError with everything that cannot be read."""
    violations: list[Violation] = []
    kind = _KIND_FROM_PB.get(request.kind)
    if kind is None:
        violations.append(Violation("kind", f"{int(request.kind)} is no kind of webhook; there are postback, webhook"))
    definition = _definition_from_pb(request.definition, violations)
    if not definition.event_kinds and not request.definition.event_kinds:
        # Whoever wants sales wants those too that began as leads.
        kinds = (EventKind.CREATED, EventKind.STATUS) if definition.statuses else (EventKind.CREATED,)
        definition = replace(definition, event_kinds=kinds)
    if not request.definition.HasField("waits_for_click"):
        needs_click = bool(kind is WebhookKind.POSTBACK or definition.campaign_ids or definition.condition)
        definition = replace(definition, waits_for_click=needs_click)
    if violations or kind is None:
        raise InvalidArgumentError.of(violations)
    return NewWebhook(kind, definition, is_enabled=not request.is_disabled)


def change_from_pb(request: pb.UpdateWebhookRequest) -> WebhookChange:
    """Read what is to be otherwise; raise InvalidArgumentError with everything that cannot be read."""
    violations: list[Violation] = []
    names = frozenset(request.update_mask.paths)
    violations += [
        Violation("update_mask", f"there is no field {name[:64]!r}; there are {', '.join(sorted(_FIELDS))}")
        for name in sorted(names - _FIELDS)
    ]
    wanted = _definition_from_pb(request.definition, violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return WebhookChange(
        define=_define(wanted, names) if names else None,
        is_enabled=request.is_enabled if request.HasField("is_enabled") else None,
        expected_version=request.expected_version,
    )


def _define(wanted: Definition, names: frozenset[str]) -> Callable[[Definition], Definition]:
    changed = {name.removesuffix("_duration") for name in names}

    def define(present: Definition) -> Definition:
        return replace(present, **{name: getattr(wanted, name) for name in changed})

    return define


def _definition_from_pb(message: pb.WebhookDefinition, violations: list[Violation]) -> Definition:
    condition = None
    if message.HasField("condition"):
        condition = predicate_from_pb(message.condition, path="condition", violations=violations)
    max_age = DEFAULT_AGE
    if message.HasField("max_age_duration"):
        max_age = _duration(message.max_age_duration, "max_age_duration", violations)
    return Definition(
        name=message.name,
        url=message.url,
        method=message.method,
        headers=tuple(Header(header.name, header.value, header.is_secret) for header in message.headers),
        body=message.body,
        event_kinds=_event_kinds(message.event_kinds, violations),
        campaign_ids=tuple(message.campaign_ids),
        conversion_types=tuple(message.conversion_types),
        statuses=tuple(message.statuses),
        condition=condition,
        waits_for_click=message.waits_for_click,
        follows_redirects=message.follows_redirects,
        max_attempts=message.max_attempts or DEFAULT_ATTEMPTS,
        max_age=max_age,
        rate_per_second=message.rate_per_second,
    )


def _event_kinds(texts: Sequence[str], violations: list[Violation]) -> tuple[EventKind, ...]:
    found = []
    for at, text in enumerate(texts):
        kind = _EVENT_KINDS.get(text)
        if kind is None:
            known = ", ".join(known.value for known in SUBSCRIBABLE)
            violations.append(Violation(f"event_kinds[{at}]", f"there is no {text[:64]!r}; there are {known}"))
        else:
            found.append(kind)
    return tuple(found)


def _duration(message: Duration, path: str, violations: list[Violation]) -> timedelta:
    try:
        return message.ToTimedelta()
    except (OverflowError, ValueError):
        violations.append(Violation(path, "is out of range"))
        return DEFAULT_AGE


def range_from_pb(message: time_range_pb2.TimeRange) -> tuple[datetime | None, datetime | None]:
    """Read a range of time; raise InvalidArgumentError."""
    violations: list[Violation] = []
    found = _instant(message, "start_time", violations), _instant(message, "end_time", violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return found


def filter_from_pb(request: pb.ListDeliveriesRequest | pb.ReplayDeliveriesRequest) -> DeliveryFilter:
    """Read which deliveries are meant; raise InvalidArgumentError with everything that cannot be read."""
    violations: list[Violation] = []
    wanted = DeliveryFilter(
        event_kind=_EVENT_KINDS.get(request.event_kind),
        start_time=_instant(request.time_range, "start_time", violations),
        end_time=_instant(request.time_range, "end_time", violations),
    )
    if request.event_kind and request.event_kind not in _EVENT_KINDS:
        violations.append(Violation("event_kind", f"there is no {request.event_kind[:64]!r}"))
    if isinstance(request, pb.ListDeliveriesRequest):
        state = states_from_pb([request.state])[0] if request.state else None
        wanted = replace(wanted, state=state, conversion_id=request.conversion_id or None)
    if violations:
        raise InvalidArgumentError.of(violations)
    return wanted


def states_from_pb(numbers: Sequence["pb.DeliveryState.ValueType"]) -> list[DeliveryState]:
    """Read states; raise InvalidArgumentError."""
    strange = [Violation("state", f"{int(number)} is no state") for number in numbers if number not in _STATE_FROM_PB]
    if strange:
        raise InvalidArgumentError.of(strange)
    return [_STATE_FROM_PB[number] for number in numbers]


def _instant(message: time_range_pb2.TimeRange, name: str, violations: list[Violation]) -> datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # one of its two fields
        return None
    found: Timestamp = getattr(message, name)
    try:
        return found.ToDatetime(UTC)
    except (OverflowError, ValueError):
        violations.append(Violation(name, "is out of range"))
        return None


def webhook_to_pb(webhook: Webhook, circuit: Circuit | None = None) -> pb.Webhook:
    """Write a webhook, without anything secret."""
    expiries = [secret.expire_time for secret in webhook.secrets if secret.expire_time is not None]
    return pb.Webhook(
        webhook_id=webhook.webhook_id,
        kind=_KIND_TO_PB[webhook.kind],
        definition=_definition_to_pb(webhook.definition),
        is_enabled=webhook.is_enabled,
        disable_reason=webhook.disable_reason,
        version=webhook.version,
        create_time=timestamp_of(webhook.create_time),
        update_time=timestamp_of(webhook.update_time),
        old_secret_expire_time=timestamp_of(expiries[0]) if expiries else None,
        failure_count=circuit.failure_count if circuit else 0,
        paused_until_time=timestamp_of(circuit.open_until) if circuit else None,
    )


def _definition_to_pb(definition: Definition) -> pb.WebhookDefinition:
    max_age = Duration()
    max_age.FromTimedelta(definition.max_age)
    return pb.WebhookDefinition(
        name=definition.name,
        url=definition.url,
        method=definition.method,
        headers=[
            pb.WebhookHeader(
                name=header.name, value="" if header.is_secret else header.value, is_secret=header.is_secret
            )
            for header in definition.headers
        ],
        body=definition.body,
        event_kinds=[kind.value for kind in definition.event_kinds],
        campaign_ids=definition.campaign_ids,
        conversion_types=definition.conversion_types,
        statuses=definition.statuses,
        condition=None if definition.condition is None else predicate_to_pb(definition.condition),
        waits_for_click=definition.waits_for_click,
        follows_redirects=definition.follows_redirects,
        max_attempts=definition.max_attempts,
        max_age_duration=max_age,
        rate_per_second=definition.rate_per_second,
    )


def delivery_to_pb(delivery: Delivery, *, is_whole: bool) -> pb.Delivery:
    """Write a delivery; whole, with what is sent and what was answered."""
    return pb.Delivery(
        delivery_id=delivery.delivery_id,
        webhook_id=delivery.webhook_id,
        event_kind=delivery.change.kind.value,
        conversion_id=delivery.change.conversion.conversion_id,
        state=_STATE_TO_PB[delivery.state],
        attempt_count=delivery.attempt_count,
        next_attempt_time=timestamp_of(delivery.next_attempt_time),
        create_time=timestamp_of(delivery.create_time),
        end_time=timestamp_of(delivery.end_time),
        attempts=map(_attempt_to_pb, delivery.attempts),
        payload_json=write_payload(delivery.change).decode() if is_whole else "",
    )


def _attempt_to_pb(attempt: Attempt) -> pb.DeliveryAttempt:
    duration = Duration()
    duration.FromTimedelta(attempt.outcome.duration)
    return pb.DeliveryAttempt(
        number=attempt.number,
        attempt_time=timestamp_of(attempt.attempt_time),
        method=attempt.method,
        url=attempt.url,
        status=attempt.outcome.status,
        failure=attempt.outcome.failure.value,
        detail=attempt.outcome.detail,
        duration=duration,
        response_body=attempt.outcome.body,
    )

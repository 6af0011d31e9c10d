"""Webhooks, changes and deliveries to test with."""

from datetime import UTC, datetime, timedelta
from typing import Any

from attribution_svc.webhooks.attempt import Failure, Outcome
from attribution_svc.webhooks.change import Change, Click, Conversion
from attribution_svc.webhooks.store import Attempt, Claim, ClaimLimits, NewDelivery
from attribution_svc.webhooks.webhook import (
    SUBSCRIBABLE,
    Definition,
    EventKind,
    Header,
    SigningSecret,
    Webhook,
    WebhookKind,
    normalised,
)
from rule_language.predicate import Condition, Operator

NOW = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=45)
EVERYTHING = Definition(
    url="https://partner.example/pb?cid={external_click_id}&sum={payout|0}&z={param:zone|none}",
    name="Ä partner",
    method="POST",
    headers=(Header("X-Static", "a"), Header("X-Key", "", is_secret=True)),
    body='{"id": "{conversion_id}"}',
    event_kinds=SUBSCRIBABLE,
    campaign_ids=("cmp_1", "cmp_2"),
    conversion_types=("sale",),
    statuses=("sale", "lead"),
    condition=Condition("country", Operator.IN, ("DE", "AT")),
    follows_redirects=True,
    max_attempts=3,
    max_age=timedelta(hours=7),
    rate_per_second=9,
)


def make_webhook(
    webhook_id: str = "wh_1",
    *,
    organization_id: str = "org_a",
    kind: WebhookKind = WebhookKind.POSTBACK,
    url: str = "http://receiver.example/pb?c={click_id}",
    is_enabled: bool = True,
    age: timedelta = timedelta(),
    secrets: tuple[SigningSecret, ...] = (),
    **definition: Any,
) -> Webhook:
    """Return version 1 of some webhook."""
    return Webhook(
        organization_id=organization_id,
        webhook_id=webhook_id,
        kind=kind,
        definition=normalised(kind, Definition(url=url, **definition)),
        is_enabled=is_enabled,
        disable_reason="",
        secrets=secrets,
        sealed_headers={},
        version=1,
        create_time=NOW - age,
        update_time=NOW - age,
    )


def make_change(
    change_id: int = 1,
    *,
    organization_id: str = "org_a",
    kind: EventKind = EventKind.CREATED,
    click: Click | None = None,
    previous: Conversion | None = None,
    **conversion: Any,
) -> Change:
    """Return a change of some conversion."""
    values: dict[str, Any] = {
        "conversion_id": f"conv_{change_id}",
        "conversion_type": "sale",
        "status": "sale",
        "value_micros": 12_500_000,
        "currency": "USD",
        "conversion_time": NOW,
        "click_id": f"click_{change_id}",
        **conversion,
    }
    return Change(organization_id, change_id, kind, NOW, Conversion(**values), previous, click or Click())


def make_delivery(
    delivery_id: str, webhook: Webhook, change: Change | None = None, *, age: timedelta = timedelta()
) -> NewDelivery:
    """Return a delivery to be put in."""
    made = NOW - age
    return NewDelivery(
        delivery_id, webhook.webhook_id, change or make_change(), made, made + webhook.definition.max_age
    )


def make_limits(
    most: int = 100,
    most_per_webhook: int = 100,
    busy: dict[tuple[str, str], int] | None = None,
    most_per_organization: int = 100,
) -> ClaimLimits:
    """Return limits that allow much."""
    return ClaimLimits(most, most_per_webhook, most_per_organization, busy or {}, LEASE)


def make_attempt(claim: Claim, outcome: Outcome | None = None) -> Attempt:
    """Return the log of an attempt, which succeeded unless it is said otherwise."""
    return Attempt(claim.number, NOW, "GET", "http://receiver.example/pb?c=1", outcome or OK)


OK = Outcome(Failure.NONE, status=200, body=b"OK\xff\x00", duration=timedelta(milliseconds=12))
BROKEN = Outcome(Failure.STATUS, status=500, body=b"no", duration=timedelta(milliseconds=7))
CUT = Outcome(Failure.RESET, detail="the connection broke")
GONE = Outcome(Failure.STATUS, status=410)

"""What became of a conversion, as the queue keeps it, and which webhooks want to know. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from attribution_svc.webhooks.webhook import EventKind, Webhook
from rule_language.evaluate import Fact, Facts, Test, compile_test
from rule_language.predicate import Predicate

Json: TypeAlias = Any  # what a JSON parser returns: anything
MICROS = 1_000_000
TOLD = frozenset(
    {
        "conversion_id", "event_id", "event", "status", "original_status", "payout", "revenue", "currency", "order_id",
        "conversion_time", "timestamp", "click_id", "external_click_id", "campaign_id", "rule_id", "destination_id",
        "source", "medium", "user_id",
    }
)  # fmt: skip
"""Macros that a conversion fills by itself."""
OWN_FIELDS = frozenset({"event_type", "value", "hour", "weekday", "date"})
"""Fields of the rule language that are a conversion's own."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A conversion at one moment."""

    conversion_id: str
    conversion_type: str
    event_type: str = ""
    """The word of the sender for it."""
    status: str = ""
    value_micros: int | None = None
    """What it is worth now, refunds taken off; None: nobody named an amount."""
    gross_micros: int | None = None
    """Before refunds."""
    refunded_micros: int = 0
    currency: str = ""
    order_id: str = ""
    conversion_time: datetime | None = None
    click_id: str = ""
    """Ours, of the click that it goes back to; empty while it is an orphan."""
    external_click_id: str = ""
    touch_event_id: str = ""
    touch_time: datetime | None = None
    campaign_id: str = ""
    rule_id: str = ""
    destination_id: str = ""
    source: str = ""
    medium: str = ""
    channel: str = ""
    network: str = ""
    """Who sent it, by its own words."""
    user_id: str = ""
    orphan_reason: str = ""
    merged_into: str = ""
    """The conversion that it is part of by other rules; empty: it stands for itself."""
    is_counted: bool = True
    is_test: bool = False

    @property
    def is_linked(self) -> bool:
        """It is known where it comes from."""
        return bool(self.touch_event_id or self.campaign_id)


@dataclass(frozen=True, slots=True)
class Click:
    """What is known of the click that a conversion goes back to."""

    values: Mapping[str, str] = field(default_factory=dict)
    """By macro name."""
    params: Mapping[str, str] = field(default_factory=dict)
    """The first value by name."""


Touch: TypeAlias = tuple[str, str]
"""Organisation and event of a click."""


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the log of changes."""

    organization_id: str
    change_id: int
    """Rises in the order of commits."""
    kind: EventKind
    change_time: datetime
    conversion: Conversion
    previous: Conversion | None = None
    """As it was before; None for a new one."""
    click: Click = Click()


def macro_values(change: Change) -> dict[str, str]:
    """Return what macros stand for, by name; parameters are not among them. What is not known is left out."""
    conversion = change.conversion
    payout = "" if conversion.value_micros is None else decimal_text(conversion.value_micros)
    own = {
        "conversion_id": conversion.conversion_id,
        "event_id": conversion.conversion_id,
        "event": conversion.conversion_type,
        "status": conversion.status,
        "original_status": conversion.event_type,
        "payout": payout,
        "revenue": payout,
        "currency": conversion.currency,
        "order_id": conversion.order_id,
        "conversion_time": _seconds(conversion.conversion_time),
        "timestamp": _seconds(change.change_time),
        "click_id": conversion.click_id,
        "external_click_id": conversion.external_click_id,
        "campaign_id": conversion.campaign_id,
        "rule_id": conversion.rule_id,
        "destination_id": conversion.destination_id,
        "source": conversion.source,
        "medium": conversion.medium,
        "user_id": conversion.user_id,
    }
    return {**change.click.values, **{name: value for name, value in own.items() if value}}


def touch_of(change: Change) -> Touch:
    """Return the click that the conversion goes back to."""
    return change.organization_id, change.conversion.touch_event_id


def decimal_text(micros: int) -> str:
    """Write an amount with at least two places: 12500000 is `12.50`."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), MICROS)
    places = f"{rest:06}"
    return f"{sign}{whole}.{places[:2]}{places[2:].rstrip('0')}"


def heard_by(webhook: Webhook, change: Change) -> Change | None:
    """Return the change as the webhook hears of it; None: it does not. Its condition is not asked yet.

    One that waits for clicks hears of a conversion as created when it is first known where it comes from.
    """
    if webhook.definition.waits_for_click:
        if not change.conversion.is_linked:
            return None
        is_first = change.previous is not None and not change.previous.is_linked
        if is_first and EventKind.CREATED in webhook.definition.event_kinds:
            change = replace(change, kind=EventKind.CREATED, previous=None)
    return change if _is_wanted(webhook, change) else None


def _is_wanted(webhook: Webhook, change: Change) -> bool:
    wanted, conversion = webhook.definition, change.conversion
    return (
        webhook.is_enabled
        and change.kind in wanted.event_kinds
        and (not wanted.campaign_ids or conversion.campaign_id in wanted.campaign_ids)
        and (not wanted.conversion_types or conversion.conversion_type in wanted.conversion_types)
        and (not wanted.statuses or conversion.status in wanted.statuses)
        and not conversion.is_test
    )


def meets_condition(webhook: Webhook, change: Change) -> bool:
    """Whether the condition holds; one on what nobody could tell does not."""
    if webhook.definition.condition is None:
        return True
    return _test_of(webhook.definition.condition)(_facts(change)) is True


@lru_cache(1024)
def _test_of(condition: Predicate) -> Test:
    return compile_test(condition)


def _facts(change: Change) -> Facts:
    values = macro_values(change)
    fields: dict[str, Fact] = {name: values[name].encode() for name in _TEXT_FIELDS if name in values}
    micros = change.conversion.value_micros
    fields |= {
        "event_type": change.conversion.conversion_type.encode(),
        "value": None if micros is None else Decimal(micros) / MICROS,
        "asn": int(values["asn"]) if values.get("asn", "").isdecimal() else None,
        "is_bot": None,
    }
    params = {name.encode(): value.encode() for name, value in change.click.params.items()}
    when = change.conversion.conversion_time or change.change_time
    return Facts(int(when.timestamp() * 1000), fields, params)


_TEXT_FIELDS = (
    "source", "medium", "campaign", "country", "region", "city", "device_type", "os", "browser", "language", "referer",
    "ip", "user_agent",
)  # fmt: skip


def value_of(change: Change) -> Callable[[str], bytes]:
    """Return what a macro's name stands for, as templates ask for it."""
    values = macro_values(change)

    def find(name: str) -> bytes:
        if name.startswith("param:"):
            return change.click.params.get(name.removeprefix("param:"), "").encode()
        return values.get(name, "").encode()

    return find


def _seconds(instant: datetime | None) -> str:
    return "" if instant is None else str(int(instant.timestamp()))

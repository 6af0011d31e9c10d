"""Makes conversions of the events of one order: a pure function of the set of events and of the organisation's rules.

The order in which events came in, repeats of them, and how often it is done again make no difference. Values of the
events' shares add up to those of the conversions, in each currency.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from attribution_svc.conversions.conversion import Conversion, Folded, Share
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.rules import REFUND, Choice, Rules, type_of
from enrichment.status import Status
from enrichment.values import LARGEST_MICROS

_MOST_REFERENCES = 16


class _Draft:
    """A conversion in the making."""

    def __init__(self, conversion_type: str, events: Sequence[ConversionEvent], statuses: Sequence[str]) -> None:
        self.conversion_type = conversion_type
        self.events = list(events)
        self.begin = events[0]
        self.status = _lasting(statuses)
        self.values: dict[str, int] = {}
        """What its events give, by their ids."""
        self.currency = ""
        self.is_currency_assumed = False
        self.refunded = 0

    @property
    def gross(self) -> int | None:
        return sum(self.values.values()) if self.values else None

    @property
    def is_counted(self) -> bool:
        return not (self.begin.is_test or self.status == Status.REJECTED or self.conversion_type == REFUND)

    @property
    def left(self) -> int:
        return (self.gross or 0) - self.refunded if self.is_counted else 0


def fold(events: Iterable[ConversionEvent], rules: Rules) -> Folded:
    """Return what the events of one group amount to."""
    in_order = sorted({event.event_id: rules.priced(event) for event in events}.values(), key=_place)
    statuses = {event.event_id: rules.status(event) for event in in_order}
    shares = {event.event_id: Share(status=statuses[event.event_id]) for event in in_order}
    refunds = [event for event in in_order if _is_refund(event, statuses[event.event_id])]
    taken_back = {event.event_id for event in refunds}
    by_type: dict[str, list[ConversionEvent]] = {}
    for event in in_order:
        if event.event_id not in taken_back:
            by_type.setdefault(type_of(event), []).append(event)
    drafts: list[_Draft] = []
    for conversion_type, members in by_type.items():
        choice = rules.policy(conversion_type).choice
        pieces = [[member] for member in members] if choice is Choice.PER_EVENT else [members]
        drafts += [_draft(conversion_type, piece, statuses, choice) for piece in pieces]
    if not drafts and refunds:
        drafts.append(_Draft(REFUND, [refunds[0]], [Status.REFUNDED]))
    for draft in drafts:
        _share_out(draft, shares)
    drafts.sort(key=lambda draft: _place(draft.begin))
    for refund in refunds:
        _take_back(refund, statuses[refund.event_id], drafts, shares)
    return Folded(tuple(_made(draft) for draft in drafts), shares)


def _place(event: ConversionEvent) -> tuple[object, str]:
    return event.event_time, event.event_id


def _is_refund(event: ConversionEvent, status: str) -> bool:
    if event.is_test:
        return False
    return event.is_refund_word or status == Status.REFUNDED or (event.value_micros or 0) < 0


def _lasting(statuses: Collection[str]) -> str:
    """Return the status of all: the last that decides, or else the furthest. A late `lead` undoes no sale."""
    decided = [status for status in statuses if status in (Status.SALE, Status.REJECTED)]
    if decided:
        return decided[-1]
    return next((status for status in (Status.LEAD, Status.UNMAPPED) if status in statuses), "")


def _draft(conversion_type: str, events: Sequence[ConversionEvent], statuses: dict[str, str], choice: Choice) -> _Draft:
    draft = _Draft(conversion_type, events, [statuses[event.event_id] for event in events])
    told = [event for event in events if event.value_micros is not None]
    # The amounts of the stage that it has reached: what a sale is worth, and not what was hoped of the lead.
    worth = [event for event in told if statuses[event.event_id] == draft.status] or told
    if not worth:
        return draft
    draft.currency = worth[-1].currency if choice is Choice.LAST else worth[0].currency
    worth = [event for event in worth if event.currency == draft.currency]
    match choice:
        case Choice.SUM:
            chosen = _summable(worth)
        case Choice.LAST:
            chosen = worth[-1:]
        case Choice.MAX:
            chosen = [max(worth, key=lambda event: event.value_micros or 0)]
        case _:
            chosen = worth[:1]
    draft.values = {event.event_id: event.value_micros or 0 for event in chosen}
    draft.is_currency_assumed = any(event.is_currency_assumed for event in chosen)
    return draft


def _summable(worth: Sequence[ConversionEvent]) -> list[ConversionEvent]:
    """Return the events whose sum a column holds; one that would go beyond is left out."""
    total, chosen = 0, []
    for event in worth:
        value = event.value_micros or 0
        if total + value <= LARGEST_MICROS:
            total += value
            chosen.append(event)
    return chosen


def _share_out(draft: _Draft, shares: dict[str, Share]) -> None:
    """Say what each of its events counts for: the first is the conversion, every value stays where it was named."""
    if not draft.is_counted:
        return
    begin = draft.begin.event_id
    for event_id in (begin, *draft.values):
        value = draft.values.get(event_id)
        shares[event_id] = replace(
            shares[event_id],
            is_conversion=event_id == begin,
            is_adjustment=event_id != begin,
            value_micros=value,
            currency=draft.currency if value is not None else "",
        )


def _take_back(refund: ConversionEvent, status: str, drafts: Sequence[_Draft], shares: dict[str, Share]) -> None:
    """Take a refund off the conversions of its order, the last that had begun by then first, and never below 0.

    ``drafts`` are in the order in which they began.
    """
    count = bisect_right(drafts, _place(refund), key=lambda draft: _place(draft.begin))
    # The latest before it, then those that began after it, in their order.
    chosen = [*reversed(drafts[:count]), *drafts[count:]]
    chosen = [draft for draft in chosen if not refund.currency or draft.currency in ("", refund.currency)]
    if not chosen:
        chosen = list(drafts[:1])
        amount: int | None = 0  # in another currency: kept with the order, and taken off nothing
    else:
        amount = None if refund.value_micros is None else abs(refund.value_micros)
    if status == Status.REJECTED:
        amount = 0  # the refund was refused
    taken, currency = 0, next((draft.currency for draft in chosen if draft.left), "")
    for draft in chosen:
        piece = draft.left if amount is None else min(draft.left, amount - taken)
        if piece > 0 and draft.currency == currency:
            draft.refunded, taken = draft.refunded + piece, taken + piece
    for draft in chosen[:1]:
        if refund is not draft.begin:
            draft.events.append(refund)
        if amount is None and draft.is_counted and not draft.gross:
            draft.status = Status.REFUNDED
    if taken:
        shares[refund.event_id] = Share(False, True, -taken, currency, Status.REFUNDED)


def _made(draft: _Draft) -> Conversion:
    events, begin = sorted(draft.events, key=_place), draft.begin
    gross = draft.gross
    status = draft.status
    if draft.is_counted and gross and draft.refunded == gross:
        status = Status.REFUNDED
    references = dict.fromkeys(reference for event in events for reference in event.click_references)
    return Conversion(
        organization_id=begin.organization_id,
        conversion_id=begin.event_id,
        group_key=begin.group_key,
        conversion_type=draft.conversion_type,
        event_type=begin.event_type,
        order_id=begin.order_id,
        status=str(status),
        is_counted=draft.is_counted,
        value_micros=None if gross is None else (gross - draft.refunded if draft.is_counted else 0),
        gross_micros=gross,
        refunded_micros=draft.refunded,
        currency=draft.currency,
        is_currency_assumed=draft.is_currency_assumed,
        is_test=begin.is_test,
        conversion_time=begin.conversion_time,
        create_time=begin.event_time,
        last_event_time=events[-1].event_time,
        event_ids=tuple(event.event_id for event in events),
        click_references=tuple(references)[:_MOST_REFERENCES],
        network=next((event.network for event in events if event.network), ""),
        user_id=next((event.user_id for event in events if event.user_id), ""),
        marks=tuple(dict.fromkeys(mark for event in events for mark in event.marks)),
    )

"""How an organisation wants its conversions read: which of an order's events count, and what a status means."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from attribution_svc.conversions.event import ConversionEvent, folded
from enrichment.conversion_reading import POSTBACK, TYPE_NAMES
from enrichment.conversions import STATUS_NAMES
from enrichment.status import VOCABULARY, Status, read_status

REFUND = "refund"
"""The type of what takes money back."""
LIFE = "conversion"
"""The type of the stages of one life (lead, sale, approved, rejected…) and of what has no word of its own."""
ALL_TYPES = "*"
DEFAULT_LOOKBACK_DAYS = 30
_STAGES = "approved approve confirmed confirm sale sell paid payed accepted pending lead hold wait waiting processing"
_LIFE_WORDS = frozenset(_STAGES.split()) | VOCABULARY[Status.REJECTED]
"""Words that are a stage and no happening of their own; `ftd` or `install` are one, whatever else they say."""
_REFUNDED: Mapping[str, Status] = MappingProxyType(
    dict.fromkeys(("refund", "refunded", "chargeback", "charge_back", "chargedback", "reversal"), Status.REFUNDED)
)
DEFAULT_WORDS: Mapping[str, Status] = MappingProxyType(
    {**_REFUNDED, **{word: status for status, words in VOCABULARY.items() for word in words}}
)
"""What words mean where nobody said otherwise."""
_STATUS_NAMES = frozenset(name.decode() for name in STATUS_NAMES)
_TYPE_NAMES = frozenset(name.decode() for name in TYPE_NAMES)
_STAGE_NAMES = _STATUS_NAMES | {"stage"}
"""Parameters that say what became of a conversion, and never what it is."""


class Choice(StrEnum):
    """Which of the events of one order and type make its value."""

    FIRST = "first"
    LAST = "last"
    SUM = "sum"
    MAX = "max"
    PER_EVENT = "per_event"
    """Each event is a conversion of its own."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for a conversion type."""

    choice: Choice = Choice.FIRST
    lookback_days: int = DEFAULT_LOOKBACK_DAYS
    """A conversion whose click is older is marked."""


_NO_POLICIES: Mapping[str, Policy] = MappingProxyType({})
_NO_CURRENCIES: Mapping[str, str] = MappingProxyType({})
_NO_WORDS: Mapping[str, Mapping[str, Status]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rules:
    """All of an organisation's."""

    policies: Mapping[str, Policy] = field(default_factory=lambda: _NO_POLICIES)
    """By conversion type; ``ALL_TYPES`` is for all others."""
    vocabularies: Mapping[str, Mapping[str, Status]] = field(default_factory=lambda: _NO_WORDS)
    """By network, then by word, both in lower case; the empty network is for all others."""

    currencies: Mapping[str, str] = field(default_factory=lambda: _NO_CURRENCIES)
    """ISO 4217, by network: what an amount without a currency is in."""

    def policy(self, conversion_type: str) -> Policy:
        """Return what holds for a conversion type."""
        return self.policies.get(conversion_type) or self.policies.get(ALL_TYPES) or Policy()

    def status(self, event: ConversionEvent) -> str:
        """Say what an event's status means: a ``Status``, empty where nobody speaks of one."""
        words = {**_REFUNDED, **self.vocabularies.get("", {})}
        if event.network:
            words |= self.vocabularies.get(event.network, {})
        found = ""
        if event.status_text and (event.route == POSTBACK or event.status_name in _STATUS_NAMES):
            found = _read(event.status_text, words)
        if found in ("", Status.UNMAPPED) and folded(event.event_type) in _LIFE_WORDS:
            return _read(event.event_type, words)
        if found == Status.UNMAPPED and event.status_name in _TYPE_NAMES:
            return ""  # `event=purchase` is no status that nobody mapped
        return found

    def priced(self, event: ConversionEvent) -> ConversionEvent:
        """Return an event with the currency that its network means where it names none."""
        if event.value_micros is None or event.currency:
            return event
        currency = self.currencies.get(event.network) or self.currencies.get("", "")
        return replace(event, currency=currency, is_currency_assumed=True) if currency else event


def type_of(event: ConversionEvent) -> str:
    """Return the conversion type that policies speak of; the stages of one life are of one type."""
    if event.is_refund_word:
        return REFUND
    is_stage = event.is_type_status and event.status_name in _STAGE_NAMES
    return LIFE if is_stage or folded(event.event_type) in _LIFE_WORDS else event.event_type


def _read(text: str, words: Mapping[str, Status]) -> str:
    return read_status(text.encode(), words).status.value

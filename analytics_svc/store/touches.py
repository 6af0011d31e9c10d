"""What a conversion takes from the click that it goes back to, as SQL over rows of ``events``.

A conversion's touch: of its references, in order, the first that is the ``click_id`` or the ``external_click_id`` of
any click of its organisation; of these clicks the latest that is not after the conversion, else the earliest. So more
clicks can only give it another one, never take it away. What it had of its own stays in ``own``, in the order of
``TAKEN``, and each link is made from that: it does not matter which clicks it was given before.
"""

from collections.abc import Mapping
from types import MappingProxyType

NIL = "toUUID('00000000-0000-0000-0000-000000000000')"
CONVERSION = "(conversion_event != '' AND event_type != 'click')"
"""The event may go back to a click. A click never does, so what a conversion takes is always a click's own.

Whether it counts, which a verdict may change, says nothing of it."""
IDS = "arrayDistinct(arrayFilter(id -> id != '', [click_id, external_click_id]))"
"""The ids that a click is found by."""
REFERENCES = "arrayDistinct(arrayFilter(id -> id != '', references))"

_TEXT, _MAYBE_TEXT, _MAYBE_UINT32 = "String", "Nullable(String)", "Nullable(UInt32)"
_USER = {"user_id": _TEXT}
_TRAFFIC = {
    "source": _TEXT,
    "medium": _TEXT,
    "channel": _TEXT,
    "campaign": _TEXT,
    "campaign_id": _TEXT,
    "campaign_version": "UInt32",
    "rule_id": _TEXT,
    "destination_id": _TEXT,
    "source_campaign_id": _TEXT,
    "term": _TEXT,
    "content": _TEXT,
    "placement": _TEXT,
    "traffic_rule": _TEXT,
}
_PLACE = {
    "country": _MAYBE_TEXT,
    "region": _MAYBE_TEXT,
    "city": _MAYBE_TEXT,
    "asn": _MAYBE_UINT32,
    "device_type": _TEXT,
    "device": _TEXT,
    "os": _TEXT,
    "os_version": _TEXT,
    "browser": _TEXT,
    "browser_version": _TEXT,
    "language": _TEXT,
    "is_bot": "UInt8",
    "fraud_score": "Float32",
    # The last one: its values stand at the end of `own`.
    "bot_reasons": "Array(String)",
}
TAKEN: Mapping[str, str] = MappingProxyType({**_USER, **_TRAFFIC, **_PLACE})
"""The columns that a conversion may take from its click, with their plain types."""
SETTLED: Mapping[str, str] = MappingProxyType(
    {
        **TAKEN,
        "session_id": "String",
        "touch_event_id": "UUID",
        "touch_time": "Nullable(DateTime64(3, 'UTC'))",
        "own": "Array(Nullable(String))",
        "tags": "Array(String)",
        "routed": "Array(String)",
    }
)
"""Every column that settling gives a value, but for what verdicts say."""
CAMPAIGN = ("campaign_id", "campaign_version", "rule_id")
"""The columns that say whose an event is. A claim changes them, and they are taken from the click."""
TAKES_TRAFFIC = "traffic_rule = 'click'"
"""A linked conversion has its campaign from its click."""
JUDGED: Mapping[str, str] = MappingProxyType(
    {
        "is_conversion": "UInt8",
        "is_adjustment": "UInt8",
        "value": "Nullable(Decimal(18, 6))",
        "currency": _TEXT,
        "conversion_status": _TEXT,
        "told": "Array(Nullable(String))",
    }
)
"""The columns that a verdict gives a value."""

# A network's server, or a library on the seller's, is what such an event is expected to come from.
_ROUTES_OF_SERVERS = "('postback', 'rpc', 'events', 'batch')"
_IS_A_SERVER = (
    f"{CONVERSION} AND route IN {_ROUTES_OF_SERVERS}"
    " AND notEmpty(bot_reasons) AND hasAll(['library_client', 'empty_user_agent'], bot_reasons)"
)
PEOPLE: Mapping[str, str] = MappingProxyType(
    {
        "is_bot": f"if(is_bot = 1 AND {_IS_A_SERVER}, 0, is_bot)",
        "fraud_score": f"if(is_bot = 1 AND {_IS_A_SERVER}, 0, fraud_score)",
    }
)
"""What a conversion is marked as by itself: not a robot for having been sent by a server's library."""

_TAKES_USER = "(c.route = 'postback' OR c.user_id = '')"
_TAKES_TRAFFIC = "(c.route = 'postback' OR c.traffic_rule IN ('direct', ''))"
_TAKES_PLACE = "c.route IN ('postback', 'rpc')"


def key_of(expression: str) -> str:
    """Return the SQL of the key of an id, of a row of ``events``."""
    return f"sipHash64(organization_id, {expression})"


def own_values() -> dict[str, str]:
    """Return, by column, the SQL of what a row had of its own before it was settled, and before any overlay."""
    unclaimed = unclaimed_values()
    return {
        **{
            name: f"if(empty(own), {unclaimed.get(name, name)}, {_kept(number, name)})"
            for number, name in enumerate(TAKEN, 1)
        },
        "tags": f"if(empty(own), {unclaimed['tags']}, tags)",
        "session_id": "''",
        "touch_event_id": NIL,
        "touch_time": "NULL",
        "own": "[]",
        "routed": "[]",
        "is_conversion": "if(empty(told), is_conversion, toUInt8(ifNull(told[1], '') = '1'))",
        "is_adjustment": "0",
        "value": OWN_VALUE,
        "currency": "if(empty(told), currency, ifNull(told[3], ''))",
        "conversion_status": "if(empty(told), conversion_status, ifNull(told[4], ''))",
        "told": "[]",
    }


OWN_VALUE = "if(empty(told), value, toDecimal64OrNull(told[2], 6))"
"""What the event says that it brought, whatever a verdict says."""


def unclaimed_values() -> dict[str, str]:
    """Return, by column, the SQL of what routing said of a row that is not linked."""
    return {
        "campaign_id": "if(empty(routed), campaign_id, routed[1])",
        "campaign_version": "if(empty(routed), campaign_version, toUInt32OrZero(routed[2]))",
        "rule_id": "if(empty(routed), rule_id, routed[3])",
        "tags": "if(empty(routed), CAST(tags, 'Array(String)'), arraySlice(routed, 4))",
        "routed": "[]",
    }


def _kept(number: int, name: str) -> str:
    of_type = TAKEN[name]
    if of_type == _TEXT:
        return f"ifNull(own[{number}], '')"
    if of_type == _MAYBE_TEXT:
        return f"own[{number}]"
    if of_type == _MAYBE_UINT32:
        return f"toUInt32OrNull(own[{number}])"
    if of_type.startswith("Array"):
        return f"arrayMap(reason -> ifNull(reason, ''), arraySlice(own, {number}))"
    return f"to{of_type}OrZero(ifNull(own[{number}], ''))"


def linked_values(session_id: str) -> dict[str, str]:
    """Return, by column, the SQL of a linked conversion: ``c`` is its own row, ``k`` its click."""
    single = [f"CAST(c.{name}, 'Nullable(String)')" for name in TAKEN if name != "bot_reasons"]
    return {
        **_taken(_USER, _TAKES_USER),
        **_taken(_TRAFFIC, _TAKES_TRAFFIC),
        **_taken(_PLACE, _TAKES_PLACE),
        "traffic_rule": f"if({_TAKES_TRAFFIC}, 'click', c.traffic_rule)",
        "session_id": session_id,
        "touch_event_id": "k.event_id",
        "touch_time": "k.event_time",
        "own": f"arrayConcat([{', '.join(single)}], CAST(c.bot_reasons, 'Array(Nullable(String))'))",
        "tags": "c.tags",
        "routed": f"if({_TAKES_TRAFFIC}, arraySlice(k.routed, 1, 3), [])",
    }


def _taken(names: Mapping[str, str], condition: str) -> dict[str, str]:
    return {name: f"if({condition}, k.{name}, c.{name})" for name in names}


def replaced(values: Mapping[str, str]) -> str:
    """Return the ``REPLACE`` of a ``SELECT *`` with these values."""
    return "REPLACE (" + ", ".join(f"{value} AS {name}" for name, value in values.items()) + ")"

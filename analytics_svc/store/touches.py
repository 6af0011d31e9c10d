"""What a conversion takes from the click that it goes back to, as SQL over rows of ``events``.

A conversion's touch: of its references, in order, the first that is the ``click_id`` or the ``external_click_id`` of
any click of its organisation; of these clicks the latest that is not after the conversion, else the earliest. So more
clicks can only give it another one, never take it away. What it had of its own stays in ``own``, in the order of
``TAKEN``, and each link is made from that: it does not matter which clicks it was given before.
"""

from collections.abc import Mapping
from types import MappingProxyType

NIL = "toUUID('00000000-0000-0000-0000-000000000000')"
CONVERSION = "((is_conversion = 1 OR conversion_event != '') AND event_type != 'click')"
"""The event may go back to a click. A click never does, so what a conversion takes is always a click's own."""
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
    }
)
"""Every column that settling gives a value."""

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
    """Return, by column, the SQL of what a row had of its own before it was settled."""
    return {
        **{name: f"if(empty(own), {name}, {_kept(number, name)})" for number, name in enumerate(TAKEN, 1)},
        "session_id": "''",
        "touch_event_id": NIL,
        "touch_time": "NULL",
        "own": "[]",
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
    }


def _taken(names: Mapping[str, str], condition: str) -> dict[str, str]:
    return {name: f"if({condition}, k.{name}, c.{name})" for name in names}


def replaced(values: Mapping[str, str]) -> str:
    """Return the ``REPLACE`` of a ``SELECT *`` with these values."""
    return "REPLACE (" + ", ".join(f"{value} AS {name}" for name, value in values.items()) + ")"

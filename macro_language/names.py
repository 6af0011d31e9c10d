"""What macros can be asked for."""

from collections.abc import Mapping
from types import MappingProxyType

CLICK = frozenset(
    {
        "click_id", "external_click_id", "event_id", "user_id", "campaign_id", "slug", "rule_id", "destination_id",
        "source", "medium", "campaign", "term", "content", "placement", "cost",
        "country", "region", "city", "asn", "ip", "user_agent", "device_type", "device", "os", "os_version", "browser",
        "browser_version", "language", "referer", "referer_host", "host", "date", "timestamp",
    }
)  # fmt: skip
"""Of a click, in the URL of a destination."""

CONVERSION = CLICK | frozenset(
    {
        "conversion_id", "event", "status", "original_status", "payout", "revenue", "currency", "order_id",
        "conversion_time",
    }
)  # fmt: skip
"""Of a conversion, in the URL of an outgoing postback."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "clickid": "click_id", "subid": "click_id",
        "external_id": "external_click_id", "externalid": "external_click_id",
        "visitor_id": "user_id", "keyword": "term", "creative": "content", "zoneid": "placement",
        "zone_id": "placement", "isp": "asn", "device_model": "device", "referrer": "referer",
        "stream_id": "rule_id", "offer_id": "destination_id",
        "tid": "order_id", "transaction_id": "order_id", "txid": "order_id", "et": "event", "sum": "payout",
    }
)  # fmt: skip
"""Other spellings that people bring along."""

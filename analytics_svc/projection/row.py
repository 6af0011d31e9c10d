"""A row of ``events`` before it is settled among the others, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter

from analytics_svc.projection import row_binary as rb


@dataclass(slots=True)
class Row:
    """Columns of ``events`` by the same names. Money is in micros, instants are in Unix milliseconds."""

    organization_id: str
    event_id: str
    event_time: int
    client_time: int | None = None
    event_type: bytes = b""
    route: str = ""
    marks: tuple[str, ...] = ()
    click_id: str = ""
    external_click_id: bytes = b""
    gateway_click_id: bytes = b""
    """What the gateway took for it, where a mapping knew better."""
    user_id: str = ""
    source: str = ""
    medium: str = ""
    channel: str = ""
    traffic_rule: str = ""
    campaign: str = ""
    campaign_id: str = ""
    campaign_version: int = 0
    rule_id: str = ""
    destination_id: str = ""
    tags: tuple[str, ...] = ()
    partner_id: str = ""
    network: str = ""
    source_campaign_id: bytes = b""
    term: bytes = b""
    content: bytes = b""
    placement: bytes = b""
    country: str | None = None
    region: str | None = None
    city: str | None = None
    asn: int | None = None
    device_type: str = ""
    device: str = ""
    os: str = ""
    os_version: str = ""
    browser: str = ""
    browser_version: str = ""
    language: str = ""
    is_bot: int = 0
    bot_reasons: tuple[str, ...] = ()
    scheme: str = ""
    host: bytes = b""
    path: bytes = b""
    url: bytes = b""
    referer: bytes = b""
    referer_host: str = ""
    user_agent: bytes = b""
    ip: str = ""
    params: Mapping[bytes, bytes] = field(default_factory=dict)
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    conversion_event: bytes = b""
    conversion_status: str = ""
    is_conversion: int = 0
    value: int | None = None
    currency: str = ""
    order_id: bytes = b""
    conversion_time: int | None = None
    references: tuple[bytes, ...] = ()
    cost: int | None = None
    cost_currency: str = ""
    trace_id: str = ""
    enrichment_version: int = 0
    mapping_versions: tuple[str, ...] = ()


_ENCODERS: dict[str, rb.Encode] = {
    "event_id": rb.uuid,
    **dict.fromkeys(("event_time",), rb.int64),
    **dict.fromkeys(("client_time", "conversion_time", "value", "cost"), rb.nullable(rb.int64)),
    **dict.fromkeys(("marks", "tags", "bot_reasons", "references", "mapping_versions"), rb.texts),
    **dict.fromkeys(("country", "region", "city"), rb.nullable(rb.text)),
    **dict.fromkeys(("params", "headers"), rb.text_map),
    **dict.fromkeys(("is_bot", "is_conversion"), rb.uint8),
    "campaign_version": rb.uint32,
    "enrichment_version": rb.uint16,
    "asn": rb.nullable(rb.uint32),
}
COLUMNS = tuple(column.name for column in fields(Row))
"""What the derivation fills. The other columns of ``events`` are settled later, or follow from these."""
_IN_ORDER = [_ENCODERS.get(name, rb.text) for name in COLUMNS]
_values_of = attrgetter(*COLUMNS)


def encode(row: Row) -> bytes:
    """Return the row as RowBinary of ``COLUMNS``. Raise ValueError or struct.error for what no column can hold."""
    return b"".join([encoder(value) for encoder, value in zip(_IN_ORDER, _values_of(row), strict=True)])

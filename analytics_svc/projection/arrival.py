"""A raw event, as far as the reading has a use for it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """The fields of ``trellis.capture.v1.Event`` by the same names."""

    organization_id: str
    event_id: str
    event_time_ms: int
    event_type: bytes = b""
    route: str = ""
    target: bytes = b""
    headers: bytes = b""
    body: bytes = b""
    ip: str = ""
    scheme: str = ""
    host: bytes = b""
    click_id: str = ""
    external_click_id: bytes = b""
    user_id: str = ""
    campaign_id: str = ""
    campaign_version: int = 0
    rule_id: str = ""
    destination_id: str = ""
    tags: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    trace_id: str = ""
    partner_id: str = ""
    network: str = ""


ARRIVAL_FIELDS = tuple(Arrival.__dataclass_fields__)

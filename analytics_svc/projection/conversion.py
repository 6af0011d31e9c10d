"""What an event brought: whether it is a conversion, and what it says of itself."""

from collections.abc import Mapping

from analytics_svc.projection.arrival import Arrival
from analytics_svc.projection.row import Row
from enrichment.conversion_reading import Sent, read_conversion
from enrichment.parameters import Aliases, Found, Parameters


def conversion_of(
    row: Row, arrival: Arrival, parameters: Parameters, aliases: Aliases, found: Mapping[str, Found]
) -> list[str]:
    """Fill the columns of a conversion where the event is one; return what is odd about it."""
    sent = Sent(arrival.event_type, arrival.route, arrival.marks, arrival.click_id, arrival.external_click_id)
    reading = read_conversion(sent, parameters, aliases, found)
    if reading is None:
        return []
    row.value, row.currency = reading.value, reading.currency
    row.conversion_status = reading.status
    row.conversion_event = reading.event
    row.is_conversion = int(reading.is_counted)
    row.conversion_time = row.client_time if row.client_time is not None else row.event_time
    row.order_id = reading.order_id
    row.references = reading.references
    return ["value_unread"] if reading.is_value_unread else []

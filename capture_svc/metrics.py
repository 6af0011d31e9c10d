"""Every metric of capture_svc. The mirror's are in ``mirror/metrics.py``."""

from opentelemetry import metrics

_meter = metrics.get_meter("trellis.capture")

events = _meter.create_counter("trellis.capture.events", unit="{event}", description="Events settled, by outcome")
"""Labels: outcome = stored | duplicate | quarantined | dropped."""

batches = _meter.create_counter("trellis.capture.batches", unit="{batch}", description="Batches settled, by way in")
"""Labels: source = journal | direct | replay."""

insert_seconds = _meter.create_histogram(
    "trellis.capture.insert.duration", unit="s", description="From a batch in hand to its events stored"
)

settle_seconds = _meter.create_histogram(
    "trellis.capture.settle.duration", unit="s", description="From a batch in hand to its receipt stored"
)

store_failures = _meter.create_counter(
    "trellis.capture.store_failures", unit="{failure}", description="Tries that the store did not take"
)

streams = _meter.create_up_down_counter(
    "trellis.capture.streams", unit="{stream}", description="Journal streams that are open"
)

feed_events = _meter.create_counter(
    "trellis.capture.feed.events", unit="{event}", description="Events given to followers"
)
"""Labels: follower."""

read_events = _meter.create_counter(
    "trellis.capture.read_events", unit="{event}", description="Events given to readers of a time range"
)

feed_lag_seconds = _meter.create_gauge(
    "trellis.capture.feed.lag", unit="s", description="Age of a follower's watermark"
)
"""Labels: follower."""

feed_incomplete = _meter.create_counter(
    "trellis.capture.feed.incomplete",
    unit="{read}",
    description="Reads that found fewer events than their receipts say",
)
"""With several ClickHouse replicas now and then; on one server it is a defect."""

ledger_events = _meter.create_gauge(
    "trellis.capture.ledger.events", unit="{event}", description="The ledger of each organisation, by state"
)
"""Labels: organization_id; state = received | stored | duplicate | quarantined | journal | unaccounted. Alert on an
unaccounted that stays away from 0."""

unclaimed_dropped = _meter.create_counter(
    "trellis.capture.unclaimed_dropped", unit="{event}", description="Unclaimed requests over the daily bound"
)

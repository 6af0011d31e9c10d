"""Every metric of attribution_svc, with its unit."""

from opentelemetry import metrics

_meter = metrics.get_meter("attribution_svc")

campaign_changes = _meter.create_counter(
    "trellis.attribution.campaign_changes",
    unit="{change}",
    description="Campaigns created, updated and brought back; `kind` is create, update or activate.",
)
routing_watchers = _meter.create_up_down_counter(
    "trellis.attribution.routing_watchers",
    unit="{stream}",
    description="WatchRouting streams that are open.",
)
routing_messages = _meter.create_counter(
    "trellis.attribution.routing_messages",
    unit="{message}",
    description="Messages sent to watchers; `kind` is snapshot or change.",
)
routing_campaigns = _meter.create_gauge(
    "trellis.attribution.routing_campaigns",
    unit="{campaign}",
    description="Campaigns that this replica feeds to watchers.",
)
routing_sync_time = _meter.create_gauge(
    "trellis.attribution.routing_sync_time",
    unit="s",
    description="Unix time when this replica last read the routing from PostgreSQL: alert when it stands still.",
)
claims_handed_over = _meter.create_counter(
    "trellis.attribution.claims_handed_over",
    unit="{order}",
    description="Claims offered to analytics_svc; `outcome` is taken, waiting (tried again) or refused.",
)
conversion_events = _meter.create_counter(
    "trellis.attribution.conversion_events",
    unit="{event}",
    description="Events of the feed that speak of conversions; `kind` is added, repeated (there already), "
    "or refused by the store: look at the log.",
)
webhook_deliveries_planned = _meter.create_counter(
    "trellis.attribution.webhook_deliveries_planned",
    unit="{delivery}",
    description="Deliveries put into the queues of webhooks.",
)
webhook_attempts = _meter.create_counter(
    "trellis.attribution.webhook_attempts",
    unit="{attempt}",
    description="Requests sent to receivers of webhooks; `failure` says what went wrong (none: nothing), `state` what "
    "became of the delivery. Worry when `dead` rises.",
)
webhook_attempt_seconds = _meter.create_histogram(
    "trellis.attribution.webhook_attempt_seconds",
    unit="s",
    description="How long receivers of webhooks take.",
)
conversion_watermark_time = _meter.create_gauge(
    "trellis.attribution.conversion_watermark_time",
    unit="s",
    description="Unix time before which all that was received is in the conversions, on the replica that keeps them: "
    "worry when it stands still on all.",
)
conversion_matches = _meter.create_counter(
    "trellis.attribution.conversion_matches",
    unit="{conversion}",
    description="Conversions whose click was asked for; `kind` is changed or same.",
)
verdicts = _meter.create_counter(
    "trellis.attribution.verdicts",
    unit="{verdict}",
    description="What the reading was told of events; `outcome` is taken, or refused: look at the log.",
)
webhook_deliveries_due = _meter.create_gauge(
    "trellis.attribution.webhook_deliveries_due",
    unit="{delivery}",
    description="Deliveries whose turn it is, of webhooks that are on; those of a destination that fails among them.",
)
webhook_oldest_due_seconds = _meter.create_gauge(
    "trellis.attribution.webhook_oldest_due_seconds",
    unit="s",
    description="How long the oldest of them has been due: worry when it rises while few attempts fail.",
)
credit_report_seconds = _meter.create_histogram(
    "trellis.attribution.credit_report_seconds",
    unit="s",
    description="How long a report over many visitors took, journeys included.",
)
credited_conversions = _meter.create_counter(
    "trellis.attribution.credited_conversions",
    unit="{conversion}",
    description="Conversions that reports over many visitors credited, once for each report.",
)

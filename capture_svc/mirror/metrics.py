"""Every metric of the mirror, with its unit."""

from opentelemetry import metrics

_meter = metrics.get_meter("capture_svc.mirror")

events = _meter.create_counter(
    "trellis.capture.mirror.events",
    unit="{event}",
    description="Events of settled jobs; `outcome` is loaded, refused (set aside) or missing (alert).",
)
jobs = _meter.create_counter(
    "trellis.capture.mirror.jobs",
    unit="{job}",
    description="Load jobs that ended; `outcome` is loaded, failed (tried again) or refused (bad rows are searched).",
)
failures = _meter.create_counter(
    "trellis.capture.mirror.failures",
    unit="{failure}",
    description="Steps that failed and are tried again: the warehouse or the store is down.",
)
backlog_events = _meter.create_gauge(
    "trellis.capture.mirror.backlog_events",
    unit="{event}",
    description="Stored events that are not in the warehouse yet.",
)
backlog_seconds = _meter.create_gauge(
    "trellis.capture.mirror.backlog_seconds",
    unit="s",
    description="How long ago everything stored was in the warehouse.",
)

"""Every metric of the gateway, named and explained in one place. Values are read when asked for, never pushed."""

from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from ingress_gateway.gateway import Gateway

# name, unit, what it counts, how it is read
_Reader = Callable[[Gateway], float]
_COUNTERS: tuple[tuple[str, str, str, _Reader], ...] = (
    ("trellis.gateway.fast_requests", "{request}", "clicks answered in the fast lane",
     lambda g: g.counters.fast_request_count),
    ("trellis.gateway.slow_connections", "{connection}", "connections that left the fast lane",
     lambda g: g.counters.slow_request_count),
    ("trellis.gateway.redirects", "{request}", "redirects answered", lambda g: g.counters.redirect_count),
    ("trellis.gateway.late_redirects", "{request}", "redirects that left before their event was on disk",
     lambda g: g.counters.late_redirect_count),
    ("trellis.gateway.unrecorded_redirects", "{request}", "redirects whose event could not be written: page somebody",
     lambda g: g.counters.unrecorded_redirect_count),
    ("trellis.gateway.unrecorded_pixels", "{request}", "pixels whose event could not be written",
     lambda g: g.counters.unrecorded_pixel_count),
    ("trellis.gateway.unclaimed", "{request}", "requests of unknown hosts and keys",
     lambda g: g.counters.unclaimed_count),
    ("trellis.gateway.unclaimed_dropped", "{request}", "of those, beyond the rate that is kept",
     lambda g: g.counters.unclaimed_dropped_count),
    ("trellis.gateway.refused_requests", "{request}", "answered 4xx", lambda g: g.counters.refused_request_count),
    ("trellis.gateway.timed_out_connections", "{connection}", "closed because headers came too slowly",
     lambda g: g.counters.timed_out_connection_count),
    ("trellis.gateway.refused_connections", "{connection}", "closed at the limit of open connections",
     lambda g: g.counters.refused_connection_count),
    ("trellis.gateway.server_errors", "{request}", "answered 500: each is a defect",
     lambda g: g.counters.server_error_count),
    ("trellis.gateway.journal_events", "{event}", "events written and synced",
     lambda g: g.journal.counters.written_event_count),
    ("trellis.gateway.journal_written", "By", "bytes of events written",
     lambda g: g.journal.counters.written_byte_count),
    ("trellis.gateway.journal_groups", "{group}", "group commits", lambda g: g.journal.counters.group_count),
    ("trellis.gateway.journal_write_time", "s", "time in writes and their syncs",
     lambda g: g.journal.counters.write_seconds),
    ("trellis.gateway.journal_failed_events", "{event}", "events that no directory took",
     lambda g: g.journal.counters.failed_event_count),
    ("trellis.gateway.journal_refused_events", "{event}", "events refused at a bound",
     lambda g: g.journal.counters.refused_event_count),
    ("trellis.gateway.journal_abandoned_segments", "{segment}", "files given up after a failed write",
     lambda g: g.journal.counters.abandoned_segment_count),
    ("trellis.gateway.journal_damaged", "{stretch}", "damaged stretches set aside at start",
     lambda g: g.journal.counters.damaged_count),
    ("trellis.gateway.shipped_batches", "{batch}", "batches sent to capture_svc, repeats included",
     lambda g: g.shipper.shipped_batch_count),
)  # fmt: skip
_GAUGES: tuple[tuple[str, str, str, _Reader], ...] = (
    ("trellis.gateway.journal_pending_events", "{event}", "events on disk and not acknowledged: the backlog",
     lambda g: g.journal.backlog.event_count),
    ("trellis.gateway.journal_disk", "By", "bytes of journal files", lambda g: g.journal.disk_bytes),
    ("trellis.gateway.streams", "{stream}", "open streams of server-sent events", lambda g: g.streams.count),
    ("trellis.gateway.capture_connected", "1", "1 while the stream to capture_svc stands",
     lambda g: g.shipper.is_connected),
    ("trellis.gateway.auth_connected", "1", "1 while keys are watched", lambda g: g.key_watch.is_connected),
    ("trellis.gateway.attribution_connected", "1", "1 while campaigns are watched",
     lambda g: g.routing_watch.is_connected),
)  # fmt: skip


def register_metrics(gateway: Gateway) -> None:
    """Make the instruments; each observation carries the worker's name."""
    meter = metrics.get_meter("trellis.ingress_gateway")
    for name, unit, description, read in _COUNTERS:
        meter.create_observable_counter(name, [_observer(gateway, read)], unit=unit, description=description)
    for name, unit, description, read in _GAUGES:
        meter.create_observable_gauge(name, [_observer(gateway, read)], unit=unit, description=description)


def _observer(gateway: Gateway, read: _Reader) -> Callable[[CallbackOptions], Iterable[Observation]]:
    attributes = {"worker": gateway.settings.name}

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(read(gateway), attributes)

    return observe

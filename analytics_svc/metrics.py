"""Every metric of analytics_svc, with its unit."""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry import metrics

_meter = metrics.get_meter("analytics_svc")

events = _meter.create_counter(
    "trellis.analytics.events",
    unit="{event}",
    description="Events that the feed brought; `kind` is added, or repeated for those that were there already.",
)
unreadable_events = _meter.create_counter(
    "trellis.analytics.unreadable_events",
    unit="{event}",
    description="Events of which no more than what the gateway said could be read; each is marked `unreadable`.",
)
write_duration = _meter.create_histogram(
    "trellis.analytics.write_duration",
    unit="s",
    description="Time to write a page of the feed, its bookmark included.",
)
sql_duration = _meter.create_histogram(
    "trellis.analytics.sql_duration",
    unit="s",
    description="Time of an organisation's statement, until its answer was taken; `outcome` is answered, refused, "
    "limit, not_admitted, failed or abandoned.",
)
sql_rows_read = _meter.create_counter(
    "trellis.analytics.sql_rows_read", unit="{row}", description="Rows that organisations' statements read."
)


rederived_events = _meter.create_counter(
    "trellis.analytics.rederived_events",
    unit="{event}",
    description="Events made again by rebuilds and changed mappings.",
)
switch_duration = _meter.create_histogram(
    "trellis.analytics.switch_duration",
    unit="s",
    description="Time for which nothing is written while a month that was made again takes its place.",
)

cached_results = _meter.create_counter(
    "trellis.analytics.cached_results",
    unit="{result}",
    description="Results of reports that were asked for; `outcome` is hit, joined (one was being made), made, or "
    "ignored (what the cache gave back could not be used, and one was made or joined).",
)


def report_admission(running: Callable[[], Mapping[str, int]], waiting: Callable[[], Mapping[str, int]]) -> None:
    """Report how many queries run and wait, by ``kind``, whenever metrics are read."""

    def observed(read: Callable[[], Mapping[str, int]]) -> Callable[..., Iterable[metrics.Observation]]:
        return lambda _options: [metrics.Observation(count, {"kind": kind}) for kind, count in read().items()]

    _meter.create_observable_gauge(
        "trellis.analytics.queries_running",
        callbacks=[observed(running)],
        unit="{query}",
        description="Queries that run; `kind` is sql or report.",
    )
    _meter.create_observable_gauge(
        "trellis.analytics.queries_waiting",
        callbacks=[observed(waiting)],
        unit="{query}",
        description="Queries that wait for their turn; `kind` as above.",
    )


realtime_watchers = _meter.create_up_down_counter(
    "trellis.analytics.realtime_watchers",
    unit="{watcher}",
    description="Streams that tell of the last hour and the day.",
)


def report_watermark_age(read: Callable[[], float | None]) -> None:
    """Report what ``read`` returns, in seconds, whenever metrics are read; None reports nothing."""

    def observe(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        age = read()
        return [] if age is None else [metrics.Observation(age)]

    _meter.create_observable_gauge(
        "trellis.analytics.watermark_age",
        callbacks=[observe],
        unit="s",
        description="What was received longer ago than this is in the reading. Grows while the follower stands.",
    )

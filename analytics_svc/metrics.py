"""Every metric of analytics_svc, with its unit."""

from collections.abc import Callable, Iterable

from opentelemetry import metrics

_meter = metrics.get_meter("analytics_svc")

events = _meter.create_counter(
    "trellis.analytics.events",
    unit="{event}",
    description="Events that the feed brought; `kind` is added, or repeated for those that were there already.",
)
write_duration = _meter.create_histogram(
    "trellis.analytics.write_duration",
    unit="s",
    description="Time to write a page of the feed, its bookmark included.",
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

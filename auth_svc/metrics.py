"""Every metric of Warden, by name, with its unit."""

from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

_meter = metrics.get_meter("trellis.auth")

validations = _meter.create_counter(
    "trellis.auth.key_validations", unit="{key}", description="ValidateKey calls by `outcome`: ok, or the reason."
)
acts = _meter.create_counter(
    "trellis.auth.acts", unit="{act}", description="Administrative acts that took effect here, by `action`."
)
key_uses = _meter.create_counter(
    "trellis.auth.key_uses_reported", unit="{use}", description="Last uses of keys that gateways reported."
)
watchers = _meter.create_up_down_counter(
    "trellis.auth.watchers", unit="{stream}", description="Open WatchKeys streams."
)
anomalies = _meter.create_counter(
    "trellis.auth.directory_anomalies",
    unit="{anomaly}",
    description="Times the store was older than what we know, by `kind`: went_back, revived_key or revived_partner.",
)


def observe_directory(revision: Callable[[], int], age_seconds: Callable[[], float], keys: Callable[[], int]) -> None:
    """Report the directory of this process: its revision, its size, and for how long it has not been compared."""

    def observing(read: Callable[[], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _options: [Observation(read())]

    _meter.create_observable_gauge(
        "trellis.auth.directory_revision",
        callbacks=[observing(revision)],
        description="Revision that this process knows.",
    )
    _meter.create_observable_gauge(
        "trellis.auth.directory_age",
        callbacks=[observing(age_seconds)],
        unit="s",
        description="Time since the directory was last compared with the store; rises while the store is away.",
    )
    _meter.create_observable_gauge(
        "trellis.auth.directory_keys", callbacks=[observing(keys)], unit="{key}", description="Keys known."
    )

"""Requests whose organisation nobody knows: kept, at a bounded rate, for the operator to look at and replay."""

import time

from ingress_gateway.arrival import Arrival
from ingress_gateway.counters import Counters
from ingress_gateway.journal.waiting import JournalFullError
from ingress_gateway.recorder import Recorder


class Unclaimed:
    """Records them with an empty organisation; capture_svc puts those into its quarantine."""

    def __init__(self, recorder: Recorder, counters: Counters, *, per_second: int) -> None:
        self._recorder = recorder
        self._counters = counters
        self._per_second = per_second
        self._second = 0
        self._kept = 0

    def keep(self, arrival: Arrival, *, route: str, status: int, mark: str) -> str:
        """Keep a request and return its event id, or the empty text when the rate is used up. Nobody waits for it."""
        self._counters.unclaimed_count += 1
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._kept = second, 0
        if self._kept >= self._per_second:
            self._counters.unclaimed_dropped_count += 1
            return ""
        self._kept += 1
        try:
            return self._recorder.record(
                arrival,
                _NOBODY,
                organization_id="",
                route=route,
                event_type=b"",
                status=status,
                marks=(mark,),
                trace_id=arrival.trace()[0],
            )
        except JournalFullError:
            self._counters.unclaimed_dropped_count += 1
            return ""


class _Nobody:
    """Waits for nothing."""

    def settled(self, is_durable: bool) -> None:
        """Whether it is on disk changes no answer."""

    def overdue(self) -> None:
        """The same."""


_NOBODY = _Nobody()

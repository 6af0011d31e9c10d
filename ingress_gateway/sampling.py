"""Decides whether a request is traced before any span exists: an unsampled click costs one comparison."""

import random

from ingress_gateway.arrival import TRACEPARENT, Arrival


class Sampler:
    """Parent-based: a valid traceparent decides; without one, ``ratio`` of requests."""

    def __init__(self, ratio: float, *, is_enabled: bool) -> None:
        self._ratio = ratio if is_enabled else 0.0
        self._is_enabled = is_enabled

    def wants(self, arrival: Arrival) -> bool:
        """Return whether this request gets spans."""
        if not self._is_enabled:
            return False
        if TRACEPARENT in arrival.headers:
            trace_id, is_sampled = arrival.trace()
            if trace_id:
                return is_sampled
        return self._ratio > 0.0 and random.random() < self._ratio  # noqa: S311 - a sample is no secret

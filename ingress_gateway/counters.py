"""What the gateway counts, as plain integers: an increment costs nothing; ``metrics`` reads them when asked."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Since the process began."""

    fast_request_count: int = 0
    """Answered without an aiohttp request, task or response."""
    slow_request_count: int = 0
    redirect_count: int = 0
    late_redirect_count: int = 0
    """Left before the event was on disk: the disk took longer than the budget."""
    unrecorded_redirect_count: int = 0
    """Left without an event: the journal took nothing."""
    unrecorded_pixel_count: int = 0
    unclaimed_count: int = 0
    unclaimed_dropped_count: int = 0
    """Requests of unknown hosts and keys beyond the rate that is kept."""
    refused_request_count: int = 0
    """Answered 4xx by a limit, or not HTTP."""
    timed_out_connection_count: int = 0
    refused_connection_count: int = 0
    server_error_count: int = 0
    """Answers with 500: each is a defect."""

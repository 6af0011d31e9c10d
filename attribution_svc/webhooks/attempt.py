"""What an attempt came to, and what follows from it: another one, when, or none. Pure; randomness comes in."""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FIRST_DELAY = timedelta(seconds=10)
GROWTH = 3
LONGEST_DELAY = timedelta(hours=12)
LEAST_DELAY = timedelta(seconds=1)
LONGEST_RETRY_AFTER = timedelta(hours=12)
MOST_REFUSED_ATTEMPTS = 6
"""Of a delivery that the receiver answers 4xx, which most often means: never."""
KEPT_BODY_BYTES = 2048

OPEN_AFTER_FAILURES = 10
"""In a row, of one destination."""
FIRST_OPEN = timedelta(seconds=30)
LONGEST_OPEN = timedelta(minutes=15)

# 4xx that speak of the moment and not of the message.
_PASSING_STATUSES = frozenset({408, 425, 429})
GONE = 410


class Failure(enum.Enum):
    """Why an attempt failed; `none`: it did not."""

    NONE = "none"
    STATUS = "status"
    """Answered, and not 2xx."""
    TIMEOUT = "timeout"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    RESET = "reset"
    """Cut off, or no HTTP."""
    REFUSED_ADDRESS = "refused_address"
    """An address, a port or a redirect that we do not go to."""
    SECRET = "secret"  # noqa: S105 - a word for a reason
    """A sealed secret cannot be opened: the mesh secret has changed."""
    ABANDONED = "abandoned"
    """We died in the middle; it may have arrived."""
    INTERNAL = "internal"
    """A fault of ours that was not foreseen; it may have arrived."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen of an attempt."""

    failure: Failure
    status: int = 0
    """HTTP status; 0: there was no answer."""
    body: bytes = b""
    """The first 2 KiB of the answer."""
    detail: str = ""
    """For people, without secrets."""
    retry_after: timedelta | None = None
    duration: timedelta = timedelta()

    @property
    def is_success(self) -> bool:
        """It was acknowledged."""
        return self.failure is Failure.NONE

    @property
    def is_refusal(self) -> bool:
        """The receiver understood, and does not want this message, or we may not go there."""
        is_refused_status = 400 <= self.status < 500 and self.status not in _PASSING_STATUSES
        return self.failure is Failure.REFUSED_ADDRESS or (self.failure is Failure.STATUS and is_refused_status)

    @property
    def is_gone(self) -> bool:
        """The receiver wants nothing any more."""
        return self.failure is Failure.STATUS and self.status == GONE


class DeliveryState(enum.Enum):
    """Where a delivery stands."""

    PENDING = "pending"
    """Not tried yet."""
    DELIVERING = "delivering"
    """On its way."""
    FAILED = "failed"
    """Tried, and will be again."""
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    """Given up; can be replayed."""
    CANCELLED = "cancelled"
    """Its webhook was taken away."""


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a delivery."""

    state: DeliveryState
    attempt_time: datetime | None = None
    """When it is tried again."""


def after_attempt(
    outcome: Outcome, *, attempt_count: int, max_attempts: int, expire_time: datetime, now: datetime, jitter: float
) -> Next:
    """Return what follows on an attempt; ``attempt_count`` includes it, ``jitter`` is 0 to 1."""
    if outcome.is_success:
        return Next(DeliveryState.SUCCEEDED)
    most = min(max_attempts, MOST_REFUSED_ATTEMPTS) if outcome.is_refusal else max_attempts
    if outcome.is_gone or attempt_count >= most:
        return Next(DeliveryState.DEAD)
    again = now + delay_after(attempt_count, jitter)
    if outcome.retry_after is not None:
        again = max(again, now + min(outcome.retry_after, LONGEST_RETRY_AFTER))
    if again > expire_time:
        return Next(DeliveryState.DEAD)
    return Next(DeliveryState.FAILED, again)


def delay_after(attempt_count: int, jitter: float) -> timedelta:
    """Return how long to wait after so many attempts: anything up to a limit that grows threefold (full jitter)."""
    # The power is bounded before it is taken: it soon leaves every range.
    growth: int = GROWTH ** min(attempt_count - 1, 20)
    limit = min(FIRST_DELAY * growth, LONGEST_DELAY)
    return max(limit * jitter, LEAST_DELAY)


@dataclass(frozen=True, slots=True)
class Circuit:
    """Keeps a destination that does not work from being asked again and again."""

    failure_count: int = 0
    """In a row."""
    open_until: datetime | None = None
    """Until then nothing is sent; then one request, to see."""

    def allowance(self, wanted: int, now: datetime) -> int:
        """Return how many requests may begin."""
        if self.open_until is None:
            return wanted
        return min(wanted, 1) if self.open_until <= now else 0

    def probed(self, now: datetime, probe_time: timedelta) -> "Circuit":
        """Return it while one request sees whether the destination works again: closed to all others meanwhile."""
        return self if self.open_until is None else replace(self, open_until=now + probe_time)

    def after(self, outcome: Outcome, now: datetime) -> "Circuit":
        """Return it after an attempt. A refusal is an answer: the destination works."""
        if outcome.is_success or outcome.is_refusal:
            return Circuit()
        if outcome.failure in (Failure.SECRET, Failure.ABANDONED, Failure.INTERNAL):
            return self
        count = self.failure_count + 1
        if count < OPEN_AFTER_FAILURES:
            return Circuit(count)
        time = min(FIRST_OPEN * 2 ** min(count - OPEN_AFTER_FAILURES, 10), LONGEST_OPEN)
        return Circuit(count, now + time)


@dataclass(frozen=True, slots=True)
class Pace:
    """Keeps a destination below its rate: how far it has used up its time."""

    used_until: datetime | None = None

    def allowance(self, rate_per_second: int, wanted: int, now: datetime) -> int:
        """Return how many requests may begin now; up to one second's worth at once."""
        if not rate_per_second:
            return wanted
        free = now - self._start(now)
        return min(wanted, int(free.total_seconds() * rate_per_second))

    def after(self, rate_per_second: int, count: int, now: datetime) -> "Pace":
        """Return it after so many requests have begun."""
        if not rate_per_second or not count:
            return self
        return Pace(self._start(now) + timedelta(seconds=count / rate_per_second))

    def _start(self, now: datetime) -> datetime:
        earliest = now - timedelta(seconds=1)
        return earliest if self.used_until is None else max(self.used_until, earliest)

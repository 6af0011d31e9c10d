"""Sending verdicts until the reading has them."""

from collections.abc import Sequence

import pytest

from attribution_svc.conversions.conversion import Share
from attribution_svc.conversions.verdicts import Verdict, VerdictSender
from svc_runtime.errors import Code, TrellisError, UnavailableError
from tests.unit.attribution.conversion.reports import NOON


def as_from_remote(code: Code) -> TrellisError:
    """Return an error as a call gives it: of no class of its own."""
    error = TrellisError("refused")
    error.code = code
    return error


class Outbox:
    """Keeps what is not sent yet, by event."""

    def __init__(self, count: int) -> None:
        self.left = {f"e{n}": Verdict("org_a", f"e{n}", NOON, n + 1, Share(True)) for n in range(count)}

    async def unsent_verdicts(self, *, limit: int) -> list[Verdict]:
        return list(self.left.values())[:limit]

    async def verdicts_sent(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            if self.left.get(verdict.event_id) == verdict:
                del self.left[verdict.event_id]


class Reading:
    """Takes what is good."""

    def __init__(self, *bad: str) -> None:
        self.bad = set(bad)
        self.taken: list[str] = []
        self.is_down = False

    async def put_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        if self.is_down:
            raise UnavailableError("down")
        if self.bad & {verdict.event_id for verdict in verdicts}:
            raise as_from_remote(Code.INVALID_ARGUMENT)
        self.taken += [verdict.event_id for verdict in verdicts]


async def test_what_was_sent_is_not_sent_again() -> None:
    outbox, reading = Outbox(3), Reading()
    assert await VerdictSender(outbox, reading).send_some() == 3
    assert await VerdictSender(outbox, reading).send_some() == 0
    assert reading.taken == ["e0", "e1", "e2"]


async def test_what_was_not_taken_is_sent_again() -> None:
    outbox, reading = Outbox(3), Reading()
    reading.is_down = True
    with pytest.raises(UnavailableError):
        await VerdictSender(outbox, reading).send_some()
    assert len(outbox.left) == 3
    reading.is_down = False
    await VerdictSender(outbox, reading).send_some()
    assert reading.taken == ["e0", "e1", "e2"]


async def test_one_that_is_refused_for_good_keeps_nobody_waiting() -> None:
    outbox, reading = Outbox(9), Reading("e4")
    await VerdictSender(outbox, reading).send_some()
    assert outbox.left == {}
    assert reading.taken == [f"e{n}" for n in range(9) if n != 4]


async def test_an_error_that_passes_is_no_refusal() -> None:
    outbox = Outbox(2)

    class Busy(Reading):
        async def put_verdicts(self, verdicts: Sequence[Verdict]) -> None:
            raise as_from_remote(Code.RATE_LIMITED)

    with pytest.raises(TrellisError):
        await VerdictSender(outbox, Busy()).send_some()
    assert len(outbox.left) == 2


async def test_a_newer_verdict_stays_when_the_older_was_sent() -> None:
    outbox, newer = Outbox(1), Verdict("org_a", "e0", NOON, 9, Share())

    class Overtaking(Reading):
        async def put_verdicts(self, verdicts: Sequence[Verdict]) -> None:
            outbox.left["e0"] = newer

    await VerdictSender(outbox, Overtaking()).send_some()
    assert outbox.left == {"e0": newer}

"""What a journal says of itself, in the ledger."""

import asyncio

import pytest

from svc_runtime.errors import Code
from tests.contract.capture.memory_store import Memory
from tests.contract.capture.things import (
    ORGANIZATIONS,
    SERVICE,
    CaptureClient,
    FakeJournal,
    make_event,
    member,
    refusal,
    running_capture,
)
from trellis.capture.v1 import capture_service_pb2 as pb

pytestmark = pytest.mark.loopback
ACME, GLOBEX, _ = ORGANIZATIONS


async def test_the_ledger_knows_what_is_in_the_journal(capture: CaptureClient) -> None:
    journal = FakeJournal()
    batches = [journal.batch([make_event(), make_event(), make_event(GLOBEX)]) for _ in range(3)]
    async with capture.stream(journal) as stream:
        await stream.say(settled=0, pending={ACME: 6, GLOBEX: 3})
        await stream.settle(batches[0])
        # The word is of before: what was settled since is not in the journal any more.
        assert await capture.balance() == (6, 2, 0, 0, 4)
        await stream.settle(batches[1])
        assert await capture.balance() == (6, 4, 0, 0, 2)
        assert await capture.balance(GLOBEX) == (3, 2, 0, 0, 1)
        await stream.say(settled=batches[1].sequence, pending={ACME: 7, GLOBEX: 1})
        await stream.settle(batches[2])
        assert await capture.balance() == (11, 6, 0, 0, 5)
        await stream.say(settled=batches[2].sequence, pending={})
        await asyncio.sleep(0.05)
        assert await capture.balance() == (6, 6, 0, 0, 0)


async def test_the_last_word_of_a_journal_outlives_the_process(memory: Memory) -> None:
    journal = FakeJournal()
    async with running_capture(memory.stores()) as capture:
        async with capture.stream(journal) as stream:
            await stream.say(settled=0, pending={ACME: 3})
            await stream.settle(journal.batch([make_event()]))
        await capture.parts.words.save()
    async with running_capture(memory.stores()) as capture:
        assert await capture.balance() == (3, 1, 0, 0, 2)


async def test_an_account_of_nothing_is_empty(capture: CaptureClient) -> None:
    assert await capture.balance("org_new") == (0, 0, 0, 0, 0)


async def test_the_ledger_is_the_callers_own(capture: CaptureClient) -> None:
    assert (await refusal(capture.stub.GetLedger(pb.GetLedgerRequest(), metadata=SERVICE))).code in (
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
    )
    assert (
        await refusal(capture.stub.ListQuarantine(pb.ListQuarantineRequest(), metadata=member(ACME)))
    ).code is Code.PERMISSION_DENIED
    assert (
        await refusal(capture.stub.ReplayQuarantine(pb.ReplayQuarantineRequest(), metadata=SERVICE))
    ).code is Code.PERMISSION_DENIED

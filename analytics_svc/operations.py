"""Operations as callers see them: begun, listed, watched, stopped; and done one after the other."""

import asyncio
import contextlib
import secrets
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from analytics_svc.mappings.mappings import MappingChange
from analytics_svc.operation import Kind, Operation, State, shown
from analytics_svc.store import OperationPosition, OperationStore
from svc_runtime.clock import Clock
from svc_runtime.errors import FailedPreconditionError, NotFoundError, TrellisError, UnavailableError
from svc_runtime.logs import get_logger
from svc_runtime.paging import PageTokens, check_page_size
from svc_runtime.tasks import uninterrupted

WATCH_SECONDS = 0.5
"""Watchers hear at most this often."""
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
PATIENCE_SECONDS = 3600.0
"""An operation that fails for so long without getting on is given up."""
_BASE62 = string.digits + string.ascii_letters
_log = get_logger(__name__)

Work = Callable[[str], Awaitable[None]]
"""Does an operation, from where it stands, until it is done or asked to stop."""


@dataclass(frozen=True, slots=True)
class OperationPage:
    """A piece of a list."""

    operations: Sequence[Operation]
    next_page_token: str
    """Empty on the last page."""


def mint_operation_id() -> str:
    """Return a new id: `op_` and 22 base62 characters, 131 random bits."""
    return "op_" + "".join(secrets.choice(_BASE62) for _ in range(22))


class Operations:
    """All operations of this reading. Those that are open are done in the order in which they were begun."""

    def __init__(
        self,
        store: OperationStore,
        page_tokens: PageTokens,
        *,
        clock: Clock,
        mint_id: Callable[[], str] = mint_operation_id,
    ) -> None:
        self._store = store
        self._page_tokens = page_tokens
        self._clock = clock
        self._mint_id = mint_id
        self._one_at_a_time = asyncio.Lock()
        self._lanes: list[asyncio.Event] = []
        self._being_made: dict[str, int] = {}
        self._is_leaving = asyncio.Event()

    # ---- what callers do

    async def start_rebuild(self, organization_id: str, *, actor: str) -> Operation:
        """Begin to make a reading again: of one organisation, or (empty) of all.

        Raise FailedPreconditionError, naming it, while another operation concerns it; UnavailableError.
        """
        operation = self._new(Kind.REBUILD, organization_id, actor)
        async with self._one_at_a_time:
            if (other := await self._other(organization_id)) is not None:
                raise FailedPreconditionError(f"operation {other.operation_id} changes the reading; wait, or cancel it")
            await self._begin(operation)
        return operation

    async def check_free(self, organization_id: str) -> None:
        """Raise FailedPreconditionError while another operation changes the organisation's reading."""
        other = await self._other(organization_id)
        if other is not None:
            # Another organisation's ids, and the operator's, are not for this one.
            name = f"operation {other.operation_id}" if other.organization_id == organization_id else "the operator"
            raise FailedPreconditionError(f"{name} changes the reading just now; try again when that is done")

    async def change(self, change: MappingChange, activate: Callable[[], Awaitable[None]]) -> Operation:
        """Write down an operation for another mapping, ``activate`` it, and let the operation begin.

        A crash in between leaves an operation that makes the same events again, which does no harm; the other way
        round history would never hear of the mapping. Raise as ``check_free`` does before anything is written.
        """
        operation = replace(
            self._new(Kind.MAPPING, change.organization_id, change.actor),
            mapping_id=change.mapping_id,
            mapping_version=change.version,
            span_start=change.span.start_time,
            span_end=change.span.end_time,
        )
        async with self._one_at_a_time:
            await self.check_free(change.organization_id)
            try:
                await uninterrupted(self._store.put(operation))
                await activate()
            except BaseException:
                # Whether it holds by now is not known: what is there is made to agree with whatever does.
                self._tell_lanes()
                raise
        self._tell_lanes()
        return operation

    async def start_claim(
        self,
        organization_id: str,
        campaign_id: str,
        version: int,
        *,
        previous_version: int,
        is_new_claim: bool,
        actor: str,
    ) -> Operation:
        """Begin to let another version of a claim hold, 0 for none. Raise as ``check_free`` does, UnavailableError."""
        operation = replace(
            self._new(Kind.CLAIM, organization_id, actor),
            campaign_id=campaign_id,
            claim_version=version,
            previous_version=previous_version,
            is_new_claim=is_new_claim,
            is_planned=not is_new_claim,
        )
        async with self._one_at_a_time:
            await self.check_free(organization_id)
            await self._begin(operation)
        return operation

    async def last_of_claim(self, organization_id: str, campaign_id: str, version: int) -> Operation | None:
        """Return the last operation by which a version of a claim was to hold. Raise UnavailableError."""
        found = await self._store.last_of_claim(organization_id, campaign_id, version)
        return self._live(found) if found else None

    async def cancel_claim(self, operation_id: str) -> Operation:
        """Let a claim's operation be taken back; return it. Raise NotFoundError, FailedPreconditionError (over)."""
        async with self._one_at_a_time:
            operation = await self.read(operation_id)
            if operation.state.is_over:
                raise FailedPreconditionError(f"operation {operation.operation_id} is over: {operation.state}")
            operation = replace(operation, state=State.CANCELLING)
            await self._store.put(operation)
        return operation

    async def cancel(self, operation_id: str) -> Operation:
        """Let a rebuild stop after its month; return it. Raise NotFoundError, FailedPreconditionError (over)."""
        async with self._one_at_a_time:
            operation = await self.get_rebuild(operation_id)
            if operation.state.is_over:
                raise FailedPreconditionError(f"operation {operation.operation_id} is over: {operation.state}")
            operation = replace(operation, state=State.CANCELLING)
            await self._store.put(operation)
        return operation

    async def get_rebuild(self, operation_id: str) -> Operation:
        """Return a rebuild; the last one for an empty id. Raise NotFoundError, UnavailableError."""
        if operation_id:
            found = await self._store.get(operation_id)
        else:
            found = next(iter(await self._store.list_page(None, Kind.REBUILD, after=None, limit=1)), None)
        if found is None or found.kind is not Kind.REBUILD:
            raise NotFoundError(f"no rebuild {shown(operation_id)}" if operation_id else "there was no rebuild yet")
        return self._live(found)

    async def get(self, operation_id: str, *, organization_id: str) -> Operation:
        """Return an operation of an organisation's own. Raise NotFoundError, UnavailableError."""
        found = await self._store.get(operation_id)
        if found is None or not organization_id or found.organization_id != organization_id:
            raise NotFoundError(f"no operation {shown(operation_id)}")
        return self._live(found)

    async def list_page(self, *, organization_id: str, page_size: int, page_token: str) -> OperationPage:
        """Return a page of an organisation's own operations, newest first; ``page_size`` 0 means 100.

        Raise InvalidArgumentError for a page size above 1,000 or a page token of another list, UnavailableError.
        """
        scope = ("operations", organization_id)
        size = check_page_size(page_size)
        place = self._page_tokens.open(page_token, *scope)
        after = OperationPosition(datetime.fromisoformat(place[0]), place[1]) if place else None
        # One more than wanted says whether there is another page.
        found = await self._store.list_page(organization_id, None, after=after, limit=size + 1)
        page = [self._live(operation) for operation in found[:size]]
        if len(found) <= size:
            return OperationPage(page, "")
        last = page[-1]
        token = self._page_tokens.seal([last.create_time.isoformat(), last.operation_id], *scope)
        return OperationPage(page, token)

    async def watch(self, operation_id: str) -> AsyncIterator[Operation]:
        """Yield a rebuild (empty: the last one) as it is, and after each change, until it is over.

        Raise NotFoundError, UnavailableError.
        """
        said = await self.get_rebuild(operation_id)
        yield said
        while not said.state.is_over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._is_leaving.wait()
                    # An end without an error would say that the operation is over.
                    raise UnavailableError("this process leaves; the operation goes on in the next one")
            now = await self.get_rebuild(said.operation_id)
            if now != said:
                said = now
                yield said

    def close(self) -> None:
        """Let the watchers leave."""
        self._is_leaving.set()

    async def running_id(self) -> str:
        """Return the operation that changes the reading, or will next; empty: none. Raise UnavailableError."""
        waiting = await self._store.open()
        return waiting[0].operation_id if waiting else ""

    async def _begin(self, operation: Operation) -> None:
        """Write an operation down and let it be done, also where who asked for it leaves meanwhile."""
        try:
            await uninterrupted(self._store.put(operation))
        finally:
            self._tell_lanes()

    def _new(self, kind: Kind, organization_id: str, actor: str) -> Operation:
        now = self._clock.now()
        return Operation(
            operation_id=self._mint_id(),
            kind=kind,
            create_time=now.replace(microsecond=now.microsecond // 1000 * 1000),
            organization_id=organization_id,
            actor=actor,
        )

    async def open_of(self, organization_id: str) -> list[Operation]:
        """Return the operations that are not over and concern an organisation. Raise UnavailableError."""
        return [operation for operation in await self._store.open() if operation.concerns(organization_id)]

    async def _other(self, organization_id: str) -> Operation | None:
        waiting = await self._store.open()
        return next((operation for operation in waiting if operation.concerns(organization_id)), None)

    def _live(self, operation: Operation) -> Operation:
        """Add what is being made just now, which is not written down."""
        being_made = 0 if operation.state.is_over else self._being_made.get(operation.operation_id, 0)
        return replace(operation, done_events=operation.done_events + being_made)

    # ---- what the work does

    async def read(self, operation_id: str) -> Operation:
        """Return an operation as it is written down. Raise NotFoundError, UnavailableError."""
        found = await self._store.get(operation_id)
        if found is None:
            raise NotFoundError(f"no operation {shown(operation_id)}")
        return found

    async def update(self, operation_id: str, change: Callable[[Operation], Operation]) -> Operation:
        """Write down a change; return the operation with it. Raise NotFoundError, UnavailableError."""
        async with self._one_at_a_time:
            operation = change(await self.read(operation_id))
            await self._store.put(operation)
        return operation

    def tell(self, operation_id: str, being_made: int) -> None:
        """Say how many events, beside those of the months that are done, are made by now."""
        self._being_made[operation_id] = being_made

    async def run(self, work: Work, kinds: Collection[Kind] = tuple(Kind)) -> None:
        """Do what waits of these kinds, the oldest first, for ever. Raise UnavailableError while the store is away.

        Two operations of one organisation are never open at once, so kinds may be done beside each other.
        """
        has_news = asyncio.Event()
        self._lanes.append(has_news)
        try:
            while True:
                has_news.clear()
                waiting = [operation for operation in await self._store.open() if operation.kind in kinds]
                if waiting:
                    await self._do(waiting[0].operation_id, work)
                else:
                    await has_news.wait()
        finally:
            self._lanes.remove(has_news)

    def _tell_lanes(self) -> None:
        for has_news in self._lanes:
            has_news.set()

    async def _do(self, operation_id: str, work: Work) -> None:
        """Do one, again and again while stores or services are not there and it may get on."""
        loop = asyncio.get_running_loop()
        delay, failing_since, left_count = FIRST_DELAY_SECONDS, loop.time(), -1
        _log.info("an operation begins or goes on", operation_id=operation_id)
        while True:
            try:
                state, why = await self._outcome(operation_id, work)
                if state is State.FAILED:
                    await self._give_up(operation_id, work)
                await self._end(operation_id, state, why)
            except UnavailableError as error:
                count = len((await self.read(operation_id)).months_left())
                if count != left_count:
                    delay, failing_since, left_count = FIRST_DELAY_SECONDS, loop.time(), count
                if loop.time() - failing_since > PATIENCE_SECONDS:
                    await self._give_up(operation_id, work)
                    await self._end(operation_id, State.FAILED, error.message)
                    return
                _log.warning("an operation waits", operation_id=operation_id, error=error.message, delay_seconds=delay)
            else:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def _give_up(self, operation_id: str, work: Work) -> None:
        """Let the months that do not come any more agree with those that are made, as where it is cancelled."""
        await self.update(operation_id, lambda operation: replace(operation, state=State.CANCELLING))
        try:
            await work(operation_id)
        except Exception:  # noqa: BLE001 - whatever it was, the operations behind it go on
            _log.exception("months that are not made again may differ from those that are", operation_id=operation_id)

    async def _outcome(self, operation_id: str, work: Work) -> tuple[State, str]:
        """Do it; return how it ended, and why if it failed. Raise UnavailableError where it may be tried again."""
        try:
            await work(operation_id)
        except UnavailableError:
            raise
        except TrellisError as error:
            return State.FAILED, error.message
        except Exception:  # noqa: BLE001 - whatever it was, the operations behind it go on
            _log.exception("an operation failed", operation_id=operation_id)
            return State.FAILED, "an unexpected error; its details are in the log"
        operation = await self.read(operation_id)
        if operation.state.is_over:
            return operation.state, ""
        is_done = operation.is_planned and not operation.months_left()
        return (State.SUCCEEDED if is_done else State.CANCELLED), ""

    async def _end(self, operation_id: str, state: State, error: str) -> None:
        now = self._clock.now()
        await self.update(
            operation_id,
            lambda operation: replace(
                operation,
                state=state,
                error=error,
                end_time=now.replace(microsecond=now.microsecond // 1000 * 1000),
            ),
        )
        self._being_made.pop(operation_id, None)
        _log.info("an operation is over", operation_id=operation_id, state=str(state), error=error)

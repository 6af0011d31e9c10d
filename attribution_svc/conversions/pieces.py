"""Asking for many things at once, of a service that may refuse all because of one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from svc_runtime.errors import Code, TrellisError
from svc_runtime.logs import get_logger

FOR_GOOD = frozenset({Code.INVALID_ARGUMENT, Code.TOO_LARGE, Code.QUERY_LIMIT})
"""Codes of refusals that another try does not change, but fewer things at a time may."""
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_log = get_logger(__name__)


async def in_pieces(
    ask: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]],
    items: Sequence[ItemT],
    *,
    refused: Callable[[ItemT], ResultT],
) -> list[ResultT]:
    """Return what ``ask`` says of each item, in their order; where it refuses many, ask for half of them at a time.

    One that is refused alone gets what ``refused`` says: it keeps no other waiting. Other errors pass through.
    """
    try:
        return list(await ask(items))
    except TrellisError as error:
        if error.code not in FOR_GOOD:
            raise
        if len(items) == 1:
            _log.error("refused for good", code=error.code.name, error=error.message)
            return [refused(items[0])]
    half = len(items) // 2
    return [
        *await in_pieces(ask, items[:half], refused=refused),
        *await in_pieces(ask, items[half:], refused=refused),
    ]

"""Builds of analytics_svc that break a promise on purpose: ``python -m tests.faults.warehouse_mutants NAME``.

Those that need a kill to be seen kill themselves, at the worst moment.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from analytics_svc import server
from analytics_svc.store import clickhouse, rollups

_LAST_PAGE = 3
_page_count = 0


def _die_at_the_last_page() -> None:
    global _page_count
    _page_count += 1
    if _page_count == _LAST_PAGE:
        os.kill(os.getpid(), signal.SIGKILL)


def keep_the_bookmark_first() -> None:
    """One that notes how far it has read before it has written what it read."""
    real = clickhouse._take_in

    def take_in(client: Any, page: Any, generation: int, *rest: Any) -> int:
        clickhouse._keep(client, page.bookmark, generation)
        _die_at_the_last_page()
        return real(client, page, generation, *rest)

    _replace(clickhouse, "_take_in", take_in)


def forget_what_was_begun() -> None:
    """One that does not write down which days it is about to change."""
    real_open, real_add = clickhouse.open_intent, rollups.add

    def open_intent(client: Any, *what: Any) -> Any:
        intent = real_open(client, *what)
        clickhouse.close_intent(client, intent)
        return intent

    def add(client: Any, table: str, *more: Any, **named: Any) -> None:
        if table == clickhouse.SETTLED:
            _die_at_the_last_page()
        real_add(client, table, *more, **named)

    _replace(clickhouse, "open_intent", open_intent)
    _replace(rollups, "add", add)


def forget_what_is_known() -> None:
    """One that adds what comes again as if it were new."""
    _replace(clickhouse, "_drop_known", lambda client: clickhouse._count(client, clickhouse.STAGED))


def _replace(owner: Any, name: str, value: Any) -> None:
    if not hasattr(owner, name):
        raise SystemExit(f"{owner} has no {name}: the mutant must follow the build")
    setattr(owner, name, value)


MUTANTS: dict[str, Callable[[], None]] = {
    mutate.__name__: mutate for mutate in (keep_the_bookmark_first, forget_what_was_begun, forget_what_is_known)
}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    uvloop.run(server.main())

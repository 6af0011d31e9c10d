"""capture_svc that ends like a killed one at a chosen point: ``python -m tests.integration.capture.crashing_capture``.

``CRASH_POINT`` is ``before insert``, ``in insert``, ``after insert``, ``before receipt``, ``in receipt``, ``after
receipt`` or ``never``; ``CRASH_CALL`` says at which call of it.
"""

import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import uvloop

from capture_svc.server import main
from capture_svc.store.clickhouse import ClickHouseEventStore
from capture_svc.store.receipts import ClickHouseReceiptStore

POINT = os.environ.get("CRASH_POINT", "never")
CALL = int(os.environ.get("CRASH_CALL", "1"))
_calls = 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _crashing(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    async def run(*arguments: Any, **named: Any) -> Any:
        global _calls
        moment, _, where = POINT.partition(" ")
        is_now = False
        if where == name:
            _calls += 1
            is_now = _calls == CALL
        if is_now and moment == "before":
            _die()
        if is_now and moment == "in":
            threading.Timer(random.uniform(0.0005, 0.012), _die).start()
        result = await work(*arguments, **named)
        if is_now and moment == "after":
            _die()
        return result

    return run


ClickHouseEventStore.insert = _crashing("insert", ClickHouseEventStore.insert)  # type: ignore[method-assign]  # on purpose
ClickHouseReceiptStore.insert = _crashing("receipt", ClickHouseReceiptStore.insert)  # type: ignore[method-assign]  # on purpose

if __name__ == "__main__":
    uvloop.run(main())

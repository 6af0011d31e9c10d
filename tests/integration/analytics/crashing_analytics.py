"""analytics_svc that is killed at a chosen change of its tables on disk.

``python -m tests.integration.analytics.crashing_analytics`` dies at the ``CRASH_CALL``-th one (0: never): before it,
with ``CRASH_MOMENT=in`` some milliseconds later, in the middle of it if the machine is slow enough.
"""

import os
import random
import re
import signal
import threading
from typing import TYPE_CHECKING, Any

import uvloop

from analytics_svc.server import main
from analytics_svc.store import connect

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from svc_runtime.clickhouse import Dsn

CALL = int(os.environ.get("CRASH_CALL", "0"))
IS_WITHIN = os.environ.get("CRASH_MOMENT") == "in"
_CHANGE = re.compile(
    r"\s*(INSERT INTO|UPDATE|DELETE FROM|ALTER TABLE) (events|rollup_\w+|click_keys|reference_keys|cursors|intents)\b"
)
_count = 0
_open = connect.open_client


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Crashing:
    def __init__(self, client: "Client") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name not in ("command", "insert"):
            return attribute

        def statement(text: str, *arguments: Any, **options: Any) -> Any:
            global _count
            if _CHANGE.match(text) or (name == "insert" and text in ("cursors", "intents")):
                _count += 1
                if _count == CALL and not IS_WITHIN:
                    _die()
                if _count == CALL:
                    threading.Timer(random.uniform(0.0005, 0.012), _die).start()
            return attribute(text, *arguments, **options)

        return statement


def _crashing_client(dsn: "Dsn") -> Any:
    return _Crashing(_open(dsn))


connect.open_client = _crashing_client

if __name__ == "__main__":
    uvloop.run(main())

"""analytics_svc that is killed at a chosen statement of a claim's operation.

``python -m tests.integration.analytics.crashing_claims`` dies before the ``CRASH_NUMBER``-th statement, of those that
change history, that begins with ``CRASH_AT``.
"""

import os
import signal
from typing import TYPE_CHECKING, Any

import uvloop

from analytics_svc.server import main
from analytics_svc.store import claiming

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from svc_runtime.clickhouse import Dsn

AT = os.environ.get("CRASH_AT", "nothing")
NUMBER = int(os.environ.get("CRASH_NUMBER", "1"))
_count = 0
_open = claiming._open_client


class _Crashing:
    def __init__(self, client: "Client") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def command(self, statement: str, *arguments: Any, **options: Any) -> Any:
        """Run a statement, or die."""
        global _count
        _count += statement.strip().startswith(AT)
        if _count == NUMBER:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._client.command(statement, *arguments, **options)


def _crashing_client(dsn: "Dsn") -> Any:
    return _Crashing(_open(dsn))


if __name__ == "__main__":
    claiming._open_client = _crashing_client
    uvloop.run(main())

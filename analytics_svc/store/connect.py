"""The connection to the store of analytics_svc."""

from typing import TYPE_CHECKING

from svc_runtime import clickhouse
from svc_runtime.clickhouse import ClickHouse, Dsn, what_failed
from svc_runtime.errors import TrellisError, UnavailableError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_STATEMENT_SECONDS = 60
# One thread inserts, so a page makes one part per month.
_SETTINGS = {"max_insert_threads": "1"}


def connect(dsn: Dsn) -> ClickHouse:
    """Return one worker thread for ClickHouse at ``dsn``: statements run one after the other.

    Its work raises UnavailableError for every error of the driver.
    """
    return ClickHouse(dsn, open_client=open_client, translate=translate)


def open_client(dsn: Dsn) -> "Client":
    """Open a client. Blocks; raises the driver's errors."""
    return clickhouse.open_client(
        dsn, name="trellis-analytics", settings=_SETTINGS, statement_seconds=_STATEMENT_SECONDS
    )


def translate(error: Exception) -> UnavailableError:
    """Turn a driver's error into ours, with its code alone."""
    return UnavailableError(f"ClickHouse did not do it ({what_failed(error)})")


def cause_of(error: Exception) -> str:
    """Return what a log may say of a failure: our own text, else its kind, for the text may quote an event."""
    return str(error) if isinstance(error, TrellisError) else type(error).__name__

"""Connections to the store of capture_svc: every one reads and writes whole events as ``ProtobufList``."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from capture_svc.store import ContentRefusedError
from capture_svc.store.error_codes import CONTENT_NAMES, NAMELESS, Verdict, verdict
from svc_runtime import clickhouse
from svc_runtime.clickhouse import ClickHouse, Dsn, error_code, what_failed
from svc_runtime.errors import DeadlineExceededError, UnavailableError
from svc_runtime.protobuf_schema import schema_settings
from trellis.capture.v1 import event_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


def connect(
    dsn: Dsn, *, thread_count: int = 2, name: str = "clickhouse", settings: Mapping[str, str] | None = None
) -> ClickHouse:
    """Return worker threads for ClickHouse at ``dsn``; each opens its client when it is first needed.

    Their work raises ContentRefusedError (the rows cannot be stored), DeadlineExceededError (over the statement's own
    time), UnavailableError (anything else that may pass).
    """
    return ClickHouse(
        dsn,
        open_client=partial(open_client, settings=settings),
        translate=translate,
        thread_count=thread_count,
        name=name,
    )


def open_client(dsn: Dsn, *, settings: Mapping[str, str] | None = None) -> "Client":
    """Open a client. Blocks; raises the driver's errors."""
    schema = schema_settings(dsn, event_pb2.Event.DESCRIPTOR)
    return clickhouse.open_client(dsn, name="trellis-capture", settings={**schema, **(settings or {})})


def translate(error: Exception) -> Exception:
    """Turn a driver's error into ours, by its code; its text is left behind."""
    code = error_code(error)
    if code is None and isinstance(error.__cause__ or error.__context__, UnicodeDecodeError):
        return ContentRefusedError(NAMELESS)
    match verdict(code):
        case Verdict.CONTENT if code is not None:
            return ContentRefusedError(CONTENT_NAMES[code])
        case Verdict.TOO_SLOW:
            return DeadlineExceededError("ClickHouse did not answer in the time that a query may take")
        case _:
            return UnavailableError(f"the event store is not available ({what_failed(error)})")

"""Structured logs on standard error, with trace and request id, and never a key, a cookie or a body."""

import logging
import re
import sys
from typing import Any

import structlog
from opentelemetry import trace
from structlog.types import EventDict, Processor

from svc_runtime.keys import SECRET

_SECRET_NAMES = re.compile(r"authorization|cookie|secret|password|pepper|token$|^body$|^key$|^hash$", re.IGNORECASE)
_SECRET_VALUES = re.compile(rf"{SECRET}|Bearer +[\w.~+/=-]+")
REDACTED = "[redacted]"


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Drop secrets by field name, and secret keys and bearer tokens inside any text."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = _SECRET_VALUES.sub(REDACTED, value)
    return event


def _add_trace(_logger: Any, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
    return event


def configure_logs(service: str, *, level: str, format_: str) -> None:
    """Set up structlog and the standard library's loggers for this process."""

    def add_service(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_trace,
    ]
    to_text: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if format_ == "json":
        to_text += [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
    else:
        to_text += [redact, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=to_text))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # An error with a traceback for every stream that its client leaves: the generator is closed in another context than
    # it was begun in, where there is nothing to detach.
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> Any:
    """Return a structured logger: ``log.info("what happened", field=value)``."""
    return structlog.get_logger(name)

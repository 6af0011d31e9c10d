"""Spans of inserts: where the traces of many requests meet in one batch."""

import contextlib
from collections.abc import Iterator, Sequence

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from capture_svc.batch import Batch

_tracer = trace.get_tracer("trellis.capture")
_propagator = TraceContextTextMapPropagator()


@contextlib.contextmanager
def insert_span(batch: Batch) -> Iterator[None]:
    """Make the span ``capture.insert`` around the block, when a request in the batch is sampled.

    The first sampled request is its parent, so that its trace goes on to the insert; the others are links.
    """
    contexts = sampled_contexts(batch.traceparents)
    if not contexts:
        yield
        return
    parent = trace.set_span_in_context(trace.NonRecordingSpan(contexts[0]))
    attributes: dict[str, str | int] = {
        "trellis.journal_id": batch.journal_id,
        "trellis.sequence": batch.sequence,
        "trellis.event_count": sum(batch.counts.values()),
        "trellis.byte_count": len(batch.events),
    }
    links = [trace.Link(context) for context in contexts[1:]]
    with _tracer.start_as_current_span("capture.insert", context=parent, links=links, attributes=attributes):
        yield


def sampled_contexts(traceparents: Sequence[str]) -> list[trace.SpanContext]:
    """Return the span contexts of W3C traceparents that are valid and sampled; others are left out."""
    found = []
    for text in traceparents:
        context = trace.get_current_span(_propagator.extract({"traceparent": text})).get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            found.append(context)
    return found

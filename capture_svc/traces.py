"""Spans of inserts: where the traces of many requests meet in one batch."""

import contextlib
from collections.abc import Iterator, Sequence

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from capture_svc.batch import Batch

_tracer = trace.get_tracer("trellis.capture")
_propagator = TraceContextTextMapPropagator()


@contextlib.contextmanager
def insert_span(*batches: Batch) -> Iterator[None]:
    """Make the span ``capture.insert`` around the block, when a request in the batches is sampled.

    The first sampled request is its parent, so that its trace goes on to the insert; the others are links.
    """
    contexts = sampled_contexts([text for batch in batches for text in batch.traceparents])
    if not contexts:
        yield
        return
    parent = trace.set_span_in_context(trace.NonRecordingSpan(contexts[0]))
    attributes: dict[str, str | int] = {
        "trellis.journal_id": batches[0].journal_id,
        "trellis.sequence": batches[0].sequence,
        "trellis.batch_count": len(batches),
        "trellis.event_count": sum(sum(batch.counts.values()) for batch in batches),
        "trellis.byte_count": sum(len(batch.events) for batch in batches),
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

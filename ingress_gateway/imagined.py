"""Clicks that nobody makes now: one that was kept, or one that is described. They are read as any other is."""

from datetime import datetime

from multidict import CIMultiDict, CIMultiDictProxy

from enrichment.requests import first_values, header_pairs, sent_parameters
from ingress_gateway.arrival import Arrival, Peer
from ingress_gateway.facts import Click, ClickReader
from trellis.capture.v1.event_pb2 import Event

_MILLISECOND = 1000


class ImaginedArrival(Arrival):
    """A request without a connection: its scheme is what it says."""

    __slots__ = ("_scheme",)

    def __init__(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], *, scheme: str, ip: str, body: bytes = b""
    ) -> None:
        texts = [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in headers]
        super().__init__(
            method,
            target.decode("utf-8", "surrogateescape"),
            "1.1",
            CIMultiDictProxy(CIMultiDict(texts)),
            headers,
            Peer(ip, 0, is_trusted=False),
            body,
        )
        self._scheme = scheme

    def scheme(self) -> str:
        """See ``Arrival.scheme``."""
        return self._scheme


def click_of_event(event: Event, reader: ClickReader) -> Click:
    """Return an event as the click that it was; of one that was sent with a body, its parameters count too."""
    headers = [(name, value) for name, value in header_pairs(event.headers)]
    arrival = ImaginedArrival(
        event.method, event.target, headers, scheme=event.scheme or "https", ip=event.ip, body=event.body
    )
    arrival.host = event.host.decode("utf-8", "surrogateescape")
    click = Click(arrival, event.event_time_ms, reader)
    if event.body:
        content_type = click.headers.get(b"content-type", b"")
        pairs, click.parameters = sent_parameters(event.target, event.body, content_type)
        click.params = first_values(pairs)
    click.event_type = event.event_type
    return click


def click_of_request(
    method: str,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    *,
    scheme: str,
    ip: str,
    time: datetime,
    reader: ClickReader,
) -> Click:
    """Return the click that a described request would be."""
    arrival = ImaginedArrival(method, target, headers, scheme=scheme, ip=ip)
    return Click(arrival, int(time.timestamp() * _MILLISECOND), reader)

"""Requests for unit tests, without a connection."""

from multidict import CIMultiDict, CIMultiDictProxy

from ingress_gateway.arrival import Arrival, Peers
from ingress_gateway.settings import Network


def arrival(
    target: str = "/in/summer_sale",
    *headers: tuple[str, str],
    peer: str = "203.0.113.9",
    trusted: tuple[Network, ...] = (),
    method: str = "GET",
    body: bytes = b"",
) -> Arrival:
    """Return a request that came from ``peer``."""
    pairs = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers]
    return Arrival(
        method, target, "1.1", CIMultiDictProxy(CIMultiDict(headers)), pairs, Peers(trusted).of((peer, 4242)), body
    )

"""A request as bytes: what arrived, before anybody makes sense of it."""

import ipaddress
import re
from collections.abc import Sequence

from multidict import CIMultiDictProxy, istr

from ingress_gateway.settings import Network

HOST, COOKIE, USER_AGENT = istr("Host"), istr("Cookie"), istr("User-Agent")
AUTHORIZATION, PROXY_AUTHORIZATION = istr("Authorization"), istr("Proxy-Authorization")
FORWARDED_FOR, FORWARDED_PROTO = istr("X-Forwarded-For"), istr("X-Forwarded-Proto")
TRACEPARENT = istr("traceparent")

_SECRET_NAMES = frozenset((b"authorization", b"proxy-authorization", b"cookie"))
_SECRET_KEY = re.compile(rb"wdn_sk_[A-Za-z0-9_]+")
REDACTED = b"[redacted]"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Arrival:
    """One request. ``target`` and the header pairs hold the bytes as received."""

    __slots__ = ("body", "headers", "http_version", "method", "path", "peer", "query", "raw_headers", "target")

    def __init__(
        self,
        method: str,
        path_and_query: str,
        http_version: str,
        headers: CIMultiDictProxy[str],
        raw_headers: Sequence[tuple[bytes, bytes]],
        peer: "Peer",
        body: bytes = b"",
    ) -> None:
        self.method = method
        # aiohttp decodes with surrogateescape; the same way back gives the bytes of the wire.
        self.target = path_and_query.encode("utf-8", "surrogateescape")
        self.path, _, query = path_and_query.partition("?")
        self.query = query.encode("utf-8", "surrogateescape")
        self.http_version = http_version
        self.headers = headers
        self.raw_headers = raw_headers
        self.peer = peer
        self.body = body

    def header_block(self) -> bytes:
        """Return the header lines as received, the values of credentials and cookies replaced."""
        headers = self.headers
        if COOKIE in headers or AUTHORIZATION in headers or PROXY_AUTHORIZATION in headers:
            pairs = [(name, REDACTED if name.lower() in _SECRET_NAMES else value) for name, value in self.raw_headers]
        else:
            pairs = list(self.raw_headers)
        return without_secret_keys(b"".join([b"%b: %b\r\n" % pair for pair in pairs]))

    def client_ip(self, trusted: tuple[Network, ...]) -> str:
        """Return the client's address: the peer, or the last address in X-Forwarded-For that no proxy of ours has."""
        if not self.peer.is_trusted or FORWARDED_FOR not in self.headers:
            return self.peer.ip
        hops = [hop.strip() for value in self.headers.getall(FORWARDED_FOR) for hop in value.split(",")]
        for hop in reversed(hops):
            try:
                address = ipaddress.ip_address(hop)
            except ValueError:
                break
            if not _is_in(address, trusted):
                return str(address)
        return self.peer.ip

    def scheme(self) -> str:
        """Return ``http`` or ``https``, as the client saw it."""
        if self.peer.is_trusted and self.headers.get(FORWARDED_PROTO, "").strip().lower() == "https":
            return "https"
        return "http"

    def trace(self) -> tuple[str, bool]:
        """Return (trace id, is sampled) of a valid W3C traceparent, or ("", False)."""
        found = _TRACEPARENT.fullmatch(self.headers.get(TRACEPARENT, ""))
        if found is None or found[1] == "0" * 32 or found[2] == "0" * 16:
            return "", False
        return found[1], bool(int(found[3], 16) & 1)


class Peer:
    """The other end of a connection."""

    __slots__ = ("address", "ip", "is_trusted")

    def __init__(self, peername: object, trusted: tuple[Network, ...]) -> None:
        if isinstance(peername, tuple):
            self.ip = str(peername[0])
            self.address = f"{self.ip}:{peername[1]}" if ":" not in self.ip else f"[{self.ip}]:{peername[1]}"
            self.is_trusted = _is_in(ipaddress.ip_address(self.ip.partition("%")[0]), trusted)
        else:
            self.ip, self.address, self.is_trusted = "", "", False


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: tuple[Network, ...]) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def without_secret_keys(data: bytes) -> bytes:
    """Cut secret keys out of bytes that are about to be kept."""
    return _SECRET_KEY.sub(b"wdn_sk_" + REDACTED, data) if b"wdn_sk_" in data else data

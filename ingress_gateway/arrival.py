"""A request as bytes: what arrived, before anybody makes sense of it."""

import ipaddress
import re
from collections.abc import Sequence

from multidict import CIMultiDictProxy, istr

from ingress_gateway.settings import Network
from svc_runtime.keys import SECRET

HOST, COOKIE, USER_AGENT = istr("Host"), istr("Cookie"), istr("User-Agent")
AUTHORIZATION, PROXY_AUTHORIZATION = istr("Authorization"), istr("Proxy-Authorization")
FORWARDED_FOR, FORWARDED_PROTO = istr("X-Forwarded-For"), istr("X-Forwarded-Proto")
TRACEPARENT, ORIGIN = istr("traceparent"), istr("Origin")

_SECRET_NAMES = frozenset((b"authorization", b"proxy-authorization", b"cookie"))
_SECRET_KEY = re.compile(SECRET.encode())
REDACTED = b"[redacted]"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Arrival:
    """One request. ``target`` and the header pairs hold the bytes as received."""

    __slots__ = (
        "body",
        "headers",
        "host",
        "http_version",
        "ip",
        "method",
        "path",
        "peer",
        "query",
        "raw_headers",
        "target",
    )

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
        self.host = headers.get(HOST, "")
        self.raw_headers = raw_headers
        self.peer = peer
        self.ip = peer.client_ip(headers) if peer.is_trusted and FORWARDED_FOR in headers else peer.ip
        self.body = body

    def header_block(self) -> bytes:
        """Return the header lines as received, the values of credentials and cookies replaced."""
        headers = self.headers
        if COOKIE in headers or AUTHORIZATION in headers or PROXY_AUTHORIZATION in headers:
            pairs = [(name, REDACTED if name.lower() in _SECRET_NAMES else value) for name, value in self.raw_headers]
        else:
            pairs = list(self.raw_headers)
        return b"".join([b"%b: %b\r\n" % pair for pair in pairs])

    def scheme(self) -> str:
        """Return ``http`` or ``https``, as the client saw it."""
        if not self.peer.is_trusted or FORWARDED_PROTO not in self.headers:
            return "http"
        return "https" if self.headers[FORWARDED_PROTO].strip().lower() == "https" else "http"

    def trace(self) -> tuple[str, bool]:
        """Return (trace id, is sampled) of a valid W3C traceparent, or ("", False)."""
        if TRACEPARENT not in self.headers:
            return "", False
        found = _TRACEPARENT.fullmatch(self.headers[TRACEPARENT])
        if found is None or found[1] == "0" * 32 or found[2] == "0" * 16:
            return "", False
        return found[1], bool(int(found[3], 16) & 1)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Peer:
    """The other end of a connection."""

    __slots__ = ("_trusted", "address", "ip", "is_trusted")

    def __init__(self, ip: str, port: int, *, is_trusted: bool, trusted: tuple[Network, ...] = ()) -> None:
        self.ip = ip
        self.address = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        self.is_trusted = is_trusted
        self._trusted = trusted

    def client_ip(self, headers: CIMultiDictProxy[str]) -> str:
        """Return the last address in X-Forwarded-For that is no proxy of ours; the peer's own where there is none."""
        hops = [hop.strip() for value in headers.getall(FORWARDED_FOR) for hop in value.split(",")]
        for hop in reversed(hops):
            try:
                # Without a zone: that may hold anything.
                address = ipaddress.ip_address(hop.partition("%")[0])
            except ValueError:
                break
            if not _is_in(address, self._trusted):
                return _plain(address)
        return self.ip


NOBODY = Peer("", 0, is_trusted=False)


class Peers:
    """Makes peers; whether an address is a proxy of ours is worked out once for each address."""

    _REMEMBERED = 10_000

    def __init__(self, trusted: tuple[Network, ...]) -> None:
        self._trusted = trusted
        self._known: dict[str, tuple[str, bool]] = {}

    def of(self, peername: object) -> Peer:
        """Return the peer of a transport's ``peername``; what is no IP address is nobody."""
        if not isinstance(peername, tuple):
            return NOBODY
        known = self._known.get(peername[0])
        if known is None:
            address = ipaddress.ip_address(peername[0].partition("%")[0])
            if len(self._known) >= self._REMEMBERED:
                self._known.clear()
            known = self._known[peername[0]] = (_plain(address), _is_in(address, self._trusted))
        ip, is_trusted = known
        return Peer(ip, peername[1], is_trusted=is_trusted, trusted=self._trusted)


def _plain(address: _Address) -> str:
    """Return an address, one of IPv4 in its own form also where a dual-stack socket has wrapped it."""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_in(address: _Address, networks: tuple[Network, ...]) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def has_secret_key(data: bytes) -> bool:
    """True when bytes that are about to be kept hold something that looks like a secret key or a partner's token."""
    # Most hold nothing of the sort, and are not searched.
    return (b"wdn_" in data or b"wdn%5" in data) and _SECRET_KEY.search(data) is not None


def without_secret_keys(data: bytes) -> bytes:
    """Cut secret keys and partners' tokens out of bytes."""
    return _SECRET_KEY.sub(rb"wdn_\1_" + REDACTED, data)

"""Where we go for an organisation, and where not: never into the networks that only we can reach. Pure.

What is checked is the address that is then connected to, at that moment; names, and what a name server says at another
time, prove nothing.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
DEFAULT_PORTS = (80, 443, 8080, 8443)

_INNER_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' own; a cloud's metadata too
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own, although it looks public
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments; a cloud's metadata too
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
"""Everything else is not the internet's: loopback, unique local, link-local, multicast, mapped and compatible IPv4."""
_INNER_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo, which carries an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which carries an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Carries an IPv4 address in its last 32 bits; where there is no IPv4, public hosts have such addresses."""


class RefusedAddressError(OSError):
    """We do not connect to this."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Which addresses and ports may be connected to."""

    allowed_networks: Sequence[Network] = ()
    """Inner networks that the operator opens."""
    allowed_ports: Sequence[int] = DEFAULT_PORTS

    def check_address(self, text: str, port: int) -> None:
        """Raise RefusedAddressError unless the address may be connected to."""
        if port not in self.allowed_ports:
            raise RefusedAddressError(f"port {port} is not open to webhooks")
        try:
            address: Address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            raise RefusedAddressError("this is no address") from None
        plain = _plain(address)
        if any(plain in network or address in network for network in self.allowed_networks):
            return
        if "%" in text or is_inner(address):
            raise RefusedAddressError(f"{text} is in a network that webhooks do not go to")

    def check_url(self, url: str) -> None:
        """Raise RefusedAddressError for what its text alone tells: no http, a port, or an address that is refused."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RefusedAddressError("this is no http or https URL")
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise RefusedAddressError("the port is no number from 1 to 65535") from None
        if port not in self.allowed_ports:
            raise RefusedAddressError(f"port {port} is not open to webhooks")
        if _is_address(parts.hostname):
            self.check_address(parts.hostname, port)


def is_inner(address: Address) -> bool:
    """Whether an address is, or carries, one that is not the internet's."""
    address = _plain(address)
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _INNER_IPV4)
    return address not in _GLOBAL_IPV6 or any(address in network for network in _INNER_IPV6)


def networks_from(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks; raise ValueError for what is none."""
    return tuple(ipaddress.ip_network(text.strip()) for text in texts if text.strip())


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True

"""What is known of a click while it is being routed: worked out when a rule or a macro asks for it, and not before.

The reading of the warehouse is made by the same functions of ``enrichment``, so that a rule says the same of a click
now and in history.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar, overload

from enrichment.bots import bot_reasons
from enrichment.channel import Traffic, read_traffic
from enrichment.geo import Geo, Place
from enrichment.languages import read_language
from enrichment.parameters import DEFAULT_ALIASES, Found, Parameters, parse_query, query_pairs
from enrichment.requests import first_values, header_pairs, hostname, path_of, url_of
from enrichment.user_agent import UserAgent, UserAgents
from ingress_gateway.arrival import Arrival
from rule_language.evaluate import Fact, Facts
from svc_runtime.logs import get_logger

_REFRESH_SECONDS = 60.0
T = TypeVar("T")
_log = get_logger(__name__)


class ClickReader:
    """Reads clicks: what a worker needs for it once."""

    def __init__(self, geo: Geo) -> None:
        self.geo = geo
        self.user_agents = UserAgents()


async def refresh_forever(reader: ClickReader) -> None:
    """Take GeoIP files that are new or changed, now and every minute."""
    while True:
        for error in await asyncio.to_thread(reader.geo.refresh):
            _log.warning("a GeoIP file cannot be read", error=error)
        await asyncio.sleep(_REFRESH_SECONDS)


class once(Generic[T]):  # noqa: N801 - used as a decorator
    """A property that is worked out once. functools' own takes a lock each time: a click is read by one thread."""

    def __init__(self, work: Callable[["Click"], T]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> "once[T]": ...
    @overload
    def __get__(self, instance: "Click", owner: type) -> T: ...
    def __get__(self, instance: "Click | None", owner: type) -> "T | once[T]":
        """Work it out, and lay the result over this descriptor."""
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._work(instance)
        return value


class Click:
    """One click, read piece by piece."""

    def __init__(self, arrival: Arrival, event_time_ms: int, reader: ClickReader) -> None:
        self.arrival = arrival
        self.event_time_ms = event_time_ms
        self.event_type = b"click"
        self._reader = reader

    @property
    def facts(self) -> Facts:
        """For rules. Made anew each time, and not kept here: two that held each other would wait for the collector."""
        return Facts(self.event_time_ms, _Fields(self), _Params(self), _Headers(self))

    @once
    def headers(self) -> dict[bytes, bytes]:
        """The first value by name in lower case, as they are kept: credentials are replaced."""
        return first_values(header_pairs(self.arrival.header_block()))

    @once
    def params(self) -> dict[bytes, bytes]:
        """The first value of the query by name, decoded."""
        return first_values(query_pairs(self.arrival.query))

    @once
    def parameters(self) -> Parameters:
        """The query, read."""
        return parse_query(self.arrival.query)

    @once
    def found(self) -> Mapping[str, Found]:
        """What the parameters are, by our names."""
        return DEFAULT_ALIASES.resolve(self.parameters)

    @once
    def traffic(self) -> Traffic:
        """Where the visitor came from."""
        referrer = self.headers.get(b"referer", b"").strip()
        return read_traffic(self.found, self.parameters, referrer, {hostname(self.host)})

    @once
    def agent(self) -> UserAgent:
        """What the user agent says."""
        return self._reader.user_agents.read(self.headers.get(b"user-agent", b""))

    @once
    def place(self) -> Place:
        """Where the address is."""
        return self._reader.geo.look_up(self.arrival.ip)

    @property
    def host(self) -> bytes:
        """The Host header."""
        return self.arrival.host.encode("utf-8", "surrogateescape")

    def alias(self, name: str) -> bytes:
        """Return the value of one of our names for parameters, empty where there is none."""
        found = self.found.get(name)
        return found.value if found else b""


def _text(read: Callable[[Click], str | None]) -> Callable[[Click], Fact]:
    def fact(click: Click) -> Fact:
        text = read(click)
        return None if text is None else text.encode()

    return fact


READERS: Mapping[str, Callable[[Click], Fact]] = {
    "source": _text(lambda click: click.traffic.source),
    "medium": _text(lambda click: click.traffic.medium),
    "campaign": _text(lambda click: click.traffic.campaign),
    "referer": lambda click: click.headers.get(b"referer", b"").strip(),
    "url": lambda click: url_of(click.arrival.scheme(), click.host, click.arrival.target),
    "path": lambda click: path_of(click.arrival.target),
    "ip": _text(lambda click: click.arrival.ip),
    "country": _text(lambda click: click.place.country),
    "region": _text(lambda click: click.place.region),
    "city": _text(lambda click: click.place.city),
    "asn": lambda click: click.place.asn,
    "device_type": _text(lambda click: click.agent.device_type.value),
    "os": _text(lambda click: click.agent.os),
    "browser": _text(lambda click: click.agent.browser),
    "language": _text(lambda click: read_language(click.headers.get(b"accept-language", b""))),
    "user_agent": lambda click: click.headers.get(b"user-agent", b""),
    "is_bot": lambda click: bool(bot_reasons(click.agent.bot_reasons, click.headers)),
    "event_type": lambda click: click.event_type,
    "value": lambda _: None,
}
"""Every field of the rule language but the parameters, headers and times, by name."""


class _Fields(dict[str, Fact]):
    """Facts by field, each worked out once."""

    def __init__(self, click: Click) -> None:
        super().__init__()
        self._click = click

    def __missing__(self, name: str) -> Fact:
        fact = self[name] = READERS[name](self._click)
        return fact


class _Params(dict[bytes, bytes]):
    """The parameters, read when the first is asked for."""

    def __init__(self, click: Click) -> None:
        super().__init__()
        self._click = click

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:  # type: ignore[override]  # as it is asked
        click = self._click
        query = click.arrival.query
        # Where nothing is encoded, a name that is not in the query's bytes is no parameter of it.
        if name not in query and b"%" not in query and b"+" not in query and "params" not in click.__dict__:
            return default
        return click.params.get(name, default)


class _Headers(dict[bytes, bytes]):
    """The headers, read when the first is asked for."""

    def __init__(self, click: Click) -> None:
        super().__init__()
        self._click = click

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:  # type: ignore[override]  # as it is asked
        return self._click.headers.get(name, default)
